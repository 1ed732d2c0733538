"""Objects that are too small for the size at which a clip is processed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in

# Measured with squares and bars over a moving texture: smaller ones vanish on some frames.
_MIN_AREA = 48.0  # [pixels of the processed frame]
_MIN_WIDTH = 4.0  # [pixels of the processed frame]: one cell of the features


def small_objects(mask: NDArray[np.uint8], processing_size: tuple[int, int]) -> list[int]:
    """The objects of a label map (H, W) uint8 that may be lost when it is processed at a size (H, W) [pixels]."""
    scale = processing_size[0] / mask.shape[0]
    return [label for label in objects_in(mask) if _is_small(mask == label, scale)]


def _is_small(shape: NDArray[np.bool_], scale: float) -> bool:
    return bool(shape.sum() * scale**2 < _MIN_AREA or _width(shape) * scale < _MIN_WIDTH)


def _width(shape: NDArray[np.bool_]) -> float:
    """Width of the thickest part of a shape (H, W) [pixels]."""
    left, top, width, height = cv2.boundingRect(shape.astype(np.uint8))
    part = np.pad(shape[top : top + height, left : left + width].astype(np.uint8), 1)
    return 2 * float(cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_5).max()) - 1
