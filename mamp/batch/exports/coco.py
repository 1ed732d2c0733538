"""COCO and YouTube-VIS: one JSON file for all clips, with run lengths; a category is an object's name.

The formats: https://cocodataset.org/#format-data and https://youtube-vos.org/dataset/vis/. In COCO an annotation is an
object on one frame, in YouTube-VIS an object of a video.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mamp.batch.exports.tracked_clip import ObjectTrack, TrackedClip
from mamp.files import atomic_path


def write_coco(clips: Iterable[TrackedClip], path: Path) -> None:
    """Writes the frames of all clips as images; ``video_id``, ``frame_id`` and ``track_id`` tell what belongs together."""
    images: list[dict[str, Any]] = []
    categories = _Categories()

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for video, clip in enumerate(clips, 1):
            first = len(images) + 1
            for frame, file in enumerate(clip.files):
                image = {"id": first + frame, "file_name": file, "width": clip.width, "height": clip.height}
                images.append(image | {"video_id": video, "frame_id": frame})
            for track in clip.objects:
                for seen in track.masks:
                    number += 1
                    yield {
                        "id": number,
                        "image_id": first + seen.frame,
                        "category_id": categories.number(track),
                        "track_id": track.label,
                        "segmentation": seen.segmentation,
                        "area": seen.area,
                        "bbox": seen.box,
                        "iscrowd": 0,
                    }

    _write(path, annotations(), {"images": images, "categories": categories.entries})


def write_youtube_vis(clips: Iterable[TrackedClip], path: Path) -> None:
    """Writes all clips as videos."""
    videos: list[dict[str, Any]] = []
    categories = _Categories()

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for video, clip in enumerate(clips, 1):
            shape = {"width": clip.width, "height": clip.height, "length": len(clip.files)}
            videos.append({"id": video, "name": clip.name, **shape, "file_names": clip.files})
            for track in clip.objects:
                number += 1
                seen = {entry.frame: entry for entry in track.masks}
                frames = [seen.get(frame) for frame in range(len(clip.files))]
                yield {
                    "id": number,
                    "video_id": video,
                    "category_id": categories.number(track),
                    "iscrowd": 0,
                    **shape,
                    "segmentations": [entry and entry.segmentation for entry in frames],
                    "bboxes": [entry and entry.box for entry in frames],
                    "areas": [entry and entry.area for entry in frames],
                }

    _write(path, annotations(), {"videos": videos, "categories": categories.entries})


class _Categories:
    """The names of objects, numbered as they come."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def number(self, track: ObjectTrack) -> int:
        if track.name not in self._numbers:
            self._numbers[track.name] = len(self._numbers) + 1
            self.entries.append({"id": self._numbers[track.name], "name": track.name})
        return self._numbers[track.name]


def _write(path: Path, annotations: Iterator[dict[str, Any]], lists: dict[str, list[Any]]) -> None:
    """Writes annotations one at a time, so that memory holds those of one clip; ``lists`` fill meanwhile."""
    with atomic_path(path) as partial, partial.open("w") as file:
        file.write('{"annotations": [')
        for number, annotation in enumerate(annotations):
            file.write((", " if number else "") + json.dumps(annotation))
        file.write("], " + json.dumps(lists)[1:])
