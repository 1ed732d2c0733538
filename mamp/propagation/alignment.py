"""Size-aware alignment (Sec. 3.3): how pixels and the cells of the encoder lie over each other.

Cell ``i`` of the encoder is centred on pixel ``STRIDE * i``: its kernels, strides and paddings are all symmetric. Both
directions hold to that, so a mask that goes down and up again stays where it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE

Box = tuple[slice, slice]  # rows and columns
EVERYWHERE: Box = (slice(None), slice(None))


def pad_to_stride(image: Tensor) -> Tensor:
    """Pads (..., H, W) at the right and bottom, by its edge, to a multiple of the stride.

    The paper pads with zeros; repeating the edge keeps false contours out of the features.
    """
    height, width = image.shape[-2:]
    pad = (0, -width % STRIDE, 0, -height % STRIDE)
    if not any(pad):
        return image
    flat = image.reshape(-1, 1, height, width)
    padded = F.pad(flat, pad, mode="replicate")
    return padded.reshape(*image.shape[:-2], *padded.shape[-2:])


def to_cells(image: Tensor) -> Tensor:
    """Takes the pixel on which each cell is centred: (..., H, W) -> (..., ceil(H / 4), ceil(W / 4))."""
    return image[..., ::STRIDE, ::STRIDE]


def to_pixels(
    cells: Tensor,
    size: tuple[int, int],
    processed: tuple[int, int] | None = None,
    box: Box = EVERYWHERE,
    given: Box = EVERYWHERE,
) -> Tensor:
    """Interpolates scores linearly so that cell ``i`` lands on pixel ``4 i`` again.

    ``interpolate(mode="bilinear")`` would put it on ``4 i + 1.5``, and masks would drift by that much at each frame.

    Args:
        cells: Scores (K, h, w) float.
        size: The (H, W) wanted [pixels].
        processed: The (H, W) of the frame that the cells were computed from [pixels]; ``size`` if not given. Where the
            two differ, pixel centres are mapped as every image resize maps them.
        box: Which rows and columns of the wanted pixels are asked for.
        given: Which rows and columns of all cells these are; pixels beyond them are as the nearest one.

    Returns:
        Scores (K, H, W), or of the box.
    """
    processed = processed or size
    low, high, weight = _axis(cells.shape[-1], given[1], size[1], processed[1], box[1], cells.device)
    wide = torch.lerp(cells[..., low], cells[..., high], weight.to(cells.dtype))
    low, high, weight = _axis(cells.shape[-2], given[0], size[0], processed[0], box[0], cells.device)
    return torch.lerp(wide[..., low, :], wide[..., high, :], weight.to(cells.dtype)[:, None])


def _axis(
    cells: int, given: slice, wanted: int, processed: int, within: slice, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells that each of the wanted pixels within a range lies between, and the weight of the second."""
    pixel = (torch.arange(wanted, device=device, dtype=torch.float32)[within] + 0.5) * (processed / wanted) - 0.5
    position = (pixel / STRIDE - (given.start or 0)).clamp(0, cells - 1)
    low = position.long()
    return low, (low + 1).clamp(max=cells - 1), position - low


def extents(cells: Tensor) -> list[tuple[tuple[int, int], tuple[int, int]] | None]:
    """First and last row, then column, of those cells (K, h, w) bool that are true, by K; ``None`` where none is."""
    found: list[tuple[tuple[int, int], tuple[int, int]] | None] = []
    for rows, columns in zip(cells.any(dim=2).cpu(), cells.any(dim=1).cpu(), strict=True):
        spans = [seen.nonzero()[:, 0].tolist() for seen in (rows, columns)]
        found.append(((spans[0][0], spans[0][-1]), (spans[1][0], spans[1][-1])) if spans[0] else None)
    return found
