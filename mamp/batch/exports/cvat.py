"""CVAT for video 1.1: an XML file for each clip, to upload to the task of that clip.

The format: https://docs.cvat.ai/docs/other/xml_format. CVAT has masks on single frames only: of a track of masks it takes
the first one and drops the others. So each mask is a track of one frame, as in CVAT's own exports. The label and
``group_id`` tell which masks are the same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.batch.exports.tracked_clip import ObjectMask, TrackedClip
from mamp.files import write_atomically
from mamp.masks.rle import decode_rle


def write_cvat(clips: Iterable[TrackedClip], folder: Path) -> None:
    """Writes ``NAME.xml`` for each clip."""
    folder.mkdir(exist_ok=True)
    for clip in clips:
        write_atomically(folder / f"{clip.name}.xml", "\n".join(_lines(clip)) + "\n")


def _lines(clip: TrackedClip) -> Iterator[str]:
    labels = "".join(
        f"<label><name>{escape(name)}</name><type>mask</type><attributes></attributes></label>"
        for name in dict.fromkeys(track.name for track in clip.objects)
    )
    size = f"<original_size><width>{clip.width}</width><height>{clip.height}</height></original_size>"
    task = f"<name>{escape(clip.name)}</name><size>{len(clip.files)}</size><mode>interpolation</mode>"
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield f"<annotations><version>1.1</version><meta><task>{task}<labels>{labels}</labels>{size}</task></meta>"
    numbers = count()
    for track in clip.objects:
        for seen in track.masks:
            attributes = {"id": next(numbers), "label": track.name, "group_id": track.label, "source": "auto"}
            yield f"<track{_attributes(attributes)}>"
            mask = _mask(seen)
            yield f"<mask{_attributes({'frame': seen.frame, 'outside': 0, **mask})}/>"
            if seen.frame + 1 < len(clip.files):
                yield f"<mask{_attributes({'frame': seen.frame + 1, 'outside': 1, **mask})}/>"
            yield "</track>"
    yield "</annotations>"


def _mask(seen: ObjectMask) -> dict[str, Any]:
    left, top, width, height = (int(length) for length in seen.box)
    inside = decode_rle(seen.segmentation)[top : top + height, left : left + width]
    return {
        "occluded": 0,
        "keyframe": 1,
        "left": left,
        "top": top,
        "width": width,
        "height": height,
        "rle": ", ".join(map(str, _run_lengths(inside))),
        "z_order": 0,
    }


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of equal pixels of a mask (H, W), row by row; the first is of background and may be 0."""
    pixels = mask.ravel()
    starts = np.flatnonzero(np.diff(pixels)) + 1
    lengths: list[int] = np.diff(starts, prepend=0, append=len(pixels)).tolist()
    return [0, *lengths] if pixels[0] else lengths


def _attributes(values: Mapping[str, Any]) -> str:
    return "".join(f' {name}="{escape(str(value))}"' for name, value in values.items())
