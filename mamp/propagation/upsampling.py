"""Upsampling of scores from cells to pixels: bilinear, or guided by the edges of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE
from mamp.propagation.alignment import FULL_BOX, Box, extents, to_pixels
from mamp.propagation.guided_filter import GuidedFilter, scores_at

_GUIDE_RADIUS = 1  # [cells]; with 2, small objects blend into the colors around them
_REGULARIZATION = 1e-4  # squared contrast [of 0 to 1] below which color is ignored: about 2.5 gray levels of 255
_SUPPORT = 2 * _GUIDE_RADIUS + 1  # [cells]; distance to which a score has an effect after fit, mean and interpolation


class ScoreUpsampler(Protocol):
    """A model of scores between cells: its coefficients are fitted at cells, interpolated, and evaluated at pixels."""

    processed: tuple[int, int]  # (H, W) of the frame from which the cells were computed [pixels]
    size: tuple[int, int]  # output (H, W) [pixels]

    def fit(self, scores: Tensor, cell_box: Box = FULL_BOX) -> Tensor:
        """Fits coefficients to scores (K, h, w) around each cell of a box: (K, F, rows, columns).

        The fit is linear, and a score of 1 everywhere is reproduced. Scores must be 0 in and beyond those border cells
        of the box that are not at the border of the frame.
        """

    def evaluate(self, coefficients: Tensor, cell_box: Box = FULL_BOX, pixel_box: Box = FULL_BOX) -> Tensor:
        """Scores at the pixels of a box (K, rows, columns); ``cell_box`` as for ``fit``."""


class BilinearUpsampler:
    """Bilinear interpolation, as in the paper.

    Args:
        processed: (H, W) of the frame from which the cells were computed [pixels].
        size: Output (H, W) [pixels].
    """

    def __init__(self, processed: tuple[int, int], size: tuple[int, int]) -> None:
        self.processed, self.size = processed, size

    def fit(self, scores: Tensor, cell_box: Box = FULL_BOX) -> Tensor:
        """The scores themselves (K, 1, rows, columns)."""
        return scores[(slice(None), None, *cell_box)]

    def evaluate(self, coefficients: Tensor, cell_box: Box = FULL_BOX, pixel_box: Box = FULL_BOX) -> Tensor:
        """Scores at pixels, see ``ScoreUpsampler``."""
        return to_pixels(coefficients[:, 0], self.size, self.processed, pixel_box, cell_box)


class GuidedUpsampler:
    """Upsampling along the color edges of the frame: a guided filter (He et al., TPAMI 2013).

    The paper's bilinear interpolation rounds off details finer than a cell, again at each frame. Here a linear function
    of color is fitted to the scores around each cell; its coefficients are interpolated and applied to each pixel's color.

    Args:
        frame: RGB (3, H, W) float [0, 1].
        size: Output (H, W) [pixels]; the frame's if not given.
    """

    def __init__(self, frame: Tensor, size: tuple[int, int] | None = None) -> None:
        self.processed = (frame.shape[-2], frame.shape[-1])
        self.size = size or self.processed
        padded = F.pad(frame[None], (1, 1, 1, 1), mode="replicate")
        color = F.avg_pool2d(padded, 3, STRIDE)[0]  # (3, h, w)
        self._filter = GuidedFilter(color, radius=_GUIDE_RADIUS, regularization=_REGULARIZATION)
        self._frame = frame
        if self.size != self.processed:
            self._frame = F.interpolate(frame[None], self.size, mode="bilinear", align_corners=False)[0]

    def fit(self, scores: Tensor, cell_box: Box = FULL_BOX) -> Tensor:
        """Coefficients of each label: three slopes and an offset (K, 4, rows, columns)."""
        return self._filter.fit(scores, cell_box)

    def evaluate(self, coefficients: Tensor, cell_box: Box = FULL_BOX, pixel_box: Box = FULL_BOX) -> Tensor:
        """Scores at pixels, see ``ScoreUpsampler``."""
        enlarged = to_pixels(coefficients, self.size, self.processed, pixel_box, cell_box)
        return scores_at(self._frame[:, pixel_box[0], pixel_box[1]], enlarged)


def argmax_labels(scores: Tensor, labels: Sequence[int], upsampler: ScoreUpsampler) -> Tensor:
    """The label with the highest score at every pixel.

    Each object is upsampled only in the box where its scores have an effect; the background is 1 minus all objects.

    Args:
        scores: Scores of the cells (K, h, w); they sum to 1, background first.
        labels: K labels [0, 255].
        upsampler: Upsampling method.

    Returns:
        (H, W) uint8.
    """
    answer = torch.zeros(upsampler.size, dtype=torch.uint8, device=scores.device)
    if len(labels) == 1:  # restored frames may hold no object
        return answer
    background, best = scores.new_ones(upsampler.size), scores.new_zeros(upsampler.size)
    for index, cell_box in _support_boxes(scores[1:]).items():
        pixel_box = _pixel_box(cell_box, upsampler)
        score = upsampler.evaluate(upsampler.fit(scores[index + 1, None], cell_box), cell_box, pixel_box)[0]
        background[pixel_box] -= score
        answer[pixel_box] = torch.where(score > best[pixel_box], labels[index + 1], answer[pixel_box])
        best[pixel_box] = torch.maximum(score, best[pixel_box])
    return torch.where(best > background, answer, 0)


def label_margins(scores: Tensor, labels: Sequence[int]) -> dict[int, float]:
    """Mean margin between the best and the second score, over the cells that an object wins.

    Args:
        scores: Scores of the cells (K, h, w), background first.
        labels: K labels.

    Returns:
        Margin of each label but the background [0, 1]; 0 for labels that win no cell.
    """
    if len(labels) == 1:  # restored frames may hold no object
        return {}
    best, index = scores.topk(2, dim=0)
    winner, margin = index[0].flatten(), (best[0] - best[1]).flatten()
    cells = torch.bincount(winner, minlength=len(labels))
    means = torch.bincount(winner, weights=margin, minlength=len(labels)) / cells.clamp(min=1)
    return {label: mean for label, mean in zip(labels, means.tolist(), strict=True) if label}


def _support_boxes(scores: Tensor) -> dict[int, Box]:
    """Boxes of cells in which each of the scores (K, h, w) has an effect, by index; without those that are all 0."""
    boxes = {}
    for index, extent in enumerate(extents(scores != 0)):
        if extent:
            (top, bottom), (left, right) = extent
            rows = slice(max(0, top - _SUPPORT), bottom + _SUPPORT + 1)
            boxes[index] = (rows, slice(max(0, left - _SUPPORT), right + _SUPPORT + 1))
    return boxes


def _pixel_box(cell_box: Box, upsampler: ScoreUpsampler) -> Box:
    """The output pixels from the first cell of a box to its last."""
    rows, columns = (
        slice(
            max(0, math.floor((cells.start * STRIDE + 0.5) * size / processed - 0.5)),
            min(size, math.ceil(((cells.stop - 1) * STRIDE + 0.5) * size / processed - 0.5) + 1),
        )
        for cells, size, processed in zip(cell_box, upsampler.size, upsampler.processed, strict=True)
    )
    return rows, columns
