"""Overlays: objects drawn over frames, or cut out of them. Contours and numbers show objects without color too."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in
from mamp.masks.palette import color_of

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class OverlayStyle:
    """How objects are drawn over frames.

    Attributes:
        opacity: Opacity of the fill [0, 1].
        contour: Whether each object is outlined.
        numbers: Whether each object shows its number, at the point furthest from its boundary.
    """

    opacity: float = 0.45
    contour: bool = True
    numbers: bool = True


def overlay(frame: Image, mask: Image, style: OverlayStyle | None = None) -> Image:
    """Draws objects over a frame.

    Args:
        frame: RGB (H, W, 3) uint8.
        mask: Label map (H, W) uint8.
        style: Fill, contour and numbers by default.

    Returns:
        RGB (H, W, 3) uint8.
    """
    style = style or OverlayStyle()
    table = np.zeros((256, 3), np.float32)
    labels = objects_in(mask)
    for label in labels:
        table[label] = color_of(label)
    image = frame.copy()
    inside = mask > 0
    image[inside] = ((1 - style.opacity) * frame[inside] + style.opacity * table[mask[inside]]).astype(np.uint8)
    scale = max(1.0, min(frame.shape[:2]) / 480)
    for label in labels:
        shape, corner = _cropped(mask == label)
        if style.contour:
            outlines, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner)
            cv2.drawContours(image, outlines, -1, color_of(label), max(1, round(2 * scale)))
        if style.numbers:
            _draw_number(image, shape, corner, label, scale)
    return image


def cut_out(frame: Image, mask: Image, objects: Collection[int] | None = None) -> Image:
    """Cuts objects out of a frame.

    Args:
        frame: RGB (H, W, 3) uint8.
        mask: Label map (H, W) uint8.
        objects: Labels to keep; all by default.

    Returns:
        RGBA (H, W, 4) uint8: opaque inside the objects, transparent black outside.
    """
    inside = mask > 0 if objects is None else np.isin(mask, list(objects))
    alpha = np.where(inside, 255, 0).astype(np.uint8)
    return np.dstack((np.where(inside[..., None], frame, 0).astype(np.uint8), alpha))


def _cropped(shape: NDArray[np.bool_]) -> tuple[Image, tuple[int, int]]:
    """The bounding box of a shape with a border of one zero pixel, and the x and y of its top left pixel."""
    x, y, width, height = cv2.boundingRect(shape.view(np.uint8))
    return np.pad(shape[y : y + height, x : x + width].view(np.uint8), 1), (x - 1, y - 1)


def _draw_number(image: Image, shape: Image, corner: tuple[int, int], label: int, scale: float) -> None:
    depth = cv2.distanceTransform(shape, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale
    (width, height), _ = cv2.getTextSize(str(label), font, size, 1)
    origin = (corner[0] + int(x) - width // 2, corner[1] + int(y) + height // 2)
    for color, thickness in (((0, 0, 0), 4 * scale), ((255, 255, 255), 1.5 * scale)):
        cv2.putText(image, str(label), origin, font, size, color, max(1, round(thickness)), cv2.LINE_AA)
