"""Incremental runs: which masks of a previous run are still valid after corrections of the input masks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.masks.mask_io import read_mask
from mamp.model.checkpoint import file_sha256
from mamp.runs.results import Result
from mamp.settings import Settings

Mask = NDArray[np.uint8]


def reusable_frames(
    previous: Result, names: Mapping[int, str], input_masks: Mapping[int, Mask], identity: Mapping[str, Any]
) -> set[int]:
    """The frames whose masks a run can reuse from a previous one.

    Args:
        previous: The previous run.
        names: Names of all frames by number, as in ``VideoReader.name``.
        input_masks: Input masks (H, W) uint8 of the new run by frame number.
        identity: Clip, sizes, settings and weights of the new run; see ``run_identity``. The clip may be left out where it
            is known to be the same.

    Returns:
        Frame numbers before the first input mask that was added, changed or removed; none if that is the first one of the
        run, or if clip, settings or weights differ.
    """
    if differing_entry(previous.receipt, identity) is not None:
        return set()
    available = {index for index, name in names.items() if (previous.masks_dir / f"{name}.png").exists()}
    before = previous.input_masks
    numbers = sorted({*before, *input_masks})
    changed = next((t for t in numbers if not _same(before.get(t), input_masks.get(t))), len(names))
    # A mask affects all frames tracked after it: the first input mask all frames of the clip.
    return {index for index in available if index < changed} if changed > min(input_masks) else set()


def differing_entry(receipt: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """The first entry of an identity that a receipt has otherwise; ``None`` for equal runs.

    A receipt of an earlier version lacks settings that are newer: these had their defaults.
    """
    for key, value in identity.items():
        before = receipt.get(key)
        if key == "settings" and before is not None:
            before, value = _complete(before), _complete(value)
        if before != value:
            return key
    return None


def _complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**Settings().to_dict(), **settings}


def _same(path: Path | None, mask: Mask | None) -> bool:
    """Whether a mask file holds a mask; ``None`` for no mask."""
    return path is not None and mask is not None and np.array_equal(read_mask(path), mask)


def clip_sha256(path: Path) -> str:
    """SHA-256 of a video file, or of the names and hashes of the files in a folder."""
    if path.is_file():
        return file_sha256(path)
    listing = "".join(f"{file.name} {file_sha256(file)}\n" for file in sorted(path.iterdir()) if file.is_file())
    return hashlib.sha256(listing.encode()).hexdigest()
