"""Size-aware alignment (Sec. 3.3) between pixels and cells, the locations of the encoder's stride-4 feature map.

Cell ``i`` is centered on pixel ``STRIDE * i``, because the encoder's kernels, strides and paddings are all symmetric.
Downsampling and upsampling both keep to that, so masks do not drift.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE

Box = tuple[slice, slice]  # rows and columns
FULL_BOX: Box = (slice(None), slice(None))
Span = tuple[int, int]  # first and last index


def pad_to_stride(image: Tensor) -> Tensor:
    """Pads (..., H, W) at the right and bottom to a multiple of the stride, by replicating the edge.

    The paper pads with zeros, which puts false contours into the features.
    """
    height, width = image.shape[-2:]
    pad = (0, -width % STRIDE, 0, -height % STRIDE)
    if not any(pad):
        return image
    flat = image.reshape(-1, 1, height, width)
    padded = F.pad(flat, pad, mode="replicate")
    return padded.reshape(*image.shape[:-2], *padded.shape[-2:])


def to_cells(image: Tensor) -> Tensor:
    """Samples the pixel at the center of each cell: (..., H, W) -> (..., ceil(H / 4), ceil(W / 4))."""
    return image[..., ::STRIDE, ::STRIDE]


def to_pixels(
    cells: Tensor,
    size: tuple[int, int],
    processed: tuple[int, int] | None = None,
    pixel_box: Box = FULL_BOX,
    cell_box: Box = FULL_BOX,
) -> Tensor:
    """Upsamples scores bilinearly so that cell ``i`` lands on pixel ``4 i``.

    ``interpolate(mode="bilinear")`` would put it on ``4 i + 1.5``, and masks would drift by that much at each frame.

    Args:
        cells: Scores (K, h, w) float.
        size: Output (H, W) [pixels].
        processed: (H, W) of the frame from which the cells were computed [pixels]; ``size`` if not given. If the two
            differ, pixel centers are mapped as in any image resize.
        pixel_box: Rows and columns of the output to compute.
        cell_box: Rows and columns of the feature map that ``cells`` covers; pixels beyond it repeat its border.

    Returns:
        Scores (K, H, W), or those of the pixel box.
    """
    processed = processed or size
    low, high, weight = _axis(cells.shape[-1], cell_box[1], size[1], processed[1], pixel_box[1], cells.device)
    wide = torch.lerp(cells[..., low], cells[..., high], weight.to(cells.dtype))
    low, high, weight = _axis(cells.shape[-2], cell_box[0], size[0], processed[0], pixel_box[0], cells.device)
    return torch.lerp(wide[..., low, :], wide[..., high, :], weight.to(cells.dtype)[:, None])


def _axis(
    cells: int, cell_range: slice, size: int, processed: int, pixel_range: slice, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel of a range the two cells to interpolate between, and the weight of the second."""
    pixel = (torch.arange(size, device=device, dtype=torch.float32)[pixel_range] + 0.5) * (processed / size) - 0.5
    position = (pixel / STRIDE - (cell_range.start or 0)).clamp(0, cells - 1)
    low = position.long()
    return low, (low + 1).clamp(max=cells - 1), position - low


def extents(cells: Tensor) -> list[tuple[Span, Span] | None]:
    """First and last row, then column, of the true cells of each of K masks (K, h, w) bool; ``None`` for empty ones."""
    result: list[tuple[Span, Span] | None] = []
    for rows, columns in zip(cells.any(dim=2).cpu(), cells.any(dim=1).cpu(), strict=True):
        y, x = (line.nonzero()[:, 0].tolist() for line in (rows, columns))
        result.append(((y[0], y[-1]), (x[0], x[-1])) if y else None)
    return result
