"""J and F as the official DAVIS-2017 evaluation defines them (Pont-Tuset et al., arXiv 1704.00675)."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]

BOUND = 0.008  # tolerance of contours, as a fraction of the image's diagonal
BINS = 4


def region_similarity(truth: Bool, result: Bool) -> float:
    """J: intersection over union of two masks (H, W) bool; 1 if both are empty."""
    truth, result = _around_objects(truth, result)
    union = np.count_nonzero(truth | result)
    return np.count_nonzero(truth & result) / union if union else 1.0


def contour_accuracy(truth: Bool, result: Bool) -> float:
    """F: the F-measure of the contours of two masks (H, W) bool, matched within a small disk."""
    radius = math.ceil(BOUND * math.hypot(*truth.shape))
    truth_contour, result_contour = map(contours, _around_objects(truth, result))
    n_truth, n_result = np.count_nonzero(truth_contour), np.count_nonzero(result_contour)
    if not n_truth or not n_result:
        return float(n_truth == n_result)
    precision = np.count_nonzero(result_contour & _dilate(truth_contour, radius)) / n_result
    recall = np.count_nonzero(truth_contour & _dilate(result_contour, radius)) / n_truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contours(mask: Bool) -> Bool:
    """Pixels (H, W) with a different right, lower or lower right neighbor."""
    edge = np.zeros_like(mask)
    edge[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def _dilate(points: Bool, radius: int) -> Bool:
    """The pixels (H, W) no farther from a point than the radius."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    return cv2.dilate(points.view(np.uint8), disk).view(np.bool_)


def _around_objects(truth: Bool, result: Bool) -> tuple[Bool, Bool]:
    """The part of two masks that contains their objects and contours: the same scores in less time."""
    left, top, width, height = cv2.boundingRect((truth | result).view(np.uint8))
    part = slice(max(0, top - 1), top + height + 1), slice(max(0, left - 1), left + width + 1)
    return truth[part], result[part]


def statistics(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, recall (fraction above 0.5) and decay (first minus last quarter) of an object's scores by frame (T,)."""
    # The official tool casts these to uint8: beyond 256 frames its quarters are wrong, and so are these.
    ids = (np.round(np.linspace(1, len(values), BINS + 1) + 1e-10) - 1).astype(int).astype(np.uint8).astype(int)
    quarters = [values[ids[index] : ids[index + 1] + 1] for index in range(BINS)]
    ends = [float(np.mean(quarter)) if len(quarter) else math.nan for quarter in (quarters[0], quarters[-1])]
    return float(np.mean(values)), float(np.mean(values > 0.5)), ends[0] - ends[1]
