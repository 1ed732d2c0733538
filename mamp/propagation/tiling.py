"""Tiles of cells: the query cut into squares, and the part of each reference that the windows of a square reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8  # [cells]; 61 % of the product of a tile with its windows is used at radius 12
INVALID_SIMILARITY = -1e4  # similarity of cells outside the frame

KeyFunction = Callable[[slice], Iterable[Tensor]]


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a query of (h, w) cells, and the margin of ``radius`` cells that their windows reach beyond it."""

    h: int
    w: int
    radius: int

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.h // TILE)

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.w // TILE)

    @property
    def side(self) -> int:
        """Side of a window [cells]."""
        return 2 * self.radius + 1

    @property
    def reach(self) -> int:
        """Side of the square that the windows of a tile cover [cells]."""
        return TILE + 2 * self.radius

    @property
    def padded_width(self) -> int:
        """Width of all tiles and both margins [cells]."""
        return self.columns * TILE + 2 * self.radius

    def pad(self, cells: Tensor, value: float) -> Tensor:
        """Extends (..., h, w) to all tiles and their margins (..., padded height, padded width)."""
        bottom, right = self.rows * TILE - self.h, self.columns * TILE - self.w
        radius = self.radius
        return F.pad(cells, (radius, radius + right, radius, radius + bottom), value=value)

    def split(self, cells: Tensor) -> Tensor:
        """Cuts (D, h, w) into tiles, zeros beyond the frame: (rows, columns, D, TILE * TILE)."""
        padded = F.pad(cells, (0, self.columns * TILE - self.w, 0, self.rows * TILE - self.h))
        return padded.unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(1, 2, 0, 3, 4).flatten(3)

    def merge(self, tiles: Tensor) -> Tensor:
        """Joins tiles (rows, columns, TILE, TILE, K) into (K, h, w)."""
        joined = tiles.permute(4, 0, 2, 1, 3).reshape(-1, self.rows * TILE, self.columns * TILE)
        return joined[:, : self.h, : self.w]


@cache
def square_offsets(side: int, width: int, device: torch.device) -> Tensor:
    """Indices of the cells of a square, relative to its first cell, in rows of ``width`` cells (side * side)."""
    step = torch.arange(side, device=device)
    return (step[:, None] * width + step).flatten()


def padded_keys(
    keys: KeyFunction, query: Tensor, valid: Tensor, radius: int, rows_at_once: int
) -> Iterator[tuple[int, Tensor]]:
    """Keys with a margin, for a few rows of tiles at a time: all at once would take several times the memory.

    Args:
        keys: As for ``propagate``.
        query: Features (C, h, w).
        valid: Cells of the references that may be matched (N, h, w) bool.
        radius: Window radius [cells]; the margin.
        rows_at_once: Rows of tiles.

    Yields:
        The first row of tiles, and the cells that it and the ``rows_at_once`` - 1 rows below it reach (N, height, width,
        C + 1), in the same buffer each time. The last channel masks invalid cells in the product: it is 1 in the
        query, 0 or a large negative number in the key.
    """
    C, h, w = query.shape
    grid = TileGrid(h, w, radius)
    margin = 2 * radius
    columns = slice(radius, radius + w)
    buffer = query.new_zeros(len(valid), rows_at_once * TILE + margin, grid.padded_width, C + 1)
    filled = 0  # rows of the buffer
    for top in range(0, grid.rows, rows_at_once):
        if top and margin:
            buffer[:, :margin] = buffer[:, -margin:].clone()
            filled = margin
        height = min(rows_at_once, grid.rows - top) * TILE + margin
        offset = top * TILE - radius  # row of the query at the first row of the buffer
        rows = slice(min(max(filled + offset, 0), h), min(height + offset, h))
        target = slice(rows.start - offset, rows.stop - offset)
        buffer[:, filled:, :, C] = INVALID_SIMILARITY
        if rows.start < rows.stop:
            buffer[:, target, columns, C] = torch.where(valid[:, rows], 0.0, INVALID_SIMILARITY)
            for reference, key in zip(buffer, keys(rows), strict=True):
                if key.shape != (C, rows.stop - rows.start, w):
                    raise ValueError(f"query {(C, h, w)} and key {tuple(key.shape)} for rows {rows} do not fit")
                reference[target, columns, :C] = key.permute(1, 2, 0)
        yield top, buffer
