"""Eq. 1 and 2: local similarity, affinity, and the vote of the best matches. Pure tensors.

Nothing here holds all 3,125 similarities of every cell, nor unfolds a mask: the query is cut into tiles, a few tiles at a
time meet the part of each reference that their windows can reach in one matrix product, and the labels of the best
matches are fetched by index.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TILE = 8  # [cells]; a tile and its windows meet in a product of which 61 % is used at radius 12
_BLOCK = 24 << 20  # similarities held at a time: about 100 MB, few calls
_BLOCK_ON_CPU = 2 << 20  # 8 MB: blocks that stay in the cache are twice as fast
_NO_VOTE = -1e4  # similarity of what lies outside the frame


def propagate(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    inside: Tensor | None = None,
    radius: int = 12,
    top_k: int | None = 36,
) -> Tensor:
    """Carries Values of the references to the query (Eq. 1 and 2).

    Every cell of the query is compared with the (2 radius + 1)^2 cells around it in every reference; the softmax runs
    over the ``top_k`` most similar of all of them together. Eq. 1 divides by c; the authors' code, and this, by sqrt(c).

    Args:
        query: Features of the query (C, h, w).
        keys: Features of the references, laid over the query (N, C, h, w).
        values: What they carry (N, K, h, w), usually masks one channel a label.
        inside: Which cells of the references may vote (N, h, w) bool; all if not given.
        radius: Of the window [cells].
        top_k: How many matches vote; ``None`` for all.

    Returns:
        Scores (K, h, w): weighted means of the values. Zero where nothing may vote.

    Raises:
        ValueError: The sizes do not fit each other.
    """
    C, h, w = query.shape
    N, K = values.shape[:2]
    if keys.shape != (N, C, h, w) or values.shape != (N, K, h, w):
        raise ValueError(
            f"query {tuple(query.shape)}, keys {tuple(keys.shape)}, values {tuple(values.shape)} do not fit"
        )
    side, reach = 2 * radius + 1, _TILE + 2 * radius
    rows, columns = -(-h // _TILE), -(-w // _TILE)
    bottom, right = rows * _TILE - h, columns * _TILE - w

    # One more channel carries "may not vote" through the product: 1 in the query, 0 or a large negative in the key.
    muted = keys.new_zeros(N, 1, h, w) if inside is None else torch.where(inside, 0.0, _NO_VOTE)[:, None].to(keys.dtype)
    around = (radius, radius + right, radius, radius + bottom)
    keys = torch.cat((F.pad(keys, around), F.pad(muted, around, value=_NO_VOTE)), dim=1)  # (N, C+1, hp, wp)
    query = torch.cat((query * C**-0.5, torch.ones_like(query[:1])))
    query = F.pad(query, (0, right, 0, bottom)).unfold(1, _TILE, _TILE).unfold(2, _TILE, _TILE)
    query = query.permute(1, 2, 3, 4, 0).reshape(rows * columns, _TILE * _TILE, C + 1)  # (tiles, cells of a tile, C+1)

    hp, wp = keys.shape[-2:]
    table = F.pad(values, around).permute(0, 2, 3, 1).reshape(N * hp * wp, K)  # one row a cell, outside is zero
    windows = keys.unfold(2, reach, _TILE).unfold(3, reach, _TILE)
    windows = windows.permute(2, 3, 1, 0, 4, 5)  # (rows, columns, C+1, N, reach, reach), a view
    offsets = _window_offsets(side, wp, hp, N, keys.device)  # (N * side * side)
    origins = _tile_origins(rows, columns, wp, keys.device)  # (tiles, cells of a tile)

    scores = []
    held = _BLOCK_ON_CPU if keys.device.type == "cpu" else _BLOCK
    block = max(1, held // (N * _TILE * _TILE * reach * reach))
    for row in range(rows):
        for column in range(0, columns, block):
            near = windows[row, column : column + block].flatten(2)  # (T, C+1, N * reach * reach), copied here
            tiles = slice(row * columns + column, row * columns + column + len(near))
            affinity, chosen = _affinity(_local(query[tiles], near, N, side), top_k)
            rows_of_table = origins[tiles].reshape(-1, 1) + offsets[chosen]
            scores.append(F.embedding_bag(rows_of_table, table, per_sample_weights=affinity, mode="sum"))
    grid = torch.cat(scores).view(rows, columns, _TILE, _TILE, K).permute(4, 0, 2, 1, 3)
    return grid.reshape(K, rows * _TILE, columns * _TILE)[:, :h, :w]


def _local(query: Tensor, near: Tensor, N: int, side: int) -> Tensor:
    """Similarity of the cells of T tiles (T, cells, C+1) with their windows, cut from (T, C+1, N * reach * reach)."""
    T, reach = len(near), _TILE + side - 1
    product = torch.bmm(query, near).view(T, _TILE, _TILE, N, reach, reach)
    # Cell (y, x) of a tile sees the window that starts at (y, x) of what the tile reaches: a diagonal view of the product.
    t, y, x, n, dy, dx = product.stride()
    window = product.as_strided((T, _TILE, _TILE, N, side, side), (t, y + dy, x + dx, n, dy, dx))
    return window.reshape(T * _TILE * _TILE, N * side * side)


def _affinity(similarity: Tensor, top_k: int | None) -> tuple[Tensor, Tensor]:
    """Softmax over the most similar (Q, M) -> affinity (Q, top_k) and which they are (Q, top_k)."""
    if top_k is None or top_k >= similarity.shape[1]:
        chosen = torch.arange(similarity.shape[1], device=similarity.device).expand(similarity.shape)
        return similarity.softmax(dim=1), chosen
    best, chosen = similarity.topk(top_k, dim=1)
    return best.softmax(dim=1), chosen


def _window_offsets(side: int, wp: int, hp: int, N: int, device: torch.device) -> Tensor:
    """Where each cell of a window lies in the table, from the window's first cell."""
    step = torch.arange(side, device=device)
    window = (step[:, None] * wp + step).reshape(-1)
    return (torch.arange(N, device=device)[:, None] * (hp * wp) + window).reshape(-1)


def _tile_origins(rows: int, columns: int, wp: int, device: torch.device) -> Tensor:
    """The first cell of the window of every cell of every tile, in the table: (tiles, cells of a tile)."""
    step = torch.arange(_TILE, device=device)
    within = (step[:, None] * wp + step).reshape(1, -1)
    corner = torch.arange(rows, device=device)[:, None] * (_TILE * wp) + torch.arange(columns, device=device) * _TILE
    return corner.reshape(-1, 1) + within


def reconstruct(query: Tensor, reference: Tensor, target: Tensor, *, radius: int) -> Tensor:
    """Rebuilds the query's target from the reference's (Eq. 1 and 2), dense and differentiable: for training.

    Args:
        query: Features (B, C, h, w).
        reference: Features of one reference each (B, C, h, w).
        target: What the reference carries (B, K, h, w).
        radius: Of the window [cells].

    Returns:
        The query's target as the reference's cells explain it (B, K, h, w).
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
