"""Synthetic clips for time and memory measurements."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.video.writer import VideoWriter

Frame = NDArray[np.uint8]


def synthetic_clip(path: Path, short_side: int, frames: int) -> Path:
    """Writes a 16:9 clip of a textured background and a textured patch that move differently."""
    size = (short_side, short_side * 16 // 9 // 2 * 2)
    with VideoWriter(path, None, size) as video:
        for t, image in enumerate(synthetic_frames(size, frames)):
            video.write(image, Fraction(t, 25))
    return path


def synthetic_frames(size: tuple[int, int], frames: int) -> Iterator[Frame]:
    """The frames (H, W, 3) uint8 of ``synthetic_clip``."""
    height, width = size
    rng = np.random.default_rng(0)
    noise = rng.integers(20, 235, (height // 8, width // 8, 3), dtype=np.uint8)
    background = cv2.resize(noise, (width + 4 * frames, height), interpolation=cv2.INTER_CUBIC)
    side = height // 3
    for t in range(frames):
        image = np.ascontiguousarray(background[:, 2 * t : 2 * t + width])
        left = (width // 8 + 5 * t) % (width - side)
        image[side : 2 * side, left : left + side] = background[:side, :side][::-1]
        yield image.astype(np.uint8)


def synthetic_mask(size: tuple[int, int], objects: int) -> Frame:
    """Equal rectangles in a row (H, W) uint8, the first at the first position of ``synthetic_clip``'s patch."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    side = height // 3
    across = np.linspace(width // 8, width - side - 1, max(objects, 2)).astype(int)
    for label, left in enumerate(across[:objects], 1):
        mask[side : 2 * side, left : left + max(4, side // max(1, objects // 3))] = label
    return mask
