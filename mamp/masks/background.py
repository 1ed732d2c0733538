"""Replaces what is around the objects of a frame: blurred, gray or of one color."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.overlay import cut_out

Image = NDArray[np.uint8]

CHROMA_GREEN = (0, 177, 64)  # the usual RGB of green screens
_BLUR = 0.025  # standard deviation of the blur, as a fraction of the short side
_BLUR_SIDE = 240  # [pixels] short side at which the blur is computed: it keeps no detail
_RIM = 0.8 / 480  # standard deviation of the soft rim, as a fraction of the short side


def blur_background(frame: Image, mask: Image, objects: Collection[int] | None = None) -> Image:
    """Blurs the background. The colors of the objects do not spread into it.

    Args:
        frame: RGB (H, W, 3) uint8.
        mask: Label map (H, W) uint8.
        objects: Labels of the objects that stay sharp; all by default.

    Returns:
        RGB (H, W, 3) uint8.
    """
    height, width = mask.shape
    scale = min(1.0, _BLUR_SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    outside = (cut_out(frame, mask, objects)[..., 3] == 0).astype(np.float32)
    weight = cv2.resize(outside, size, interpolation=cv2.INTER_AREA)
    colors = cv2.resize(frame * outside[..., None], size, interpolation=cv2.INTER_AREA)
    sigma = _BLUR * min(size)
    weight = cv2.GaussianBlur(weight, (0, 0), sigma)
    blurred = cv2.GaussianBlur(colors, (0, 0), sigma) / np.maximum(weight, 1e-3)[..., None]
    return _compose(frame, mask, objects, cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR))


def gray_background(frame: Image, mask: Image, objects: Collection[int] | None = None) -> Image:
    """Takes the color out of the background; arguments and result as in ``blur_background``."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return _compose(frame, mask, objects, np.repeat(gray[..., None], 3, axis=2))


def color_background(
    frame: Image, mask: Image, objects: Collection[int] | None = None, color: tuple[int, int, int] = CHROMA_GREEN
) -> Image:
    """Makes the background one color, RGB [0, 255]; other arguments and result as in ``blur_background``."""
    return _compose(frame, mask, objects, np.broadcast_to(np.array(color, np.uint8), frame.shape))


def _compose(frame: Image, mask: Image, objects: Collection[int] | None, background: NDArray[np.generic]) -> Image:
    """The objects over a background (H, W, 3), with a soft rim."""
    inside = cut_out(frame, mask, objects)[..., 3].astype(np.float32) / 255
    alpha = cv2.GaussianBlur(inside, (0, 0), max(0.5, _RIM * min(mask.shape)))[..., None]
    mixed: Image = np.rint(alpha * frame + (1 - alpha) * background.astype(np.float32)).astype(np.uint8)
    return mixed
