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
        self._all = self._smoothed_counts(np.ones(self._index.shape, np.float32))

    def log_odds(self, weight: Scores) -> Scores:
        """Log of the density of a pixel's value in an object over that in the background (h, w).

        Args:
            weight: Probability of each pixel to belong to the object (h, w).
        """
        inside, area = self._smoothed_counts(weight), float(weight.sum())
        outside = (self._all - inside).clip(0)
        inside, outside = inside / max(area, 1.0), outside / max(weight.size - area, 1.0)
        odds = np.log((inside + _RARE) / (outside + _RARE))
        return np.asarray(odds[self._index], np.float32)

    def _smoothed_counts(self, weight: Scores) -> NDArray[np.float64]:
        """The weight in each bin, smoothed."""
        counts = np.bincount(self._index.ravel(), weight.ravel(), int(np.prod(self._bins))).reshape(self._bins)
        for axis, count in enumerate(self._bins):
            steps = np.arange(count)
            kernel = np.exp(-np.square((steps[:, None] - steps) / _SMOOTHING) / 2)
            smoothed = np.tensordot(kernel / kernel.sum(axis=0), counts, (1, axis))
            counts = np.moveaxis(smoothed, 0, axis)
        return counts.ravel()
