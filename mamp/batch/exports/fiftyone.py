"""FiftyOne: a folder of the type ``FiftyOneVideoLabelsDataset``, with boxes and masks of each object on each frame.

The format: https://docs.voxel51.com/user_guide/import_datasets.html.
"""

from __future__ import annotations

import base64
import io
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.batch.exports.tracked_clip import ObjectMask, ObjectTrack, TrackedClip
from mamp.files import write_atomically
from mamp.masks.rle import decode_rle


def write_fiftyone(clips: Iterable[TrackedClip], folder: Path) -> None:
    """Writes ``labels/NAME.json`` for each clip, and ``manifest.json`` with paths from the folder to the clips."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    index = []
    for clip in clips:
        labels = f"labels/{clip.name}.json"
        write_atomically(folder / labels, json.dumps({"frames": _frames(clip)}))
        index.append({"data": os.path.relpath(clip.path.resolve(), folder.resolve()), "labels": labels})
    manifest = {"type": "eta.core.datasets.LabeledVideoDataset", "description": "Segmented clips", "index": index}
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def _frames(clip: TrackedClip) -> dict[str, Any]:
    """The objects by frame; frames count from 1."""
    objects: dict[int, list[dict[str, Any]]] = {}
    for track in clip.objects:
        for seen in track.masks:
            objects.setdefault(seen.frame + 1, []).append(_detected(clip, track, seen))
    return {
        str(number): {"frame_number": number, "objects": {"objects": found}}
        for number, found in sorted(objects.items())
    }


def _detected(clip: TrackedClip, track: ObjectTrack, seen: ObjectMask) -> dict[str, Any]:
    left, top, width, height = (int(length) for length in seen.box)
    right, bottom = left + width, top + height
    return {
        "type": "eta.core.objects.DetectedObject",
        "label": track.name,
        "index": track.label,
        "frame_number": seen.frame + 1,
        "confidence": seen.confidence,
        "bounding_box": {
            "top_left": {"x": left / clip.width, "y": top / clip.height},
            "bottom_right": {"x": right / clip.width, "y": bottom / clip.height},
        },
        "mask": _packed(decode_rle(seen.segmentation)[top:bottom, left:right]),
    }


def _packed(mask: NDArray[np.bool_]) -> str:
    """A mask (H, W) as FiftyOne stores arrays: a compressed .npy file in base 64."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(mask))
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
