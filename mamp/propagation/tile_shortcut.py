"""Tiles that need no matching in full: all cells that their windows reach, or all best matches, have one label.

Most tiles of most frames are like that. Labels here are floats, so that they can be pooled: the channel of the values,
K where a cell has several labels, and ``INVALID_LABEL`` where it must not be matched.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.tiling import TILE, TileGrid
from mamp.propagation.window_topk import cell_windows

INVALID_LABEL = -1
NEIGHBORHOOD = 3  # [cells]; side of the window around a cell that is matched first
_BLOCK = 1 << 20  # similarities held at a time


def cell_labels(values: Tensor, valid: Tensor) -> Tensor:
    """The label of each cell (N, h, w) float.

    Args:
        values: Values of the references (N, K, h, w).
        valid: Cells that may be matched (N, h, w) bool.
    """
    highest, channel = values.max(dim=1)
    has_one_label = (highest == 1) & (values.square().sum(dim=1) == 1)
    return torch.where(valid, torch.where(has_one_label, channel, values.shape[1]), INVALID_LABEL).to(values.dtype)


def label_range(labels: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The lowest and the highest label in reach of each tile (rows, columns), over valid cells of all references.

    Args:
        labels: Labels of the cells with a margin (N, height, width), see ``cell_labels``.
        reach: Side of the square that belongs to a tile [cells].
    """

    def highest(numbers: Tensor) -> Tensor:
        valid_maximum = torch.where(labels == INVALID_LABEL, -torch.inf, numbers).amax(dim=0, keepdim=True)
        columns = F.max_pool2d(valid_maximum, (reach, 1), (TILE, 1))
        return F.max_pool2d(columns, (1, reach), (1, TILE))[0]

    return -highest(-labels), highest(labels)


def uniform_labels(labels: Tensor, grid: TileGrid, num_labels: int) -> Tensor:
    """The label that all reference cells right under a tile share (rows, columns); ``INVALID_LABEL`` if they do not."""
    height, width = labels.shape[1:]
    radius = grid.radius
    lowest, highest = label_range(labels[:, radius : height - radius, radius : width - radius], TILE)
    return torch.where((lowest == highest) & (highest < num_labels), highest, INVALID_LABEL)


def decided_by_neighbors(
    padded: Tensor,
    labels: Tensor,
    uniform: Tensor,
    tiles: Tensor,
    query_mask: Tensor,
    *,
    radius: int,
    top_k: int,
) -> Tensor:
    """Tiles whose nearest reference cells already show that all best matches have the label of the tile.

    The k-th best match of a cell is at least as similar as the k-th best in its 3 x 3 neighborhoods. Where no cell of
    another label in reach of the tile is as similar as that, none is among the best k.

    Args:
        padded: Keys in reach of some rows of tiles (N, H, W, C + 1), see ``padded_keys``.
        labels: Labels of these cells (N, H or more, W), see ``cell_labels``.
        uniform: The common label of the cells under each tile (rows, columns); tiles of ``INVALID_LABEL`` are skipped.
        tiles: Features of the query (rows, columns, C + 1, TILE * TILE).
        query_mask: Requested cells of the query (rows, columns, TILE * TILE) bool.
        radius: Window radius [cells].
        top_k: Number of matches per cell.

    Returns:
        (rows, columns) bool.
    """
    N, H, W, channels = padded.shape
    candidates = (uniform != INVALID_LABEL).nonzero()
    decided = torch.zeros_like(uniform, dtype=torch.bool)
    tiles_per_block = max(1, _BLOCK // (N * (TILE + NEIGHBORHOOD - 1) ** 2 * TILE**2))
    near = slice(radius - NEIGHBORHOOD // 2, radius + TILE + NEIGHBORHOOD // 2)
    for first in range(0, len(candidates), tiles_per_block):
        block = candidates[first : first + tiles_per_block]
        at = (block[:, 0], block[:, 1])
        keys, best_others = [], []
        for (y, x), label, tile in zip((block * TILE).tolist(), uniform[at].tolist(), tiles[at], strict=True):
            keys.append(padded[:, y + near.start : y + near.stop, x + near.start : x + near.stop])
            reached = labels[:, y : y + TILE + 2 * radius, x : x + TILE + 2 * radius]
            n, dy, dx = ((reached != label) & (reached != INVALID_LABEL)).nonzero(as_tuple=True)
            others = padded.view(-1, channels).index_select(0, (n * H + dy + y) * W + dx + x)
            best_others.append((others @ tile).amax(dim=0))
        product = torch.bmm(torch.stack(keys).flatten(1, 3), tiles[at])
        nearest = cell_windows(product.view(len(block), N, -1, TILE * TILE), NEIGHBORHOOD)
        kth_best = nearest.topk(top_k, dim=1, sorted=False).values.amin(dim=1).view(len(block), -1)
        decided[at] = ((kth_best > torch.stack(best_others)) | ~query_mask[at]).all(dim=1)
    return decided
