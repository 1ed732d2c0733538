"""Operations on label maps (H, W) uint8: the objects in one, resizing, merging, and segmenting a box."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

MAX_PIXELS = 64_000_000  # of a mask in a file
VOID = 255  # label of pixels that nobody labeled, in DAVIS and PASCAL VOC


class MaskError(ValueError):
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


def mask_in_box(frame: NDArray[np.uint8], box: tuple[int, int, int, int], label: int) -> Mask:
    """Segments the object in a box by color (GrabCut).

    Args:
        frame: RGB (H, W, 3) uint8.
        box: Left, top, right and bottom [pixels], right and bottom excluded.
        label: Object label.

    Returns:
        Label map (H, W) uint8 of this object; the whole box where GrabCut finds almost no foreground.

    Raises:
        MaskError: The box exceeds the frame, or covers all of it.
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise MaskError(f"The box {left}, {top} to {right}, {bottom} does not lie in the frame, {width}x{height}.")
    if (right - left, bottom - top) == (width, height):
        raise MaskError("The box is the whole frame; it must leave some background outside.")
    segmentation = np.zeros((height, width), np.uint8)
    color_models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    rectangle = (left, top, right - left, bottom - top)
    cv2.grabCut(bgr, segmentation, rectangle, *color_models, 5, cv2.GC_INIT_WITH_RECT)
    foreground = np.isin(segmentation, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if foreground.sum() < 0.05 * (right - left) * (bottom - top):
        foreground[top:bottom, left:right] = True
    return np.where(foreground, label, 0).astype(np.uint8)
