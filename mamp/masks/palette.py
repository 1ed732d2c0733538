"""Label colors: the DAVIS palette of mask files, the colors of the overlay, and painted strokes in those colors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

_COLORS_AT_ONCE = 1 << 12
OPAQUE = 128  # smallest alpha of a foreground pixel: editors draw soft edges


def _davis_palette() -> NDArray[np.uint8]:
    """The PASCAL VOC color map: the bits of the label, distributed over red, green and blue from the top bit down."""
    label = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((label >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = _davis_palette()  # (256, 3) uint8
# The colors of Okabe and Ito without black, distinguishable with any color vision; white is the eighth.
OBJECT_COLORS = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (255, 255, 255),
    ],
    np.uint8,
)


def color_of(label: int) -> tuple[int, int, int]:
    """The RGB [0, 255] of an object in overlays; labels above eight use the DAVIS palette."""
    red, green, blue = OBJECT_COLORS[label - 1] if label <= len(OBJECT_COLORS) else PALETTE[label]
    return int(red), int(green), int(blue)


def strokes_to_mask(strokes: NDArray[np.uint8], colors: Sequence[Sequence[int]]) -> Mask:
    """Converts the paint layer of an image editor to a label map.

    Args:
        strokes: RGBA (H, W, 4) uint8. Editors blend the edges of strokes, so alpha is thresholded at half.
        colors: Brush colors, RGB [0, 255] each; the first paints object 1.

    Returns:
        Label map (H, W) uint8: the object with the nearest color, 0 where nothing was painted.
    """
    painted = strokes[..., 3] >= OPAQUE
    # Many pixels have few colors: the nearest brush is found once for each of the 2^24 colors that occurs.
    key = np.left_shift(strokes[..., 0], 16, dtype=np.uint32)
    key |= np.left_shift(strokes[..., 1], 8, dtype=np.uint32)
    key |= strokes[..., 2]
    label = np.zeros(1 << 24, np.uint8)
    label[key[painted]] = 1
    palette = np.asarray(colors, np.float32)
    offset = (palette**2).sum(axis=1)  # |color - brush|^2 less |color|^2, which is the same for all brushes
    occurring = np.flatnonzero(label)
    for part in np.array_split(occurring, 1 + len(occurring) // _COLORS_AT_ONCE):
        rgb = np.stack((part >> 16, part >> 8 & 255, part & 255), axis=1).astype(np.float32)
        label[part] = (offset - 2 * (rgb @ palette.T)).argmin(axis=1) + 1  # exact: all are whole numbers below 2^24
    return np.where(painted, label[key], 0).astype(np.uint8, copy=False)


def mask_to_strokes(mask: Mask, colors: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """Paints a mask (H, W) as an image editor's layer, RGBA (H, W, 4) uint8: the inverse of ``strokes_to_mask``."""
    table = np.zeros((256, 4), np.uint8)
    table[1 : len(colors) + 1] = [(*color, 255) for color in colors]
    return np.asarray(table[mask], np.uint8)
