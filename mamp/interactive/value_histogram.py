"""Histograms of the values of pixels, such as colors, which tell an object from its background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

_BIN = 0.25  # side of a bin, in units of the values
_SMOOTHING = 1.0  # [bins]
_MAX_BINS = 60  # of a channel
_RARE = 1e-5  # density of pixels in a bin below which it says little


class ValueHistogram:
    """The values of pixels, by bins.

    Args:
        values: (h, w, C), of the order of 1.
    """

    def __init__(self, values: Scores) -> None:
        low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
        self._bins = np.minimum((high - low) / _BIN + 2, _MAX_BINS).astype(int)
        indices = np.minimum(np.round((values - low) / _BIN).astype(int), self._bins - 1)
        self._index = np.ravel_multi_index(tuple(np.moveaxis(indices, -1, 0)), tuple(self._bins))

    def log_odds(self, weight: Scores) -> Scores:
        """Log of the density of a pixel's value in an object over that in the background (h, w).

        Args:
            weight: Probability of each pixel to belong to the object (h, w).
        """
        inside, outside = self._densities(weight), self._densities(1 - weight)
        odds = np.log((inside + _RARE) / (outside + _RARE))
        return np.asarray(odds[self._index], np.float32)

    def _densities(self, weight: Scores) -> NDArray[np.float64]:
        """The smoothed share of the weight in each bin."""
        counts = np.bincount(self._index.ravel(), weight.ravel(), int(np.prod(self._bins)))
        densities = counts.reshape(self._bins) / max(float(weight.sum()), 1.0)
        for axis, count in enumerate(self._bins):
            steps = np.arange(count)
            kernel = np.exp(-np.square((steps[:, None] - steps) / _SMOOTHING) / 2)
            smoothed = np.tensordot(kernel / kernel.sum(axis=0), densities, (1, axis))
            densities = np.moveaxis(smoothed, 0, axis)
        return densities.ravel()
