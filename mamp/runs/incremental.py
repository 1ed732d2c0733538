"""What of an earlier run still stands when masks are corrected: only the rest is computed anew."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in
from mamp.masks.mask_io import read_mask
from mamp.model.checkpoint import file_sha256
from mamp.runs.results import Result

Mask = NDArray[np.uint8]


def reusable_frames(
    previous: Result, names: Mapping[int, str], given: Mapping[int, Mask], receipt: Mapping[str, Any]
) -> set[int]:
    """The frames whose masks a new run can take over from an earlier one.

    Args:
        previous: The earlier run.
        names: Of the clip's masks, by frame number, as ``VideoReader.name``.
        given: The masks (H, W) uint8 given for the new run, by frame number.
        receipt: What the new run's receipt says of clip, size, settings and weights.

    Returns:
        Frame numbers; none where clip, settings or weights are others.
    """
    if any(previous.receipt.get(key) != value for key, value in receipt.items()):
        return set()
    known = {index for index, name in names.items() if (previous.masks_dir / f"{name}.png").exists()}
    before = {index: read_mask(path) for index, path in previous.input_masks.items()}
    return known - frames_to_redo(before, given, len(names))


def frames_to_redo(before: Mapping[int, Mask], given: Mapping[int, Mask], total: int) -> set[int]:
    """The frames that a change of the given masks touches.

    From a mask that is new, changed or gone up to the next one that names the same objects; and all frames before the
    first given mask, which are tracked backwards from it, if that is another one.
    """
    first = min(given)
    changed = [t for t in sorted({*before, *given}) if not np.array_equal(before.get(t, 0), given.get(t, 0))]
    redo: set[int] = set()
    for t in changed:
        named = {label for masks in (before, given) if t in masks for label in objects_in(masks[t])}
        start = max(t, first)
        redo.update(range(start, _next_that_names(named, given, start, total)))
    if first in changed or min(before, default=-1) != first:
        redo.update(range(first))
    return redo


def _next_that_names(objects: Collection[int], given: Mapping[int, Mask], start: int, total: int) -> int:
    later = (t for t in sorted(given) if t > start and set(objects) <= set(objects_in(given[t])))
    return next(later, total)


def clip_sha256(path: Path) -> str:
    """The SHA-256 of a video file; of a folder, that of its files' names and hashes."""
    if path.is_file():
        return file_sha256(path)
    listing = "".join(f"{file.name} {file_sha256(file)}\n" for file in sorted(path.iterdir()) if file.is_file())
    return hashlib.sha256(listing.encode()).hexdigest()
