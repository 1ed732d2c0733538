"""What is around marks on a frame, at a size that fits them: colors, motion, and the distance to the marks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Scores = NDArray[np.float32]
Part = tuple[slice, slice]  # rows and columns

_COVERED = 0.3  # share of a small pixel that a stroke has to cover


@dataclass(frozen=True)
class Surroundings:
    """What is known of the pixels (h, w) around an object.

    Attributes:
        colors: (h, w, 3), in units of their usual deviation.
        motion: Relative to the camera's (h, w, 2), of the order of 1; none for a picture.
        inside: Pixels of the object.
        outside: Other pixels, of the background.
        distance: To where the object is likely, in units of the extent of that.
        distance_outside: To marks of the background, in the same units.
    """

    colors: Scores
    motion: Scores | None
    inside: Bool
    outside: Bool
    distance: Scores
    distance_outside: Scores


@dataclass(frozen=True)
class FrameValues:
    """The values of a frame's pixels that tell objects from background.

    Attributes:
        colors: (H, W, 3), in units of their usual deviation.
        motion: Relative to the camera's (H, W, 2), of the order of 1; none for a picture.
    """

    colors: Scores
    motion: Scores | None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) [pixels]."""
        return self.colors.shape[0], self.colors.shape[1]

    def around(
        self,
        part: Part,
        extent: int,
        area: int,
        *,
        inside: Bool,
        outside: Bool,
        likely: Bool,
        known: Bool | None = None,
    ) -> Surroundings:
        """A part of the frame, at a size of at most so many pixels.

        Args:
            part: Rows and columns.
            extent: The longer side of the marks [pixels].
            area: [pixels].
            inside: Marks inside the object (H, W).
            outside: Marks outside of it.
            likely: Where the object is likely.
            known: Pixels of the object that no mark has to show.
        """
        height, width = inside[part].shape
        scale = min(1.0, math.sqrt(area / (height * width)))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        inside, outside, likely = (_covered(marks[part], size) for marks in (inside, outside, likely))
        distances = [_distance(marks) / (scale * extent) for marks in (likely | inside, outside)]
        if known is not None:
            inside |= (resized(known[part], size) > 0.5) & ~outside
        return Surroundings(
            resized(self.colors[part], size),
            None if self.motion is None else resized(self.motion[part], size),
            inside,
            (outside | _rim(part, self.size, size)) & ~inside,
            *distances,
        )


def part_around(pixels: Bool, margin: float, least: float) -> tuple[Part, int]:
    """The part of a frame around some pixels (H, W).

    Args:
        pixels: At least one is true.
        margin: How much to add on each side, of the longer side of the pixels' extent.
        least: How much to add at least, of the short side of the frame.

    Returns:
        Rows and columns, and the longer side of the pixels' extent [pixels].
    """
    found = spans(pixels)
    extent = max(stop - start for start, stop in found)
    added = math.ceil(max(margin * extent, least * min(pixels.shape)))
    rows, columns = (slice(max(0, start - added), stop + added) for start, stop in found)
    return (rows, columns), extent


def spans(pixels: Bool) -> list[tuple[int, int]]:
    """First row and last plus one, then columns, of the true pixels."""
    indices = [np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0)]
    return [(int(each[0]), int(each[-1]) + 1) for each in indices]


def resized(pixels: NDArray[Any], size: tuple[int, int]) -> Scores:
    """Values (H, W) or (H, W, C) at a size (h, w), by mean or interpolation."""
    interpolation = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels.astype(np.float32), size[::-1], interpolation=interpolation), np.float32)


def parts_with(pixels: Bool, mask: Bool) -> Bool:
    """The connected parts of a mask (H, W) that contain one of some pixels (H, W)."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return mask & np.isin(parts, np.unique(parts[pixels & mask]))


def _covered(pixels: Bool, size: tuple[int, int]) -> Bool:
    """True pixels (H, W) at a size (h, w); thin lines stay."""
    share = resized(pixels, size)
    return np.asarray(share > min(_COVERED, float(share.max()) / 2))


def _rim(part: Part, frame: tuple[int, int], size: tuple[int, int]) -> Bool:
    """The outermost pixels of a part of the frame, resized to (h, w), where the frame goes on."""
    rim = np.ones(size, bool)
    top, left = (int(each.start > 0) for each in part)
    bottom, right = (int(each.stop < whole) for each, whole in zip(part, frame, strict=True))
    rim[top : size[0] - bottom, left : size[1] - right] = False
    return rim


def _distance(pixels: Bool) -> Scores:
    """Distance of each pixel (h, w) to the next true one [pixels]; far if there is none."""
    if not pixels.any():
        return np.full(pixels.shape, 1e6, np.float32)
    return np.asarray(cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
