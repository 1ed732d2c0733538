"""Linear functions of color, fitted around each pixel of an image: a guided filter (He et al., TPAMI 2013)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.alignment import FULL_BOX, Box


class GuidedFilter:
    """Fits linear functions of an image's color to scores. They can be enlarged, and evaluated at the colors of pixels.

    Args:
        color: (3, h, w) float.
        radius: Of the square around each pixel to which a function is fitted [pixels of the image].
        regularization: Variance of a color below which it says little, in squared units of the colors.
    """

    def __init__(self, color: Tensor, *, radius: int, regularization: float) -> None:
        self._color, self._radius = color, radius
        self._mean = self._box_mean(color)
        products = (color[:, None] * color).flatten(0, 1)
        covariance = self._box_mean(products).view(3, 3, *color.shape[1:]) - self._mean[:, None] * self._mean
        ridge = regularization * torch.eye(3, device=color.device)
        # Unlike ``inv``, it does not make the host wait to check for a singular matrix, which the ridge excludes.
        self._precision = torch.linalg.inv_ex(covariance.permute(2, 3, 0, 1) + ridge).inverse.permute(2, 3, 0, 1)

    def fit(self, scores: Tensor, box: Box = FULL_BOX) -> Tensor:
        """Coefficients for scores (K, h, w) around each pixel of a box: slopes and an offset (K, 4, rows, columns)."""
        color, mean_color, precision, scores = (
            pixels[(..., *box)] for pixels in (self._color, self._mean, self._precision, scores)
        )
        mean = self._box_mean(scores)
        covariance = torch.stack([self._box_mean(scores * channel) for channel in color]) - mean_color[:, None] * mean
        slope = torch.einsum("cdhw,dkhw->kchw", precision, covariance)
        offset = mean[:, None] - (slope * mean_color).sum(dim=1, keepdim=True)
        coefficients = torch.cat((slope, offset), dim=1)
        return self._box_mean(coefficients.flatten(0, 1)).view_as(coefficients)

    def _box_mean(self, pixels: Tensor) -> Tensor:
        """Means over the pixels within the radius (K, h, w)."""
        radius = self._radius
        return F.avg_pool2d(pixels[None], 2 * radius + 1, 1, radius, count_include_pad=False)[0]


def scores_at(color: Tensor, coefficients: Tensor) -> Tensor:
    """Scores (K, H, W) at the colors (3, H, W) of pixels, from coefficients (K, 4, H, W), see ``GuidedFilter``."""
    *slopes, scores = coefficients.unbind(dim=1)
    for slope, channel in zip(slopes, color, strict=True):
        scores = scores.addcmul_(slope, channel)
    return scores
