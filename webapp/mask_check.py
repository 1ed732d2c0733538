"""Tells what is wrong with a painted mask before it is tracked: a line instead of an object, or many pieces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in
from webapp.languages import count_message, message

# Of 26 objects in first frames of DAVIS, the largest values are 5.8 and 2; a scribble on them mostly exceeds 8.
_LONGEST = 8  # area in units of the squared width
_MOST_PIECES = 3
_PIECE = 0.01  # of the area of the object: smaller pieces are specks
_NARROWEST = 6  # [pixels] of at most 480 rows: one and a half cells of the tracker


def mask_problem(mask: NDArray[np.uint8]) -> str:
    """One sentence on the first object that will be hard to track; empty if there is none.

    Args:
        mask: Label map (H, W).
    """
    for label in objects_in(mask):
        inside = np.pad(mask == label, 1).astype(np.uint8)
        width = max(1.0, 2 * float(cv2.distanceTransform(inside, cv2.DIST_L2, 5).max()) - 1)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
        areas = statistics[1:, cv2.CC_STAT_AREA]
        pieces = int((areas >= _PIECE * areas.sum()).sum())
        if areas.sum() > _LONGEST * width**2:
            return count_message("check.line", round(width), label=label)
        if width < _NARROWEST * max(1.0, min(mask.shape) / 480):
            return count_message("check.narrow", round(width), label=label)
        if pieces > _MOST_PIECES:
            return message("check.pieces", label=label, pieces=pieces)
    return ""
