"""Enlarges a mask along the edges of an image, by a guided filter (He et al., TPAMI 2013; fast: He and Sun, 2015)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Scores = NDArray[np.float32]

_RADIUS = 3  # [pixels of the small mask]
_REGULARIZATION = 0.01  # variance below which a color says little, in squared units of the colors


def guided_resize(mask: Bool, small: Scores, colors: Scores) -> Bool:
    """A mask at the size of an image, with edges where the colors change.

    Around each pixel of the small mask, a linear function of color is fitted to it. The coefficients are enlarged, and
    applied to the colors of the image.

    Args:
        mask: (h, w).
        small: Colors at the size of the mask (h, w, 3), of the order of 1.
        colors: The same of the whole image (H, W, 3).

    Returns:
        Mask (H, W).
    """
    if mask.shape == colors.shape[:2]:
        return mask
    scores = mask.astype(np.float32)
    mean_color, mean = _box_mean(small), _box_mean(scores)
    covariance = np.empty((*mask.shape, 3, 3), np.float32)
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
        product = _box_mean(small[..., i] * small[..., j]) - mean_color[..., i] * mean_color[..., j]
        covariance[..., i, j] = covariance[..., j, i] = product
    covariance += _REGULARIZATION * np.eye(3, dtype=np.float32)
    with_mask = _box_mean(small * scores[..., None]) - mean_color * mean[..., None]
    slopes = np.linalg.solve(covariance, with_mask[..., None])[..., 0].astype(np.float32)
    offset = np.asarray(mean - (slopes * mean_color).sum(axis=-1), np.float32)
    size = colors.shape[0], colors.shape[1]
    slopes, offset = _enlarged(_box_mean(slopes), size), _enlarged(_box_mean(offset), size)
    return np.asarray((slopes * colors).sum(axis=-1) + offset > 0.5)


def _box_mean(pixels: Scores) -> Scores:
    return np.asarray(cv2.blur(pixels, (2 * _RADIUS + 1, 2 * _RADIUS + 1)), np.float32)


def _enlarged(pixels: Scores, size: tuple[int, int]) -> Scores:
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
