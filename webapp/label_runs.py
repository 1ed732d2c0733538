"""Label maps as run lengths, the form in which the page's editor receives and sends masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp import MaskError


def mask_to_runs(mask: NDArray[np.uint8]) -> list[int]:
    """Encodes a mask (H, W) uint8 row by row: label, number of pixels, label, number of pixels, ..."""
    labels = mask.ravel()
    starts = np.concatenate(([0], np.flatnonzero(np.diff(labels)) + 1))
    lengths = np.diff(np.append(starts, labels.size))
    runs: list[int] = np.stack([labels[starts], lengths], axis=1).ravel().tolist()
    return runs


def runs_to_mask(runs: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decodes runs, which may come from anyone, to a mask (H, W) uint8.

    Args:
        runs: As ``mask_to_runs`` returns them.
        size: Height and width of the mask.

    Raises:
        MaskError: These are no runs, a label exceeds 255, or the lengths do not add up to the size.
    """
    height, width = size
    if not isinstance(runs, list) or len(runs) % 2 or not 2 <= len(runs) <= 2 * height * width:
        raise MaskError("This mask cannot be read.")
    if not all(type(value) is int and 0 <= value < 1 << 31 for value in runs):
        raise MaskError("This mask cannot be read.")
    labels, lengths = np.array(runs, np.int64).reshape(-1, 2).T
    if labels.max() > 255 or lengths.sum() != height * width:
        raise MaskError("This mask does not have the size of the clip, or has too many objects.")
    return np.repeat(labels.astype(np.uint8), lengths).reshape(height, width)
