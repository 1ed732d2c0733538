"""Local matching with a fixed amount of work, for GPUs: ``propagate`` without skipping and without the host.

All tiles of the query are compared with all that their windows reach. So shapes depend on the sizes of the frames and on
the number of references and labels alone, and the host queues the work without waiting for a result.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.local_matching import box_sum
from mamp.propagation.tiling import INVALID_SIMILARITY, TILE, TileGrid, square_offsets
from mamp.propagation.window_topk import best_matches

_BLOCK = 256 << 20  # similarities held at a time: 0.5 GB in half precision, 480p in one block
_BLOCK_ON_CPU = 1 << 20
_ALIGNMENT = 8  # channels are padded to a multiple of it, which fast matrix products require


def propagate_densely(
    query: Tensor,
    keys: Tensor,
    sources: Tensor,
    valid: Tensor,
    values: Tensor,
    labels: Tensor,
    *,
    radius: int,
    top_k: int | None,
    half: bool,
    block: int | None = None,
) -> Tensor:
    """Propagates the labels of the references to the query (Eq. 1 and 2); see ``propagate``.

    Args:
        query: Features of the query (C, h, w) float.
        keys: Features of the N references, not warped (C, N, h, w) float.
        sources: Index of the reference cell at each cell of the query (N, h, w) int64, see ``source_indices``.
        valid: Whether it lies in the frame (N, h, w) bool.
        values: Labels of the references, not warped (N, h, w) uint8.
        labels: All K labels (K,) uint8.
        radius: Window radius [cells].
        top_k: Number of matches per cell; ``None`` for all.
        half: Whether the best matches are selected in half precision. Their weights are always computed in single.
        block: Approximate number of similarities held at a time; chosen for the device if not given.

    Returns:
        Scores (K, h, w); zero where no cell may be matched.
    """
    C, N, h, w = keys.shape
    grid = TileGrid(h, w, radius)
    width = C + 1 + -(C + 1) % _ALIGNMENT
    # A row for each reference cell, and one for all invalid cells: its last channel masks them in the product.
    table = F.pad(keys.flatten(1).T, (0, width - C, 0, 1))
    table[-1, C].fill_(INVALID_SIMILARITY)
    found_labels = F.pad(values.flatten(), (0, 1))
    rows = torch.where(valid, sources + _first_rows(N, h * w, query.device), N * h * w)
    padded = grid.pad(rows, N * h * w)
    tiles = grid.split(F.pad(torch.cat((query * C**-0.5, torch.ones_like(query[:1]))), (0, 0, 0, 0, 0, width - C - 1)))
    tiles = tiles.flatten(0, 1)  # (T, width, cells)
    reach = padded.unfold(1, grid.reach, TILE).unfold(2, grid.reach, TILE).permute(1, 2, 0, 3, 4)
    reach = reach.reshape(len(tiles), -1)  # (T, N * reach * reach)
    origins, window_offsets = _offsets(grid, N, query.device)
    compared, compared_tiles = (table.half(), tiles.half()) if half else (table, tiles)

    block = block or (_BLOCK_ON_CPU if query.device.type == "cpu" else _BLOCK)
    tiles_at_once = max(1, block // (reach.shape[1] * TILE * TILE))
    scores = []
    for first in range(0, len(tiles), tiles_at_once):
        part = slice(first, first + tiles_at_once)
        windows = compared[reach[part].flatten()].view(-1, reach.shape[1], width)
        similarity, matches = best_matches(torch.bmm(windows, compared_tiles[part]), N, grid.side, top_k)
        matched = padded.flatten()[origins[part].view(-1, 1) + window_offsets[matches]]  # (cells, top_k)
        if half:
            cells = tiles[part].transpose(1, 2).reshape(-1, width, 1)
            similarity = torch.bmm(table[matched], cells)[..., 0]
        votes = (found_labels[matched][..., None] == labels).to(similarity.dtype)  # (cells, top_k, K)
        scores.append(torch.bmm(similarity.softmax(dim=1)[:, None], votes)[:, 0])
    joined = grid.merge(torch.cat(scores).view(grid.rows, grid.columns, TILE, TILE, len(labels)))
    return joined * (box_sum(valid.any(dim=0, keepdim=True).to(joined.dtype), radius) > 0.5)


@lru_cache(16)
def _first_rows(references: int, cells: int, device: torch.device) -> Tensor:
    """Row of the first cell of each reference in the table of all (N, 1, 1)."""
    return (torch.arange(references, device=device) * cells)[:, None, None]


@lru_cache(16)
def _offsets(grid: TileGrid, references: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Index of the first cell of each window (T, cells) in the padded cells of a reference, and of a match from there."""
    width = grid.padded_width
    row, column = (torch.arange(count, device=device) * TILE for count in (grid.rows, grid.columns))
    corners = (row[:, None] * width + column).flatten()
    starts = torch.arange(references, device=device) * width * (grid.rows * TILE + 2 * grid.radius)
    windows = starts[:, None] + square_offsets(grid.side, width, device)
    return corners[:, None] + square_offsets(TILE, width, device), windows.flatten()
