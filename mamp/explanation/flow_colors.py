"""Flow as colors: the color wheel of Baker et al. ("A Database and Evaluation Methodology for Optical Flow", IJCV 2011).

The hue is the direction: red is right, yellow down. The saturation is the length relative to the largest: white is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_STEPS = (15, 6, 4, 11, 13, 6)  # from red to yellow, green, cyan, blue, magenta and red: equal steps look equal
_BEYOND = 0.75  # brightness of flow that is longer than the largest


def flow_colors(flow: NDArray[np.float32], largest: float) -> Image:
    """The colors of a flow field.

    Args:
        flow: Displacement (2, H, W), x then y.
        largest: Length that gets full saturation [> 0]; longer flow is darker.

    Returns:
        RGB (H, W, 3) uint8.
    """
    wheel = _wheel()
    x, y = flow / largest
    length = np.hypot(x, y)[..., None]
    position = (np.arctan2(y, x) / (2 * np.pi)) % 1 * len(wheel)
    low = np.floor(position).astype(int) % len(wheel)
    share = (position - np.floor(position))[..., None]
    hue = (1 - share) * wheel[low] + share * wheel[(low + 1) % len(wheel)]
    color = np.where(length <= 1, 1 - length * (1 - hue), hue * _BEYOND)
    return np.asarray(np.round(255 * color), np.uint8)


def flow_legend(side: int) -> Image:
    """The color wheel as a disk on white, RGB (side, side, 3) uint8: the flow from its center to each pixel."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    flow = np.stack(np.meshgrid(axis, axis))
    return np.where(np.hypot(*flow)[..., None] <= 1, flow_colors(flow, 1.0), 255).astype(np.uint8)


def _wheel() -> NDArray[np.float64]:
    """The hues around the circle (55, 3) [0, 1]."""
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], float)
    parts = [
        start + (end - start) * np.arange(steps)[:, None] / steps
        for start, end, steps in zip(corners, corners[1:], _STEPS, strict=False)
    ]
    return np.concatenate(parts)
