"""From the scores of cells to the labels of pixels, along the edges that the image has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE
from mamp.propagation.alignment import EVERYWHERE, Box, extents, to_pixels

_RADIUS = 1  # [cells]; with 2, small objects take on the colours around them
_SMOOTH = 1e-4  # squared contrast [of 0 to 1] below which colour says nothing: about 2.5 grey levels of 255
_REACH = 2 * _RADIUS + 1  # [cells]: as far as a score can be felt, once it is fitted, averaged and interpolated


class ScoreUpsampler(Protocol):
    """How scores change between cells: what is fitted to them is interpolated, and asked at each pixel."""

    processed: tuple[int, int]  # (H, W) of the frame that the cells were computed from [pixels]
    size: tuple[int, int]  # (H, W) wanted [pixels]

    def fitted(self, scores: Tensor, cells: Box = EVERYWHERE) -> Tensor:
        """What explains scores (K, h, w) around each cell of a box (K, F, rows, columns); linear, and 1 explains 1.

        In and beyond the cells at the sides of the box that are not at those of the frame, all scores must be 0.
        """

    def to_pixels(self, fitted: Tensor, cells: Box = EVERYWHERE, box: Box = EVERYWHERE) -> Tensor:
        """What it says of the pixels of a box of the wanted ones (K, rows, columns); ``cells`` as for ``fitted``."""


class BilinearUpsampler:
    """Scores interpolated linearly, as in the paper.

    Args:
        processed: The (H, W) of the frame that the cells were computed from [pixels].
        size: The (H, W) wanted [pixels].
    """

    def __init__(self, processed: tuple[int, int], size: tuple[int, int]) -> None:
        self.processed, self.size = processed, size

    def fitted(self, scores: Tensor, cells: Box = EVERYWHERE) -> Tensor:
        """The scores (K, 1, rows, columns)."""
        return scores[(slice(None), None, *cells)]

    def to_pixels(self, fitted: Tensor, cells: Box = EVERYWHERE, box: Box = EVERYWHERE) -> Tensor:
        """As ``Edges`` says."""
        return to_pixels(fitted[:, 0], self.size, self.processed, box, cells)


class GuidedUpsampler:
    """Lays scores over a frame so that they change where its colours do: a guided filter (He et al., TPAMI 2013).

    The paper interpolates scores linearly, which rounds off what is finer than a cell, again at each frame. Here the scores
    around a cell are explained by a linear function of colour, which is interpolated instead, and asked at each pixel.

    Args:
        frame: RGB (3, H, W) float [0, 1].
        size: The (H, W) wanted [pixels]; the frame's if not given.
    """

    def __init__(self, frame: Tensor, size: tuple[int, int] | None = None) -> None:
        self.processed = (frame.shape[-2], frame.shape[-1])
        self.size = size or self.processed
        around = F.pad(frame[None], (1, 1, 1, 1), mode="replicate")
        self._colour = F.avg_pool2d(around, 3, STRIDE)[0]  # (3, h, w)
        self._mean = _around(self._colour)
        products = (self._colour[:, None] * self._colour).flatten(0, 1)
        covariance = (
            _around(products).view(3, 3, *self._mean.shape[1:]) - self._mean[:, None] * self._mean
        )  # (3, 3, h, w)
        unit = _SMOOTH * torch.eye(3, device=frame.device)
        self._precision = torch.linalg.inv(covariance.permute(2, 3, 0, 1) + unit).permute(2, 3, 0, 1)
        self._frame = frame
        if self.size != self.processed:
            self._frame = F.interpolate(frame[None], self.size, mode="bilinear", align_corners=False)[0]

    def fitted(self, scores: Tensor, cells: Box = EVERYWHERE) -> Tensor:
        """Of each label the linear function of colour: three slopes and an offset (K, 4, rows, columns)."""
        colours, means, precision, scores = (
            every[(..., *cells)] for every in (self._colour, self._mean, self._precision, scores)
        )
        mean = _around(scores)
        shared = torch.stack([_around(scores * colour) for colour in colours]) - means[:, None] * mean
        slope = torch.einsum("cdhw,dkhw->kchw", precision, shared)
        offset = mean[:, None] - (slope * means).sum(dim=1, keepdim=True)
        every = torch.cat((slope, offset), dim=1)
        return _around(every.flatten(0, 1)).view_as(every)

    def to_pixels(self, fitted: Tensor, cells: Box = EVERYWHERE, box: Box = EVERYWHERE) -> Tensor:
        """As ``Edges`` says."""
        *slopes, pixels = to_pixels(fitted, self.size, self.processed, box, cells).unbind(dim=1)
        for slope, colour in zip(slopes, self._frame[:, box[0], box[1]], strict=True):
            pixels = pixels.addcmul_(slope, colour)
        return pixels


def argmax_labels(scores: Tensor, labels: Sequence[int], edges: ScoreUpsampler) -> Tensor:
    """The label with the highest score at every pixel.

    An object is read out only where its scores can be felt; background is what all objects leave of 1.

    Args:
        scores: Of the cells (K, h, w); they sum to 1, and the first is that of background.
        labels: K of them [0, 255].
        edges: What lies between cells.

    Returns:
        (H, W) uint8.
    """
    answer = torch.zeros(edges.size, dtype=torch.uint8, device=scores.device)
    if len(labels) == 1:  # recalled frames may hold no object
        return answer
    left, best = scores.new_ones(edges.size), scores.new_zeros(edges.size)
    for index, cells in _boxes(scores[1:]).items():
        box = _pixels(cells, edges)
        score = edges.to_pixels(edges.fitted(scores[index + 1, None], cells), cells, box)[0]
        left[box] -= score
        answer[box] = torch.where(score > best[box], labels[index + 1], answer[box])
        best[box] = torch.maximum(score, best[box])
    return torch.where(best > left, answer, 0)


def label_margins(scores: Tensor, labels: Sequence[int]) -> dict[int, float]:
    """How far ahead of the second label each object is, mean over its cells.

    Args:
        scores: Of the cells (K, h, w), the first those of background.
        labels: K of them.

    Returns:
        By label, without background [0, 1]; 0 where nothing of it was found.
    """
    if len(labels) == 1:  # recalled frames may hold no object
        return {}
    best, index = scores.topk(2, dim=0)
    winner, margin = index[0].flatten(), (best[0] - best[1]).flatten()
    cells = torch.bincount(winner, minlength=len(labels))
    means = torch.bincount(winner, weights=margin, minlength=len(labels)) / cells.clamp(min=1)
    return {label: mean for label, mean in zip(labels, means.tolist(), strict=True) if label}


def _boxes(scores: Tensor) -> dict[int, Box]:
    """Which of the scores (K, h, w) are not 0 everywhere, and the box of cells that each can be felt in."""
    boxes = {}
    for index, extent in enumerate(extents(scores != 0)):
        if extent:
            (top, bottom), (left, right) = extent
            rows = slice(max(0, top - _REACH), bottom + _REACH + 1)
            boxes[index] = (rows, slice(max(0, left - _REACH), right + _REACH + 1))
    return boxes


def _pixels(cells: Box, edges: ScoreUpsampler) -> Box:
    """The wanted pixels from the first cells of a box to its last."""
    rows, columns = (
        slice(
            max(0, math.floor((side.start * STRIDE + 0.5) * wanted / processed - 0.5)),
            min(wanted, math.ceil(((side.stop - 1) * STRIDE + 0.5) * wanted / processed - 0.5) + 1),
        )
        for side, wanted, processed in zip(cells, edges.size, edges.processed, strict=True)
    )
    return rows, columns


def _around(cells: Tensor) -> Tensor:
    """Means over the cells within the radius (K, h, w)."""
    return F.avg_pool2d(cells[None], 2 * _RADIUS + 1, 1, _RADIUS, count_include_pad=False)[0]
