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

    A mask affects all frames tracked after it: the first input mask all frames of the clip, a later one those from its
    own frame on.
    """
    changed = [t for t in sorted({*before, *after}) if not np.array_equal(before.get(t, 0), after.get(t, 0))]
    if not changed:
        return set()
    return set(range(changed[0] if changed[0] > min(after) else 0, total))


def clip_sha256(path: Path) -> str:
    """SHA-256 of a video file, or of the names and hashes of the files in a folder."""
    if path.is_file():
        return file_sha256(path)
    listing = "".join(f"{file.name} {file_sha256(file)}\n" for file in sorted(path.iterdir()) if file.is_file())
    return hashlib.sha256(listing.encode()).hexdigest()
