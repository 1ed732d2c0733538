"""Pictures for people: masks laid over frames. Colour is never the only cue: objects have contours and numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.mask_io import OBJECT_COLORS, PALETTE

Image = NDArray[np.uint8]


def color_of(label: int) -> tuple[int, int, int]:
    """The RGB [0, 255] in which an object is shown; objects beyond the eighth take the DAVIS palette."""
    red, green, blue = OBJECT_COLORS[label - 1] if label <= len(OBJECT_COLORS) else PALETTE[label]
    return int(red), int(green), int(blue)


@dataclass(frozen=True)
class OverlayStyle:
    """How objects are laid over frames.

    Attributes:
        opacity: Of the fill [0, 1].
        contour: Whether each object is outlined.
        numbers: Whether each object carries its number, at the point furthest inside it.
    """

    opacity: float = 0.45
    contour: bool = True
    numbers: bool = True


def overlay(frame: Image, mask: Image, style: OverlayStyle | None = None) -> Image:
    """Lays objects over a frame.

    Args:
        frame: RGB (H, W, 3) uint8.
        mask: Label map (H, W) uint8.
        style: How; fill, contour and numbers if not given.

    Returns:
        RGB (H, W, 3) uint8.
    """
    style = style or OverlayStyle()
    table = np.zeros((256, 3), np.float32)
    labels = [label for label in np.bincount(mask.ravel()).nonzero()[0].tolist() if label]
    for label in labels:
        table[label] = color_of(label)
    picture = frame.copy()
    inside = mask > 0
    picture[inside] = ((1 - style.opacity) * frame[inside] + style.opacity * table[mask[inside]]).astype(np.uint8)
    scale = max(1.0, min(frame.shape[:2]) / 480)
    for label in labels:
        shape, corner = _cropped(mask == label)
        if style.contour:
            outlines, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner)
            cv2.drawContours(picture, outlines, -1, color_of(label), max(1, round(2 * scale)))
        if style.numbers:
            _draw_number(picture, shape, corner, label, scale)
    return picture


def cut_out(frame: Image, mask: Image, objects: Collection[int] | None = None) -> Image:
    """Keeps only objects of a frame.

    Args:
        frame: RGB (H, W, 3) uint8.
        mask: Label map (H, W) uint8.
        objects: Labels of the ones to keep; all if not given.

    Returns:
        RGBA (H, W, 4) uint8: opaque inside the objects, and outside see-through and black.
    """
    inside = mask > 0 if objects is None else np.isin(mask, list(objects))
    alpha = np.where(inside, 255, 0).astype(np.uint8)
    return np.dstack((np.where(inside[..., None], frame, 0).astype(np.uint8), alpha))


def _cropped(shape: NDArray[np.bool_]) -> tuple[Image, tuple[int, int]]:
    """What is around a shape, 1 inside and 0 on a rim of one pixel, and the x and y of its first pixel."""
    x, y, width, height = cv2.boundingRect(shape.view(np.uint8))
    return np.pad(shape[y : y + height, x : x + width].view(np.uint8), 1), (x - 1, y - 1)


def _draw_number(picture: Image, shape: Image, corner: tuple[int, int], label: int, scale: float) -> None:
    depth = cv2.distanceTransform(shape, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    (width, height), _ = cv2.getTextSize(str(label), cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, 1)
    at = (corner[0] + int(x) - width // 2, corner[1] + int(y) + height // 2)
    for colour, thickness in (((0, 0, 0), 4 * scale), ((255, 255, 255), 1.5 * scale)):
        cv2.putText(
            picture,
            str(label),
            at,
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6 * scale,
            colour,
            max(1, round(thickness)),
            cv2.LINE_AA,
        )
