"""Cells of the processed frame in pixels of the clip (Sec. 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mamp.explanation.explanation import Point
from mamp.explanation.votes import Cell
from mamp.model.encoder import STRIDE


class CellGrid:
    """Converts between pixels and cells: cell (i, j) is centered on pixel (4 i, 4 j) of the processed frame.

    Args:
        size: (H, W) of the clip [pixels].
        processed: (H, W) of the processed frame [pixels].
    """

    def __init__(self, size: tuple[int, int], processed: tuple[int, int]) -> None:
        self._processed = processed
        self._scale = (size[0] / processed[0], size[1] / processed[1])

    def at(self, x: float, y: float) -> Cell:
        """The cell whose center is nearest to a pixel of the clip."""
        row, column = (
            min(max(round(((position + 0.5) / scale - 0.5) / STRIDE), 0), (side - 1) // STRIDE)
            for position, scale, side in zip((y, x), self._scale, self._processed, strict=True)
        )
        return row, column

    def center(self, cell: Cell) -> Point:
        """x and y of the center of a cell [pixels of the clip]."""
        y, x = ((STRIDE * index + 0.5) * scale - 0.5 for index, scale in zip(cell, self._scale, strict=True))
        return x, y

    def reach(self, radius: int) -> Point:
        """Half the width and height of a window of a radius [cells], in pixels of the clip."""
        y, x = (STRIDE * (radius + 0.5) * scale for scale in self._scale)
        return x, y

    def in_pixels(self, motion: Tensor) -> NDArray[np.float32]:
        """Displacements (2, h, w) [cells], x then y, in pixels of the clip."""
        per_cell = np.array([[[scale * STRIDE]] for scale in reversed(self._scale)])
        return np.asarray(motion.cpu().numpy() * per_cell, np.float32)
