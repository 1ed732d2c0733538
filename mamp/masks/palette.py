"""Label colors: the DAVIS palette of mask files, and the colors of the overlay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
