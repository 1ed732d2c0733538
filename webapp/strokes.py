"""Strokes and boxes of the editor that wait for the mask that they mean, kept as files of the project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp import MaskError, read_mask, write_mask
from webapp.label_runs import runs_to_mask

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right and bottom, the last two excluded [pixels]


@dataclass(frozen=True)
class OpenStrokes:
    """What is needed to find the mask that strokes mean.

    Attributes:
        strokes: All strokes of the frame (H, W) uint8, see ``mamp.interactive.strokes``.
        base: Mask (H, W) uint8 before the strokes that wait.
        boxes: Boxes around objects, by label.
    """

    strokes: Image
    base: Image
    boxes: dict[int, Box]

    def write(self, folder: Path, index: int) -> None:
        """Writes the strokes and the mask of a frame; the boxes are numbers, which a session may hold."""
        folder.mkdir(exist_ok=True)
        write_mask(folder / f"{index:06d}-strokes.png", self.strokes)
        write_mask(folder / f"{index:06d}-base.png", self.base)

    @classmethod
    def read(cls, folder: Path, index: int, boxes: dict[int, Box]) -> OpenStrokes:
        """Reads what ``write`` wrote."""
        return cls(read_mask(folder / f"{index:06d}-strokes.png"), read_mask(folder / f"{index:06d}-base.png"), boxes)

    @classmethod
    def from_editor(cls, completion: Any, size: tuple[int, int]) -> OpenStrokes | None:
        """Reads the editor's ``Completion`` (``static/label_map.js``), which may come from anyone; ``None`` of nothing.

        Raises:
            MaskError: It cannot be read, or does not fit the size (H, W).
        """
        match completion:
            case None:
                return None
            case {"strokes": strokes, "base": base, "boxes": list(boxes)}:
                found = dict(_box(box, size) for box in boxes[:255])
                return cls(runs_to_mask(strokes, size), runs_to_mask(base, size), found)
        raise MaskError("These strokes cannot be read.")


def _box(box: Any, size: tuple[int, int]) -> tuple[int, Box]:
    match box:
        case {"label": int(label), "left": int(left), "top": int(top), "right": int(right), "bottom": int(bottom)}:
            if 0 < label < 255 and 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]:
                return label, (left, top, right, bottom)
    raise MaskError("This box cannot be read.")
