"""Operations on label maps (H, W) uint8: the objects in one, resizing and merging."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.errors import UserError

Mask = NDArray[np.uint8]

MAX_PIXELS = 64_000_000  # of a mask in a file
VOID = 255  # label of pixels that nobody labeled, in DAVIS and PASCAL VOC


class MaskError(UserError):
    """An invalid mask; the message is one sentence for the user."""


def as_label_map(mask: NDArray[Any], name: str = "The mask") -> Mask:
    """A mask as label map (H, W) uint8, C-contiguous and writable.

    Args:
        mask: Labels (H, W), whole numbers from 0 to 255 of any type: bool, integers of any width, or float.
        name: Start of the error message.

    Raises:
        MaskError: The mask has another number of dimensions, or other values.
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        raise MaskError(f"{name} must be an array of two dimensions (H, W), not {array.ndim}.")
    if array.dtype.kind not in "biuf":
        raise MaskError(f"{name} must hold numbers, not {array.dtype}.")
    if array.dtype not in (np.uint8, np.bool_):
        wrong = array[~((array >= 0) & (array <= 255) & (array == np.trunc(array)))]
        if wrong.size:
            raise MaskError(f"{name} holds {wrong[0]:g}, but labels are whole numbers from 0 to 255.")
    return np.require(array, np.uint8, ["C", "W"])


def objects_in(mask: Mask) -> list[int]:
    """The labels of the objects in a mask (H, W) uint8, ascending."""
    return [label for label, area in enumerate(np.bincount(mask.ravel()).tolist()) if label and area]


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at a size (H, W), by nearest neighbor: a label map has no values between labels."""
    if size == mask.shape:
        return mask
    return np.asarray(cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def merge_input_mask(mask: Mask, input_mask: Mask) -> Mask:
    """Merges an input mask into another mask, both (H, W) uint8: it replaces the objects it contains entirely."""
    kept = np.where(np.isin(mask, np.unique(input_mask)), 0, mask)
    return np.where(input_mask > 0, input_mask, kept).astype(np.uint8)
