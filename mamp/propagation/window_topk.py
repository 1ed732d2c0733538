"""The best matches of each cell, from the product of its tile with all that the tile's windows reach."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mamp.propagation.tiling import TILE, square_offsets

_SORT_CHUNK = 128  # sorting 128 numbers needs no branches: the best of 625 take less than half the time in chunks
_MAX_TORCH_TOP_K = 12  # up to this k, PyTorch's topk is faster than NumPy's sort


def best_matches(product: Tensor, references: int, side: int, top_k: int | None) -> tuple[Tensor, Tensor]:
    """The best matches of the cells of T tiles.

    Args:
        product: Products of the tiles with the cells that they reach (T, references * reach * reach, cells).
        references: Number of references N.
        side: Side of a window [cells].
        top_k: Number of matches; ``None`` for all.

    Returns:
        Similarity (Q, top_k), and the index of each match in the N windows (Q, top_k) [0, N * side * side).
    """
    N, reach = references, TILE + side - 1
    product = product.view(len(product), N, reach * reach, -1)
    if top_k is None or top_k >= side * side:
        windows = cell_windows(product, side)
        matches = topk_indices(windows, min(top_k or N * side * side, N * side * side))
        return windows.gather(1, matches), matches
    # The best k of all lie at the k places of the window where the best reference is best.
    places = topk_indices(cell_windows(product.amax(dim=1, keepdim=True), side), top_k)  # (Q, top_k)
    at = square_offsets(side, reach, product.device)[places].view(len(product), 1, -1, top_k)
    at += square_offsets(TILE, reach, product.device)[:, None]
    at = at.transpose(2, 3).expand(-1, N, -1, -1)
    candidates = product.gather(2, at).flatten(1, 2).transpose(1, 2).reshape(-1, N * top_k)
    best = topk_indices(candidates, top_k)
    return candidates.gather(1, best), best // top_k * (side * side) + places.gather(1, best % top_k)


def cell_windows(product: Tensor, side: int) -> Tensor:
    """Cuts the window of each cell (Q, N * side * side) from the products of its tile (T, N, reach * reach, cells)."""
    reach = TILE + side - 1
    tiles = product.permute(0, 3, 1, 2).contiguous().view(-1, TILE, TILE, product.shape[1], reach, reach)
    # The window of cell (y, x) of a tile starts at (y, x) of what the tile reaches: a diagonal view.
    t, y, x, n, dy, dx = tiles.stride()
    windows = tiles.as_strided((*tiles.shape[:4], side, side), (t, y + dy, x + dx, n, dy, dx))
    return windows.reshape(product.shape[0] * product.shape[3], -1)


def topk_indices(numbers: Tensor, k: int) -> Tensor:
    """Indices of the k largest of each row (Q, M) -> (Q, k), in no order."""
    if k == numbers.shape[1]:
        return torch.arange(k, device=numbers.device).expand(numbers.shape)
    if k <= _MAX_TORCH_TOP_K or numbers.device.type != "cpu" or numbers.dtype != torch.float32:
        return numbers.topk(k, dim=1, sorted=False).indices
    # NumPy sorts few numbers faster than PyTorch selects many, but without their indices. So the index goes into the
    # last bits of the number: numbers that differ by less than 2^-11 of themselves (at M = 3,125) count as equal.
    M = numbers.shape[1]
    bits = (1 << (M - 1).bit_length()) - 1
    packed = numbers.contiguous().view(torch.int32).bitwise_and(~bits).bitwise_or_(torch.arange(M, dtype=torch.int32))
    rows = packed.numpy().view(np.float32)
    if M > 2 * _SORT_CHUNK:
        chunks = [rows[:, first : first + _SORT_CHUNK] for first in range(0, M, _SORT_CHUNK)]
        for chunk in chunks:
            chunk.sort(axis=1)
        rows = np.concatenate([chunk[:, -k:] for chunk in chunks], axis=1)
    rows.sort(axis=1)
    return torch.from_numpy(rows[:, -k:].view(np.int32) & bits).long()
