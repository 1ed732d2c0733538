"""Strokes: rough marks (H, W) uint8 on one frame. 0 is unknown, 1 to 254 lie inside an object, 255 outside all objects."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in

Strokes = NDArray[np.uint8]

UNKNOWN, OUTSIDE = 0, 255


def click_strokes(size: tuple[int, int], point: tuple[int, int], label: int) -> Strokes:
    """A click as strokes: a small disk.

    Args:
        size: (H, W) of the frame [pixels].
        point: x and y [pixels].
        label: Object label [1, 254], or 255 for a click outside all objects.

    Returns:
        (H, W) uint8.
    """
    strokes = np.zeros(size, np.uint8)
    return np.asarray(cv2.circle(strokes, point, max(1, min(size) // 120), label, cv2.FILLED), np.uint8)


def fill_outlines(strokes: Strokes) -> Strokes:
    """Fills what the strokes of one object enclose, unless it holds other strokes.

    Args:
        strokes: (H, W) uint8.

    Returns:
        (H, W) uint8.
    """
    filled = strokes.copy()
    for label in stroked_objects(strokes):
        # Strokes are connected across corners, so what they enclose is not.
        count, regions = cv2.connectedComponents((strokes != label).astype(np.uint8), connectivity=4)
        enclosed = np.ones(count, bool)
        enclosed[0] = False  # the strokes themselves
        for border in (regions[0], regions[-1], regions[:, 0], regions[:, -1], regions[strokes != UNKNOWN]):
            enclosed[border] = False
        filled[enclosed[regions]] = label
    return filled


def stroked_objects(strokes: Strokes) -> list[int]:
    """The labels of the objects with strokes, ascending."""
    return [label for label in objects_in(strokes) if label != OUTSIDE]
