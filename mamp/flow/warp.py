"""Motion-aware alignment (Sec. 3.2): warping references to the query by optical flow.

Flow here is in cells: the displacement of every cell of the query to the reference, (2, h, w), x then y.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE


def to_cell_units(flow: Tensor) -> Tensor:
    """Takes flow (..., 2, H, W) [pixels] at the pixel of each cell: (..., 2, h, w) [cells]."""
    return flow[..., ::STRIDE, ::STRIDE] / STRIDE


def warp(reference: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Lays references over the query: each cell fetches what its flow points at, linearly interpolated (Sec. 3.2).

    Args:
        reference: Keys or Values (N, C, h, w) float.
        flow: Displacement from the query to each reference (N, 2, h, w) [cells], x then y.

    Returns:
        The warped references (N, C, h, w), and where they came from inside the frame (N, h, w) bool; only there they
        mean anything.
    """
    x, y = _ends(flow)
    inside = _is_inside(x, y, reference.shape[-2:])
    return _sampled(reference, x, y, "zeros"), inside


def gather_by_flow(flow: Tensor, *references: Tensor) -> tuple[list[Tensor], Tensor]:
    """As ``warp`` for flow in whole cells: cells are taken as they are, in a quarter of the time.

    Args:
        flow: Displacement from the query (2, h, w) [cells], x then y, whole numbers.
        references: Keys or Values (C, h, w) of one frame.

    Returns:
        The cells fetched (C, h, w), and which of them came from inside the frame (h, w) bool.
    """
    place, inside = source_indices(flow)
    return [gather_cells(reference, place) for reference in references], inside


def source_indices(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Which cell flow in whole cells (2, h, w) fetches for each of the query, and which lie inside the frame: (h, w), both.

    Cells are counted row by row; where flow leads out of the frame, it is the nearest one inside.
    """
    h, w = flow.shape[-2:]
    x, y = (end[0] for end in _ends(flow[None]))
    return (y.clamp(0, h - 1) * w + x.clamp(0, w - 1)).long(), _is_inside(x, y, (h, w))


def gather_cells(cells: Tensor, place: Tensor) -> Tensor:
    """Those of (C, h, w) at some places, counted row by row, of any shape (...): (C, ...)."""
    flat = place.flatten()
    if cells.stride(0) == 1:  # as the encoder lays them: a cell in one piece
        found = cells.permute(1, 2, 0).flatten(0, 1).index_select(0, flat).T
    else:
        found = cells.flatten(1).index_select(1, flat)
    return found.view(len(cells), *place.shape)


def compose_flow(first: Tensor, then: Tensor) -> Tensor:
    """Follows motion on: the displacement (2, h, w) [cells] of frame a to c, from that of a to b and that of b to c.

    Where the motion leaves b, that of b's edge goes on.
    """
    x, y = _ends(first[None])
    return first + _sampled(then[None], x, y, "border")[0]


def select_motion(query: Tensor, key: Tensor, *motions: Tensor) -> Tensor:
    """Of motions (2, h, w) [cells] to a reference, the one that leads to what looks alike, cell by cell.

    Motion that was followed over many frames and motion that was looked for at once fail in different places.

    Args:
        query: Features (C, h, w).
        key: Features of the reference (C, h, w).
        motions: At least one; the first is taken where others are only as good.
    """
    every = torch.stack(motions)
    x, y = (end[:, ::_COARSE, ::_COARSE] for end in _ends(every))
    h, w = key.shape[-2:]
    found = _sampled(key[None].expand(len(every), *key.shape), x, y, "zeros")
    alike = (query[:, ::_COARSE, ::_COARSE] * found).sum(dim=1).masked_fill(~_is_inside(x, y, (h, w)), _FAR_OUT)
    around = F.avg_pool2d(alike[:, None], _AROUND, 1, _AROUND // 2, count_include_pad=False)[:, 0]
    best = around.argmax(dim=0).repeat_interleave(_COARSE, 0).repeat_interleave(_COARSE, 1)[:h, :w]
    return every.gather(0, best.expand(1, 2, h, w))[0]


_COARSE = 2  # [cells]: every second cell and row is asked, at a quarter of the cost
_AROUND = 3  # of those cells over which likeness is averaged: motion is smooth, features are not
_FAR_OUT = -1e3  # likeness of what lies outside the frame


def _ends(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where flow (N, 2, h, w) [cells] leads: x and y (N, h, w) [cells]."""
    h, w = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    return x + flow[:, 0], y + flow[:, 1]


def _is_inside(x: Tensor, y: Tensor, size: Sequence[int]) -> Tensor:
    return (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)


def _sampled(source: Tensor, x: Tensor, y: Tensor, outside: str) -> Tensor:
    """Values of (N, C, h, w) at x and y (N, h, w) [cells], linearly interpolated."""
    h, w = source.shape[-2:]
    grid = torch.stack((2 * x / max(w - 1, 1) - 1, 2 * y / max(h - 1, 1) - 1), dim=-1)
    return F.grid_sample(source, grid.to(source.dtype), padding_mode=outside, align_corners=True)
