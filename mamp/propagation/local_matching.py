"""Eq. 1 and 2: local similarity, affinity, and label propagation from the best matches. Pure tensors.

Nothing here holds all 3,125 similarities of every cell, nor unfolds a mask: the query is cut into tiles, one matrix
product compares a few tiles at a time with the part of each reference that their windows reach, and the labels of the
best matches are gathered by index. Tiles of one label take a shortcut, see ``tile_shortcut``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.tile_shortcut import (
    INVALID_LABEL,
    NEIGHBORHOOD,
    cell_labels,
    decided_by_neighbors,
    label_range,
    uniform_labels,
)
from mamp.propagation.tiling import TILE, KeyFunction, TileGrid, padded_keys, square_offsets
from mamp.propagation.window_topk import best_matches

_BLOCK = 24 << 20  # similarities held at a time: about 100 MB, few calls
_BLOCK_ON_CPU = 1 << 20  # 4 MB: blocks that stay in the cache are twice as fast
SMALL_BLOCK = 1  # one tile at a time, for a device that is short of memory
_TILE_ROWS_ON_CPU = 4  # rows of tiles for which keys are held: a fraction of the memory of all


def propagate(
    query: Tensor,
    keys: KeyFunction,
    values: Tensor,
    *,
    valid: Tensor | None = None,
    query_mask: Tensor | None = None,
    radius: int = 12,
    top_k: int | None = 36,
    block: int | None = None,
) -> Tensor:
    """Propagates the Values of the references to the query (Eq. 1 and 2).

    Every cell of the query is compared with the (2 radius + 1)^2 cells around it in every reference; the softmax runs
    over the ``top_k`` most similar of all of them together. Eq. 1 divides by c; the reference implementation, and this,
    by sqrt(c).

    Args:
        query: Features of the query (C, h, w).
        keys: Function from a slice of rows to the features of the N references there, aligned to the query: (C, rows, w)
            each, best with channels last in memory. It is called for all rows, on a CPU for a few at a time.
        values: Values of the references (N, K, h, w), usually masks with one channel per label.
        valid: Cells of the references that may be matched (N, h, w) bool; all if not given.
        query_mask: Requested cells of the query (h, w) bool; the scores of others may be wrong. All if not given.
        radius: Window radius [cells].
        top_k: Number of matches per cell; ``None`` for all.
        block: Approximate number of similarities held at a time; chosen for the device if not given.

    Returns:
        Scores (K, h, w): weighted means of the values. Zero where no cell may be matched.

    Raises:
        ValueError: Shapes do not match.
    """
    C, h, w = query.shape
    N, K = values.shape[:2]
    if values.shape[2:] != (h, w):
        raise ValueError(f"query {tuple(query.shape)} and values {tuple(values.shape)} do not fit")
    if valid is None:
        valid = torch.ones_like(values[:, 0], dtype=torch.bool)
    if query_mask is None:
        query_mask = valid.new_ones(h, w)
    on_cpu = query.device.type == "cpu"
    grid = TileGrid(h, w, radius)
    tiles = grid.split(torch.cat((query * C**-0.5, query.new_ones(1, h, w))))
    tile_mask = grid.split(query_mask[None])[:, :, 0]

    labels = grid.pad(cell_labels(values, valid), INVALID_LABEL)
    lowest, highest = label_range(labels, grid.reach)
    needs_matching = ((lowest < highest) | (highest == K)) & tile_mask.any(dim=2)
    scores = _one_hot(highest, K)[:, :, None, None].repeat(1, 1, TILE, TILE, 1)  # zeros where nothing is valid
    # If more than half of the neighborhoods had to be that similar, few tiles would pass.
    shortcut = on_cpu and top_k is not None and 2 * top_k <= N * NEIGHBORHOOD**2 and grid.side >= NEIGHBORHOOD
    if shortcut:
        uniform = torch.where(needs_matching, uniform_labels(labels, grid, K), INVALID_LABEL)

    matcher = _BlockMatcher(grid, values, C + 1, top_k, block or (_BLOCK_ON_CPU if on_cpu else _BLOCK))
    rows_at_once = min(grid.rows, _TILE_ROWS_ON_CPU) if on_cpu else grid.rows
    for top, padded in padded_keys(keys, query, valid, radius, rows_at_once):
        rows = slice(top, min(top + rows_at_once, grid.rows))
        if shortcut and top_k:
            decided = decided_by_neighbors(
                padded,
                labels[:, top * TILE :],
                uniform[rows],
                tiles[rows],
                tile_mask[rows],
                radius=radius,
                top_k=top_k,
            )
            needs_matching[rows] &= ~decided
            scores[rows][decided] = _one_hot(uniform[rows][decided], K)[:, None, None]
        needed = needs_matching[rows].nonzero()  # row, counted from top, and column (M, 2)
        for first in range(0, len(needed), matcher.tiles_per_block):
            at = needed[first : first + matcher.tiles_per_block]
            row, column = at[:, 0] + top, at[:, 1]
            scores[row, column] = matcher(padded, tiles[row, column], at, top)
    has_match = box_sum(valid.any(dim=0, keepdim=True).to(values.dtype), radius) > 0.5
    return grid.merge(scores) * has_match


class _BlockMatcher:
    """Matches blocks of tiles with the references and gathers the values of the best matches.

    Args:
        grid: Tiles of the query.
        values: Values of the references (N, K, h, w).
        channels: Channels of the padded keys.
        top_k: As for ``propagate``.
        block: Approximate number of similarities held at a time.
    """

    def __init__(self, grid: TileGrid, values: Tensor, channels: int, top_k: int | None, block: int) -> None:
        N = len(values)
        self._grid, self._top_k = grid, top_k
        padded = grid.pad(values, 0).permute(0, 2, 3, 1)
        self._values = padded.flatten(0, 2)  # one row per cell
        width, device = grid.padded_width, values.device
        starts = torch.arange(N, device=device)[:, None] * padded[0, ..., 0].numel()
        self._window_offsets = (starts + square_offsets(grid.side, width, device)).flatten()
        self._cell_offsets = square_offsets(TILE, width, device)
        similarities = N * TILE * TILE * grid.reach**2
        self.tiles_per_block = max(1, min(grid.rows * grid.columns, block // similarities))
        # Fresh memory for each block would cost as much as the product. Its rows are cells of the references: BLAS is
        # faster that way.
        self._keys = values.new_empty(self.tiles_per_block, N, grid.reach, grid.reach, channels)
        self._product = values.new_empty(self.tiles_per_block, N * grid.reach**2, TILE * TILE)

    def __call__(self, padded: Tensor, tiles: Tensor, at: Tensor, top: int) -> Tensor:
        """Scores of M tiles (M, TILE, TILE, K).

        Args:
            padded: Keys from tile row ``top`` on (N, height, width, C + 1), see ``padded_keys``.
            tiles: Features of the tiles (M, C + 1, TILE * TILE).
            at: Row, counted from ``top``, and column of each tile (M, 2).
            top: First row of tiles of the keys.
        """
        M, N, reach = len(tiles), len(padded), self._grid.reach
        windows = padded.unfold(1, reach, TILE).unfold(2, reach, TILE)
        windows = windows.permute(1, 2, 0, 4, 5, 3)  # (rows, columns, N, reach, reach, C + 1), a view
        torch.stack([windows[row, column] for row, column in at.tolist()], out=self._keys[:M])
        torch.bmm(self._keys[:M].flatten(1, 3), tiles, out=self._product[:M])
        similarity, matches = best_matches(self._product[:M], N, self._grid.side, self._top_k)
        corners = ((at[:, 0] + top) * self._grid.padded_width + at[:, 1]) * TILE
        origins = (corners[:, None] + self._cell_offsets).reshape(-1, 1)
        scores = F.embedding_bag(
            origins + self._window_offsets[matches],
            self._values,
            per_sample_weights=similarity.softmax(dim=1),
            mode="sum",
        )
        return scores.view(M, TILE, TILE, -1)


def _one_hot(labels: Tensor, num_labels: int) -> Tensor:
    """Float labels (...) as (..., K), zeros for those outside [0, K)."""
    return (labels[..., None] == torch.arange(num_labels, device=labels.device)).to(labels.dtype)


def logit_adjusted(scores: Tensor, values: Tensor, *, valid: Tensor, radius: int, strength: float) -> Tensor:
    """Removes the advantage of labels with more reference cells: logit adjustment (Menon et al., ICLR 2021).

    Among many cells of another label some resemble the query's by chance. So with top-k matching, small and thin objects
    lose to their surroundings, and again at every frame. Here a label's score is divided by the number of its cells in
    the windows to the power of ``strength``, and the sum of the scores is kept.

    Args:
        scores: Scores from ``propagate`` (K, h, w).
        values: Masks of the references (N, K, h, w): 0 or 1.
        valid: Cells of the references that may be matched (N, h, w) bool.
        radius: Window radius [cells].
        strength: Exponent [>= 0]; 0 changes nothing.

    Returns:
        Scores (K, h, w).
    """
    if not strength:
        return scores
    cells = box_sum((values * valid[:, None]).sum(dim=0), radius)  # (K, h, w)
    adjusted = scores * (cells + 1).pow(-strength)
    return adjusted * (scores.sum(dim=0) / adjusted.sum(dim=0).clamp(min=torch.finfo(adjusted.dtype).tiny))


def box_sum(numbers: Tensor, radius: int) -> Tensor:
    """Sums over the square of a radius [cells] around each cell (N, h, w); exact for counts."""
    side = 2 * radius + 1
    rows = F.pad(numbers, (radius + 1, radius, radius + 1, radius)).cumsum(dim=1)
    both = (rows[:, side:] - rows[:, :-side]).cumsum(dim=2)
    return both[:, :, side:] - both[:, :, :-side]


def reconstruct(query: Tensor, reference: Tensor, target: Tensor, *, radius: int) -> Tensor:
    """Reconstructs the query's target from the reference's (Eq. 1 and 2), dense and differentiable: for training.

    Args:
        query: Features (B, C, h, w).
        reference: Features of one reference each (B, C, h, w).
        target: Target channel of the references (B, K, h, w).
        radius: Window radius [cells].

    Returns:
        Target of the queries, as affinity-weighted means (B, K, h, w).
    """
    B, C, h, w = query.shape
    y, x = torch.arange(h, device=query.device), torch.arange(w, device=query.device)
    near_y = (y[:, None] - y).abs() <= radius
    near_x = (x[:, None] - x).abs() <= radius
    window = (near_y[:, None, :, None] & near_x[None, :, None, :]).reshape(h * w, h * w)
    outside = torch.where(window, 0.0, -torch.inf)
    scaled = query.flatten(2).transpose(1, 2) * C**-0.5
    affinity = torch.baddbmm(outside, scaled, reference.flatten(2)).softmax(dim=2)  # (B, hw, hw)
    return torch.bmm(affinity, target.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(B, -1, h, w)
