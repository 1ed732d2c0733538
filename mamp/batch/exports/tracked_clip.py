"""A segmented clip as the exports see it: its frames, and the run lengths, boxes and areas of each object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mamp.batch.clip_list import ClipItem
from mamp.runs.results import Result


@dataclass(frozen=True)
class ObjectMask:
    """The mask of an object on a frame where it is visible.

    Attributes:
        frame: Frame number, from 0.
        time: Display time [s].
        segmentation: COCO run lengths of the frame: ``size`` and ``counts``.
        box: x, y, width and height [pixels].
        area: [pixels].
        confidence: See ``MaskTracker.confidence`` [0, 1].
    """

    frame: int
    time: float
    segmentation: dict[str, Any]
    box: tuple[float, float, float, float]
    area: int
    confidence: float


@dataclass(frozen=True)
class ObjectTrack:
    """An object of a clip, with its masks in the order of frames."""

    label: int
    name: str
    masks: Sequence[ObjectMask]


@dataclass(frozen=True)
class TrackedClip:
    """A segmented clip.

    Attributes:
        name: Name of the clip in the list.
        path: The video, or the folder of frames.
        width: [pixels].
        height: [pixels].
        fps: Frame rate [frames/s].
        files: File name of each frame, beginning with that of a folder: of a video, the names that ``ffmpeg -i NAME.mp4
            -start_number 0 NAME/%05d.jpg`` gives.
        objects: Objects by label.
    """

    name: str
    path: Path
    width: int
    height: int
    fps: Fraction
    files: Sequence[str]
    objects: Sequence[ObjectTrack]


def read_tracked_clip(item: ClipItem, result: Result) -> TrackedClip:
    """Reads the results of a clip."""
    document = json.loads(result.masks_json.read_text())
    video, names = document["videos"][0], {entry["id"]: entry["name"] for entry in document["categories"]}
    rows = {(row.frame, row.object): row for row in result.object_frames}

    def masks_of(annotation: dict[str, Any]) -> list[ObjectMask]:
        found = []
        described = zip(annotation["segmentations"], annotation["bboxes"], annotation["areas"], strict=True)
        for frame, (segmentation, box, area) in enumerate(described):
            if segmentation is not None:
                row = rows[frame, annotation["category_id"]]
                found.append(ObjectMask(frame, row.time, segmentation, tuple(box), area, row.confidence))
        return found

    return TrackedClip(
        name=item.name,
        path=item.clip,
        width=video["width"],
        height=video["height"],
        fps=Fraction(result.receipt["fps"]),
        files=_frame_files(item, video["file_names"]),
        objects=[
            ObjectTrack(entry["category_id"], names[entry["category_id"]], masks_of(entry))
            for entry in document["annotations"]
        ],
    )


def _frame_files(item: ClipItem, frames: Sequence[str]) -> list[str]:
    if not item.clip.is_dir():
        return [f"{item.name}/{frame}.jpg" for frame in frames]
    names = {path.stem: path.name for path in item.clip.iterdir()}
    return [f"{item.clip.name}/{names[frame]}" for frame in frames]
