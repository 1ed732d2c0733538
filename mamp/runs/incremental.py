"""Incremental runs: which masks of a previous run are still valid after corrections of the input masks."""

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
    previous: Result, names: Mapping[int, str], input_masks: Mapping[int, Mask], identity: Mapping[str, Any]
) -> set[int]:
    """The frames whose masks a run can reuse from a previous one.

    Args:
        previous: The previous run.
        names: Names of all frames by number, as in ``VideoReader.name``.
        input_masks: Input masks (H, W) uint8 of the new run by frame number.
        identity: Clip, sizes, settings and weights of the new run; see ``run_identity``.

    Returns:
        Frame numbers; none where clip, settings or weights differ.
    """
    if any(previous.receipt.get(key) != value for key, value in identity.items()):
        return set()
    available = {index for index, name in names.items() if (previous.masks_dir / f"{name}.png").exists()}
    before = {index: read_mask(path) for index, path in previous.input_masks.items()}
    return available - frames_to_redo(before, input_masks, len(names))


def frames_to_redo(before: Mapping[int, Mask], after: Mapping[int, Mask], total: int) -> set[int]:
    """The frames that a change of the input masks from ``before`` to ``after`` affects.

    These are the frames from a new, changed or removed mask up to the next mask with the same objects; and, if the first
    input mask differs, all frames before it, which are tracked backwards from it.
    """
    first = min(after)
    changed = [t for t in sorted({*before, *after}) if not np.array_equal(before.get(t, 0), after.get(t, 0))]
    affected: set[int] = set()
    for t in changed:
        objects = {label for masks in (before, after) if t in masks for label in objects_in(masks[t])}
        start = max(t, first)
        affected.update(range(start, _next_mask_of(objects, after, start, total)))
    if first in changed or min(before, default=-1) != first:
        affected.update(range(first))
    return affected


def _next_mask_of(objects: Collection[int], input_masks: Mapping[int, Mask], start: int, total: int) -> int:
    """Number of the first frame after ``start`` whose input mask contains all objects; ``total`` if there is none."""
    later = (t for t in sorted(input_masks) if t > start and set(objects) <= set(objects_in(input_masks[t])))
    return next(later, total)


def clip_sha256(path: Path) -> str:
    """SHA-256 of a video file, or of the names and hashes of the files in a folder."""
    if path.is_file():
        return file_sha256(path)
    listing = "".join(f"{file.name} {file_sha256(file)}\n" for file in sorted(path.iterdir()) if file.is_file())
    return hashlib.sha256(listing.encode()).hexdigest()
