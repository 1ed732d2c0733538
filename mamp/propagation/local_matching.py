"""Eq. 1 and 2: local similarity, affinity, and the vote of the best matches. Pure tensors.

Nothing here holds all 3,125 similarities of every cell, nor unfolds a mask: the query is cut into tiles, a few tiles at a
time meet the part of each reference that their windows can reach in one matrix product, and the labels of the best
matches are fetched by index. Tiles whose windows hold one label only, most of them in most frames, need no product, and
on a CPU neither do those where what lies nearest is of one label and more alike than all of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import cpu_supports

_TILE = 8  # [cells]; a tile and its windows meet in a product of which 61 % is used at radius 12
_BLOCK = 24 << 20  # similarities held at a time: about 100 MB, few calls
SMALL_BLOCK = 1  # one tile at a time: what a device that is short of memory holds
_BLOCK_ON_CPU = 1 << 20  # 4 MB: blocks that stay in the cache are twice as fast
_AT_ONCE = 128  # numbers that a network sorts: the best of 625 are found in less than half of the time of all together
_FEW = 12  # of the best, which PyTorch finds faster than NumPy sorts all
_ROWS_ON_CPU = 4  # of tiles whose keys are held: a fraction of the memory of all
_NO_VOTE = -1e4  # similarity of what lies outside the frame
_MAY_NOT = -1  # label of a cell that may not vote
_NEAREST = 3  # [cells]: side of the window of what lies nearest


def propagate(
    query: Tensor,
    keys: Callable[[slice], Iterable[Tensor]],
    values: Tensor,
    *,
    inside: Tensor | None = None,
    asked: Tensor | None = None,
    radius: int = 12,
    top_k: int | None = 36,
    block: int | None = None,
) -> Tensor:
    """Carries Values of the references to the query (Eq. 1 and 2).

    Every cell of the query is compared with the (2 radius + 1)^2 cells around it in every reference; the softmax runs
    over the ``top_k`` most similar of all of them together. Eq. 1 divides by c; the authors' code, and this, by sqrt(c).

    Args:
        query: Features of the query (C, h, w).
        keys: Gives features of the references as they lie over some rows of the query: N of (C, rows, w), best with
            channels last in memory. It is asked for all rows, some at a time on a CPU.
        values: What they carry (N, K, h, w), usually masks one channel a label.
        inside: Which cells of the references may vote (N, h, w) bool; all if not given.
        asked: Which cells of the query are asked for (h, w) bool, others may come out wrong; all if not given.
        radius: Of the window [cells].
        top_k: How many matches vote; ``None`` for all.
        block: Similarities held at a time, about; what suits the device, if not given.

    Returns:
        Scores (K, h, w): weighted means of the values. Zero where nothing may vote.

    Raises:
        ValueError: The sizes do not fit each other.
    """
    C, h, w = query.shape
    N, K = values.shape[:2]
    if values.shape[2:] != (h, w):
        raise ValueError(f"query {tuple(query.shape)} and values {tuple(values.shape)} do not fit")
    side, reach = 2 * radius + 1, _TILE + 2 * radius
    rows, columns = -(-h // _TILE), -(-w // _TILE)
    hp, wp = rows * _TILE + 2 * radius, columns * _TILE + 2 * radius
    ys, xs = slice(radius, radius + h), slice(radius, radius + w)

    if inside is None:
        inside = torch.ones_like(values[:, 0], dtype=torch.bool)
    tiles = query.new_zeros(C + 1, rows * _TILE, columns * _TILE)
    tiles[:C, :h, :w] = query * C**-0.5
    tiles[C] = 1.0
    tiles = tiles.unfold(1, _TILE, _TILE).unfold(2, _TILE, _TILE)
    tiles = tiles.permute(1, 2, 0, 3, 4).reshape(rows, columns, C + 1, _TILE * _TILE)
    table = values.new_zeros(N, hp, wp, K)  # one row a cell, outside is zero
    table[:, ys, xs] = values.permute(0, 2, 3, 1)
    in_window = (torch.arange(N, device=query.device)[:, None] * (hp * wp) + _places(side, wp, query.device)).flatten()
    in_tile = _places(_TILE, wp, query.device)

    of_cells = values.new_full((N, hp, wp), _MAY_NOT)
    of_cells[:, ys, xs] = _labels(values, inside)
    lowest, highest = _range_within(of_cells, reach)
    wanted = inside.new_zeros(rows * _TILE, columns * _TILE)
    wanted[:h, :w] = True if asked is None else asked
    wanted = wanted.unfold(0, _TILE, _TILE).unfold(1, _TILE, _TILE).flatten(2)  # (rows, columns, _TILE * _TILE)
    needs_vote = ((lowest < highest) | (highest == K)) & wanted.any(dim=2)
    numbers = torch.arange(K, device=query.device)
    said = (highest[..., None] == numbers).to(values.dtype)  # where nothing may vote, nothing
    answers = said[:, :, None, None].repeat(1, 1, _TILE, _TILE, 1)  # (rows, columns, _TILE, _TILE, K)
    on_cpu = query.device.type == "cpu"
    held = block or (_BLOCK_ON_CPU if on_cpu else _BLOCK)
    at_once = max(1, min(rows * columns, held // (N * _TILE * _TILE * reach * reach)))
    own = None
    # Where more than half of what lies nearest had to be as good as that, few tiles would pass.
    if on_cpu and top_k is not None and 2 * top_k <= N * _NEAREST**2 and side >= _NEAREST:
        lowest, own = _range_within(of_cells[:, radius : hp - radius, radius : wp - radius], _TILE)
        own = torch.where(needs_vote & (lowest == own) & (own < K), own, _MAY_NOT)
    # Fresh memory for each would cost as much as the product; whose rows are cells of the references, as BLAS likes it.
    near = query.new_empty(at_once, N, reach, reach, C + 1)
    product = query.new_empty(at_once, N * reach * reach, _TILE * _TILE)
    for top, padded in _padded(keys, query, inside, radius, min(rows, _ROWS_ON_CPU) if on_cpu else rows):
        windows = padded.unfold(1, reach, _TILE).unfold(2, reach, _TILE)[:, : rows - top]
        windows = windows.permute(1, 2, 0, 4, 5, 3)  # (rows, columns, N, reach, reach, C + 1), a view
        if top_k and own is not None:
            here = slice(top, top + len(windows))
            over = of_cells[:, top * _TILE :]
            with _onednn_asked(query.device):
                told = _told_by_nearest(padded, over, own[here], tiles[here], wanted[here], radius=radius, top_k=top_k)
            needs_vote[here] &= ~told
            answers[here][told] = (own[here][told, None] == numbers).to(values.dtype)[:, None, None]
        needed = needs_vote[top : top + len(windows)].nonzero()  # rows and columns (M, 2)
        for first in range(0, len(needed), at_once):
            some = needed[first : first + at_once]
            at = (some[:, 0] + top, some[:, 1])
            count = len(some)
            torch.stack([windows[row, column] for row, column in some.tolist()], out=near[:count])
            with _onednn_asked(query.device):
                torch.bmm(near[:count].flatten(1, 3), tiles[at], out=product[:count])
            similarity, chosen = _matches(product[:count], N, side, top_k)
            corners = (at[0] * wp + at[1]) * _TILE
            origins = (corners[:, None] + in_tile).reshape(-1, 1)
            affinity = similarity.softmax(dim=1)
            scores = F.embedding_bag(
                origins + in_window[chosen], table.view(-1, K), per_sample_weights=affinity, mode="sum"
            )
            answers[at] = scores.view(-1, _TILE, _TILE, K)
    answers = answers.permute(4, 0, 2, 1, 3).reshape(K, rows * _TILE, columns * _TILE)[:, :h, :w]
    heard = box_sum(inside.any(dim=0, keepdim=True).to(values.dtype), radius) > 0.5
    return answers * heard


def _padded(
    keys: Callable[[slice], Iterable[Tensor]], query: Tensor, inside: Tensor, radius: int, at_once: int
) -> Iterator[tuple[int, Tensor]]:
    """Keys with a margin, for some rows of tiles at a time: of all of them the memory would be several times as large.

    Args:
        keys: As for ``propagate``.
        query: Features (C, h, w).
        inside: Which cells may vote (N, h, w) bool.
        radius: Of the window [cells]; the margin.
        at_once: Rows of tiles.

    Yields:
        The first row of tiles, and what ``at_once`` of them reach, as far as there are so many (N, rows, columns, C + 1),
        in the same memory each time. One more channel carries "may not vote" through the product: 1 in the query, 0 or a
        large negative in the key.
    """
    (C, h, w), margin = query.shape, 2 * radius
    down, across = -(-h // _TILE), -(-w // _TILE)
    columns = slice(radius, radius + w)
    padded = query.new_zeros(len(inside), at_once * _TILE + margin, across * _TILE + margin, C + 1)
    laid = 0  # of its rows
    for top in range(0, down, at_once):
        if top and margin:
            padded[:, :margin] = padded[:, -margin:].clone()
            laid = margin
        count = min(at_once, down - top) * _TILE + margin
        above = top * _TILE - radius  # the row of the query that the first of these lies over
        rows = slice(min(max(laid + above, 0), h), min(count + above, h))
        into = slice(rows.start - above, rows.stop - above)
        padded[:, laid:, :, C] = _NO_VOTE
        if rows.start < rows.stop:
            padded[:, into, columns, C] = torch.where(inside[:, rows], 0.0, _NO_VOTE)
            for place, key in zip(padded, keys(rows), strict=True):
                if key.shape != (C, rows.stop - rows.start, w):
                    raise ValueError(f"query {(C, h, w)} and key {tuple(key.shape)} for rows {rows} do not fit")
                place[into, columns, :C] = key.permute(1, 2, 0)
        yield top, padded


def logit_adjusted(scores: Tensor, values: Tensor, *, inside: Tensor, radius: int, strength: float) -> Tensor:
    """Takes away the head start of labels of which more cells could vote: logit adjustment (Menon et al., ICLR 2021).

    Of many cells that are none of the query's some resemble it by chance. So in the vote of the best, what is small or thin
    loses to what surrounds it, and again at every frame. Here a label's score is divided by the number of its cells in
    the windows to the power of ``strength``, and the sum of the scores kept.

    Args:
        scores: As ``propagate`` gives them (K, h, w).
        values: Which cells of the references are whose (N, K, h, w): 0 or 1.
        inside: Which of them could vote (N, h, w) bool.
        radius: Of the window [cells].
        strength: The exponent [>= 0]; 0 changes nothing.

    Returns:
        Scores (K, h, w).
    """
    if not strength:
        return scores
    cells = box_sum((values * inside[:, None]).sum(dim=0), radius)  # (K, h, w)
    fair = scores * (cells + 1).pow(-strength)
    return fair * (scores.sum(dim=0) / fair.sum(dim=0).clamp(min=torch.finfo(fair.dtype).tiny))


def box_sum(numbers: Tensor, radius: int) -> Tensor:
    """Of each cell's number and those within the radius [cells] around it (N, h, w); exact for counts."""
    side = 2 * radius + 1
    down = F.pad(numbers, (radius + 1, radius, radius + 1, radius)).cumsum(dim=1)
    both = (down[:, side:] - down[:, :-side]).cumsum(dim=2)
    return both[:, :, side:] - both[:, :, :-side]


def _labels(values: Tensor, inside: Tensor) -> Tensor:
    """Of which label each cell is (N, h, w): its number, K where it is of several, ``_MAY_NOT`` where it may not vote.

    Args:
        values: What the references carry (N, K, h, w).
        inside: Which cells may vote (N, h, w) bool.
    """
    most, number = values.max(dim=1)
    whole = (most == 1) & (values.square().sum(dim=1) == 1)
    return torch.where(inside, torch.where(whole, number, values.shape[1]), _MAY_NOT).to(values.dtype)


def _range_within(labels: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The lowest and the highest label of those that each tile reaches (rows, columns), of cells that may vote.

    Args:
        labels: Those of cells, as ``_labels`` gives them, with a margin (N, height, width).
        reach: Of a tile [cells].
    """

    def highest(numbers: Tensor) -> Tensor:
        most = torch.where(labels == _MAY_NOT, -torch.inf, numbers).amax(dim=0, keepdim=True)
        return F.max_pool2d(F.max_pool2d(most, (reach, 1), (_TILE, 1)), (1, reach), (1, _TILE))[0]

    return -highest(-labels), highest(labels)


def _told_by_nearest(
    padded: Tensor,
    labels: Tensor,
    own: Tensor,
    tiles: Tensor,
    wanted: Tensor,
    *,
    radius: int,
    top_k: int,
) -> Tensor:
    """Which tiles need no product, for what lies nearest tells that the best matches of their cells are of one label.

    The k-th best match is at least as good as the k-th best of those that lie nearest. Where no cell of another label is
    as good, as far as the tile reaches, none is among the best.

    Args:
        padded: Keys that some rows of tiles reach, as ``_padded`` gives them (N, H, W, C + 1).
        labels: Those of these cells, as ``_labels`` gives them (N, H or more, W).
        own: The label of all that lies over a tile; ``_MAY_NOT`` for tiles that are not looked at (rows, columns).
        tiles: Features (rows, columns, C + 1, _TILE * _TILE).
        wanted: Which of their cells are asked for (rows, columns, _TILE * _TILE) bool.
        radius: Of the window [cells].
        top_k: How many matches vote.

    Returns:
        (rows, columns) bool.
    """
    N, H, W, channels = padded.shape
    asked = (own != _MAY_NOT).nonzero()
    told = torch.zeros_like(own, dtype=torch.bool)
    at_once = max(1, _BLOCK_ON_CPU // (N * (_TILE + _NEAREST - 1) ** 2 * _TILE**2))
    beside = (radius - _NEAREST // 2, radius + _TILE + _NEAREST // 2)
    for first in range(0, len(asked), at_once):
        some = asked[first : first + at_once]
        at = (some[:, 0], some[:, 1])
        keys, best = [], []
        for (y, x), label, tile in zip((some * _TILE).tolist(), own[at].tolist(), tiles[at], strict=True):
            keys.append(padded[:, y + beside[0] : y + beside[1], x + beside[0] : x + beside[1]])
            reached = labels[:, y : y + _TILE + 2 * radius, x : x + _TILE + 2 * radius]
            n, down, across = ((reached != label) & (reached != _MAY_NOT)).nonzero(as_tuple=True)
            others = padded.view(-1, channels)[(n * H + down + y) * W + across + x]
            best.append((others @ tile).amax(dim=0))
        likeness = torch.bmm(torch.stack(keys).flatten(1, 3), tiles[at])
        nearest = _windows(likeness.view(len(some), N, -1, _TILE * _TILE), _NEAREST)
        least = nearest.topk(top_k, dim=1, sorted=False).values.amin(dim=1).view(len(some), -1)
        told[at] = ((least > torch.stack(best)) | ~wanted[at]).all(dim=1)
    return told


@contextmanager
def _onednn_asked(device: torch.device) -> Iterator[None]:
    """Lets oneDNN do a CPU's product, where it takes half the time of PyTorch's own and stays in single precision.

    PyTorch asks it only where bfloat16 would be allowed. With AMX oneDNN takes that permission, and is no quicker.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cpu" and cpu_supports("avx512_bf16") and not cpu_supports("amx_bf16"):
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _matches(product: Tensor, N: int, side: int, top_k: int | None) -> tuple[Tensor, Tensor]:
    """The best matches of the cells of T tiles, from their products (T, N * reach * reach, cells).

    Returns:
        Similarity (Q, top_k), and which cell of the N windows each match is (Q, top_k) [0, N * side * side).
    """
    reach = _TILE + side - 1
    product = product.view(len(product), N, reach * reach, -1)
    if top_k is None or top_k >= side * side:
        everywhere = _windows(product, side)
        chosen = _largest(everywhere, min(top_k or N * side * side, N * side * side))
        return everywhere.gather(1, chosen), chosen
    # The best k of all lie at the k places of the window whose best reference is best.
    places = _largest(_windows(product.amax(dim=1, keepdim=True), side), top_k)  # (Q, top_k)
    at = _places(side, reach, product.device)[places].view(len(product), 1, -1, top_k)
    at += _places(_TILE, reach, product.device)[:, None]
    at = at.transpose(2, 3).expand(-1, N, -1, -1)
    candidates = product.gather(2, at).flatten(1, 2).transpose(1, 2).reshape(-1, N * top_k)
    best = _largest(candidates, top_k)
    return candidates.gather(1, best), best // top_k * (side * side) + places.gather(1, best % top_k)


def _windows(product: Tensor, side: int) -> Tensor:
    """The windows of the cells of tiles (Q, N * side * side), cut from what these reach (T, N, reach * reach, cells)."""
    reach = _TILE + side - 1
    tiles = product.permute(0, 3, 1, 2).contiguous().view(-1, _TILE, _TILE, product.shape[1], reach, reach)
    # Cell (y, x) of a tile sees the window that starts at (y, x) of what the tile reaches: a diagonal view.
    t, y, x, n, dy, dx = tiles.stride()
    window = tiles.as_strided((*tiles.shape[:4], side, side), (t, y + dy, x + dx, n, dy, dx))
    return window.reshape(product.shape[0] * product.shape[3], -1)


@cache
def _places(side: int, width: int, device: torch.device) -> Tensor:
    """Where the cells of a square lie in rows of ``width`` cells, from its first cell (side * side)."""
    step = torch.arange(side, device=device)
    return (step[:, None] * width + step).flatten()


def _largest(numbers: Tensor, k: int) -> Tensor:
    """Which the k largest of each row (Q, M) are (Q, k), in no order."""
    if k == numbers.shape[1]:
        return torch.arange(k, device=numbers.device).expand(numbers.shape)
    if k <= _FEW or numbers.device.type != "cpu" or numbers.dtype != torch.float32:
        return numbers.topk(k, dim=1, sorted=False).indices
    # NumPy sorts few numbers faster than PyTorch finds many of them, but not with their indices. So the index goes into
    # the last bits of the number: those that differ by less than 2^-11 of themselves (at M = 3,125) count as equal.
    M = numbers.shape[1]
    bits = (1 << (M - 1).bit_length()) - 1
    packed = numbers.contiguous().view(torch.int32).bitwise_and(~bits).bitwise_or_(torch.arange(M, dtype=torch.int32))
    rows = packed.numpy().view(np.float32)
    if M > 2 * _AT_ONCE:
        parts = [rows[:, first : first + _AT_ONCE] for first in range(0, M, _AT_ONCE)]
        for part in parts:
            part.sort(axis=1)
        rows = np.concatenate([part[:, -k:] for part in parts], axis=1)
    rows.sort(axis=1)
    return torch.from_numpy(rows[:, -k:].view(np.int32) & bits).long()


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
