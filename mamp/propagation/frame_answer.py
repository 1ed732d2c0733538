"""All that the host needs of a frame in one tensor: its mask, the confidence in the objects, and whether one was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamp.model.encoder import STRIDE
from mamp.propagation.redetection import Change
from mamp.propagation.upsampling import ScoreUpsampler

_OBJECTS_AT_ONCE = 16  # each has scores of all pixels


@dataclass(frozen=True)
class FrameAnswer:
    """The answer for a frame, on the host.

    Attributes:
        mask: Label map (H, W) uint8.
        margins: By label, see ``label_margins``.
        change: The change since the previous frame; ``None`` if that is not in memory.
    """

    mask: NDArray[np.uint8]
    margins: dict[int, float]
    change: Change | None


def pack_answer(mask: Tensor, margins: Tensor, change: Tensor | None) -> Tensor:
    """Packs a mask (H, W) uint8, margins (K,) and ``change_numbers``, so that one download brings all (n,) uint8."""
    numbers = margins if change is None else torch.cat((margins, change))
    return torch.cat((numbers.float().view(torch.uint8), mask.flatten()))


def unpack_answer(packed: Tensor, size: tuple[int, int], labels: Sequence[int]) -> FrameAnswer:
    """The answer in a packed tensor, which waits for the device.

    Args:
        packed: From ``pack_answer``.
        size: (H, W) of the mask.
        labels: K labels.
    """
    array = packed.cpu().numpy()
    split = len(array) - size[0] * size[1]
    margins, change = np.split(array[:split].view(np.float32), [len(labels)])
    by_label = {label: float(margin) for label, margin in zip(labels, margins, strict=True) if label}
    mask = array[split:].reshape(size).copy()
    return FrameAnswer(mask, by_label, Change.of_numbers(change.tolist()) if len(change) else None)


def winning_labels(scores: Tensor, labels: Tensor, upsampler: ScoreUpsampler) -> Tensor:
    """``argmax_labels`` of whole frames: every object is upsampled everywhere, so that the host waits for nothing.

    Args:
        scores: Scores of the cells (K, h, w), background first.
        labels: K labels (K,) uint8.
        upsampler: Upsampling method.

    Returns:
        (H, W) uint8.
    """
    background, best = scores.new_ones(upsampler.size), scores.new_zeros(upsampler.size)
    answer = torch.zeros(upsampler.size, dtype=torch.uint8, device=scores.device)
    for part, names in zip(
        torch.split(scores[1:], _OBJECTS_AT_ONCE), torch.split(labels[1:], _OBJECTS_AT_ONCE), strict=True
    ):
        pixels = upsampler.evaluate(upsampler.fit(part))
        highest, winner = pixels.max(dim=0)
        answer = torch.where(highest > best, names[winner], answer)
        best = torch.maximum(highest, best)
        background = background - pixels.sum(dim=0)
    return torch.where(best > background, answer, 0)


def mean_margins(scores: Tensor) -> Tensor:
    """``label_margins`` on the device: from scores (K, h, w) the margins of all labels (K,)."""
    best, index = scores.topk(2, dim=0)
    won = index[0] == torch.arange(len(scores), device=scores.device)[:, None, None]
    return (won * (best[0] - best[1])).flatten(1).sum(dim=1) / won.flatten(1).sum(dim=1).clamp(min=1)


def cells_of_mask(mask: Tensor, processed: tuple[int, int]) -> Tensor:
    """The labels at the cells (h, w), as ``resize_mask`` and ``to_cells`` take them from a mask (H, W).

    Args:
        mask: Label map (H, W) uint8.
        processed: (H, W) of the frames that are matched [pixels].
    """
    rows, columns = _cell_pixels((mask.shape[0], mask.shape[1]), processed, mask.device)
    return mask[rows][:, columns]


@lru_cache(16)
def _cell_pixels(size: tuple[int, int], processed: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The rows and the columns of a mask from which ``resize_mask`` takes those of the cells."""
    pixels = []
    for side, target in zip(size, processed, strict=True):
        line = np.arange(side, dtype=np.float32)[None]
        resized = cv2.resize(line, (target, 1), interpolation=cv2.INTER_NEAREST_EXACT)
        pixels.append(torch.from_numpy(resized[0, ::STRIDE].astype(np.int64)).to(device))
    return pixels[0], pixels[1]
