"""From the scores of cells to pixels, along the edges that the image has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.alignment import pad_to_stride, to_cells, to_pixels

_RADIUS = 1  # [cells]; with 2, small objects take on the colours around them
_SMOOTH = 1e-4  # squared contrast [of 0 to 1] below which colour says nothing: about 2.5 grey levels of 255


class ImageEdges:
    """Lays scores over a frame so that they change where its colours do: a guided filter (He et al., TPAMI 2013).

    The paper interpolates scores linearly, which rounds off what is finer than a cell, again at each frame. Here the scores
    around a cell are explained by a linear function of colour, which is interpolated instead, and asked at each pixel.

    Args:
        frame: RGB (3, H, W) float [0, 1].
    """

    def __init__(self, frame: Tensor) -> None:
        self.frame = frame
        around = F.pad(frame[None], (1, 1, 1, 1), mode="replicate")
        self._colour = to_cells(pad_to_stride(F.avg_pool2d(around, 3, 1)[0]))  # (3, h, w)
        self._mean = _around(self._colour)
        products = (self._colour[:, None] * self._colour).flatten(0, 1)
        covariance = (
            _around(products).view(3, 3, *self._mean.shape[1:]) - self._mean[:, None] * self._mean
        )  # (3, 3, h, w)
        unit = _SMOOTH * torch.eye(3, device=frame.device)
        self._precision = torch.linalg.inv(covariance.permute(2, 3, 0, 1) + unit).permute(2, 3, 0, 1)

    def to_pixels(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """As ``alignment.to_pixels``, for the cells of the frame.

        Args:
            scores: (K, h, w) float.
            size: The (H, W) wanted [pixels].

        Returns:
            Scores (K, H, W).
        """
        mean = _around(scores)
        shared = torch.stack([_around(scores * colour) for colour in self._colour]) - self._mean[:, None] * mean
        slope = torch.einsum("cdhw,dkhw->ckhw", self._precision, shared)  # (3, K, h, w)
        offset = mean - (slope * self._mean[:, None]).sum(dim=0)
        processed = (self.frame.shape[-2], self.frame.shape[-1])
        frame = self.frame
        if size != processed:
            frame = F.interpolate(frame[None], size, mode="bilinear", align_corners=False)[0]
        pixels = to_pixels(_around(offset), size, processed)
        for by_colour, colour in zip(slope, frame, strict=True):
            pixels.addcmul_(to_pixels(_around(by_colour), size, processed), colour)
        return pixels


def _around(cells: Tensor) -> Tensor:
    """Means over the cells within the radius (K, h, w)."""
    return F.avg_pool2d(cells[None], 2 * _RADIUS + 1, 1, _RADIUS, count_include_pad=False)[0]
