"""Cuts an object out of its surroundings, and tells how well a cut separates the two."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.interactive.graph_cut import cut
from mamp.interactive.surroundings import Surroundings
from mamp.interactive.value_histogram import ValueHistogram

Bool = NDArray[np.bool_]
Scores = NDArray[np.float32]

_NEAR = 0.5  # of the reach: pixels this near to the marks are about as likely object as the marked ones
_FIRST_NEARNESS = 3.4  # weight of the log of the nearness to the marks, as long as no color is known
_NEARNESS = 1.33  # the same beside colors and motion
_COLOR, _MOTION = 1.3, 0.6  # weights of the log-odds of colors and of motion
_SURE = 8.0  # log-odds of what is marked

_AGREEMENT, _COLOR_STEP, _MOTION_STEP = 19.0, 5.8, 2.3  # weights in the quality of a mask
_AROUND = 0.6  # of the root of the mask's area: how far around it colors should tell it from the background
_SIDE = 2  # [pixels] on both sides of an edge
_UNSEEN = 0.1  # a difference across an edge that says nothing, in units of the values


class ObjectCut:
    """Cuts an object out of its surroundings.

    Args:
        view: The surroundings.
    """

    def __init__(self, view: Surroundings) -> None:
        self._view = view
        self._colors = ValueHistogram(view.colors)
        self._motion = None if view.motion is None else ValueHistogram(view.motion)

    def mask(self, reach: float, first: Bool | None = None) -> tuple[Bool, Scores]:
        """Cuts with the colors and motion of a first mask; if none is given, with what those near the marks make likely.

        Args:
            reach: How far from its marks the object probably ends, in units of their extent.
            first: A first mask (h, w).

        Returns:
            Mask (h, w), and log-odds of each pixel to belong to the object (h, w).
        """
        view = self._view
        ends = np.minimum(view.distance_outside, reach)
        nearness = np.log((ends + _NEAR * reach) / (view.distance + _NEAR * reach))
        if first is None:
            known = np.where(view.inside, _SURE, np.where(view.outside, -_SURE, _FIRST_NEARNESS * nearness))
            likely = self._log_odds(nearness, 1 / (1 + np.exp(-known))) > 0
            first = (likely | view.inside) & ~view.outside
        log_odds = self._log_odds(nearness, first)
        return cut(log_odds, view.colors, view.inside, view.outside), log_odds

    def _log_odds(self, nearness: Scores, weight: NDArray[Any]) -> Scores:
        """By nearness, and by the colors and motion of pixels with a probability (h, w) to belong to the object."""
        weight = weight.astype(np.float32)
        log_odds = _NEARNESS * nearness + _COLOR * self._colors.log_odds(weight)
        return log_odds if self._motion is None else log_odds + _MOTION * self._motion.log_odds(weight)

    def quality(self, mask: Bool) -> float:
        """How well a mask (h, w) separates an object from what is around it; only differences count.

        Its colors differ from those around it, and colors and motion change at its edge.
        """
        if mask.all() or not mask.any():
            return -math.inf
        pixels = mask.astype(np.uint8)
        around = cv2.distanceTransform(1 - pixels, cv2.DIST_L2, 5) < _AROUND * math.sqrt(mask.sum())
        agrees = (self._colors.log_odds(mask.astype(np.float32)) > 0) == mask
        square = np.ones((3, 3), np.uint8)
        edge = cv2.dilate(pixels, square) > cv2.erode(pixels, square)
        quality = _AGREEMENT * float(agrees[around].mean()) + _COLOR_STEP * _step(self._view.colors, mask, edge)
        return quality if self._view.motion is None else quality + _MOTION_STEP * _step(self._view.motion, mask, edge)


def _step(values: Scores, mask: Bool, edge: Bool) -> float:
    """Mean log of the difference of values (h, w, C) between both sides of a mask's edge (h, w)."""
    side = 2 * _SIDE + 1
    means = []
    for part in (mask.astype(np.float32), 1 - mask.astype(np.float32)):
        share = cv2.blur(part, (side, side))[..., None] + 1e-6
        means.append(cv2.blur(values * part[..., None], (side, side)) / share)
    difference = np.linalg.norm(means[0] - means[1], axis=-1)[edge]
    return float(np.log(difference + _UNSEEN).mean())
