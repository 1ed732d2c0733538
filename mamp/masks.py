"""Mask files: the DAVIS palette, reading what people have, writing what tools expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Mask = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
_OPAQUE = 128  # alpha from which on a stroke counts: editors draw soft edges
_NEAR = 48.0  # distance in RGB up to which a colour is taken for its neighbour in the palette


class MaskError(ValueError):
    """A mask that cannot be used; its text is one sentence for the user."""


def _davis_palette() -> NDArray[np.uint8]:
    """The PASCAL VOC colour map: the bits of the label, dealt out to red, green and blue from the top."""
    label = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((label >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = _davis_palette()  # (256, 3) uint8


def read_mask(path: str | Path) -> Mask:
    """Reads a label map from a mask file.

    Palette images are read by their indices. Grey images are label numbers, or 0 and 255 for one object; soft edges
    between those two are cut at half. Colours are matched with the DAVIS palette; colours that are not in it
    become objects in the order of their area. Transparent pixels are background.

    Args:
        path: PNG or another still image.

    Returns:
        Label map (H, W) uint8, 0 = background.

    Raises:
        MaskError: The file is missing, no image, too large, or has too many colours for a mask.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MaskError(f"The mask {path.name} is too large: {image.width}x{image.height}.")
            if image.mode == "P":
                return np.asarray(image, np.uint8).copy()
            if image.mode in ("1", "L", "I", "I;16"):
                return _from_grey(np.asarray(image), path.name)
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"The mask {path.name} cannot be read as an image.") from error
    rgb, opaque = pixels[..., :3], pixels[..., 3] >= _OPAQUE
    if (rgb == rgb[..., :1]).all():
        return np.where(opaque, _from_grey(rgb[..., 0], path.name), 0).astype(np.uint8)
    return _from_colours(rgb, opaque, path.name)


def _from_grey(grey: NDArray[np.generic], name: str) -> Mask:
    if grey.dtype == np.bool_:
        return grey.astype(np.uint8)
    values = np.unique(grey)
    if values[-1] > 255:
        raise MaskError(f"The mask {name} has the label {values[-1]}, but 255 is the largest.")
    if values[-1] == 255 and (len(values) == 2 or len(values) > 16):
        return (np.asarray(grey) >= _OPAQUE).astype(np.uint8)
    return np.asarray(grey).astype(np.uint8)


def _from_colours(rgb: NDArray[np.uint8], opaque: NDArray[np.bool_], name: str) -> Mask:
    colours, inverse, area = np.unique(
        np.where(opaque[..., None], rgb, 0).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    if len(colours) > 4096:
        raise MaskError(f"The mask {name} has too many colours: it looks like a photograph.")
    distance = np.linalg.norm(colours[:, None].astype(float) - PALETTE[None, :24].astype(float), axis=2)
    label = distance.argmin(axis=1)
    foreign = distance.min(axis=1) > _NEAR
    free = [number for number in range(1, 256) if number not in set(label[~foreign].tolist())]
    # Soft edges are many colours of few pixels each: only colours of some area are objects of their own.
    own = [index for index in np.argsort(-area) if foreign[index] and area[index] >= max(4, area.sum() // 5000)]
    for number, index in zip(free, own, strict=False):
        label[index] = number
        foreign[index] = False
    label[foreign] = 0
    return np.asarray(label[inverse.reshape(-1)].reshape(rgb.shape[:2]), np.uint8)


def write_mask(path: str | Path, mask: Mask) -> None:
    """Writes a label map (H, W) uint8 as a PNG with the DAVIS palette, whole or not at all."""
    path = Path(path)
    image = Image.fromarray(mask)
    image.putpalette(PALETTE.tobytes())
    partial = path.with_name(path.name + ".partial")
    image.save(partial, format="PNG", compress_level=3)
    partial.replace(path)


def correct_mask(mask: Mask, given: Mask) -> Mask:
    """Lays a given mask over another, both (H, W) uint8: the objects it names are where it says and nowhere else."""
    kept = np.where(np.isin(mask, np.unique(given)), 0, mask)
    return np.where(given > 0, given, kept).astype(np.uint8)


def strokes_to_mask(strokes: NDArray[np.uint8], colours: Sequence[Sequence[int]]) -> Mask:
    """Reads what was painted in an image editor.

    Args:
        strokes: RGBA (H, W, 4) uint8. Editors blend the edges of strokes, so alpha is cut at half.
        colours: The brush's colours, RGB [0, 255] each; the first paints object 1.

    Returns:
        Label map (H, W) uint8: the object whose colour is nearest, 0 where nothing was painted.
    """
    painted = strokes[..., 3] >= _OPAQUE
    palette = np.asarray(colours, np.int32)
    mask = np.zeros(painted.shape, np.uint8)
    pixels = strokes[painted][:, :3].astype(np.int32)
    mask[painted] = ((pixels[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1) + 1
    return mask


def mask_to_strokes(mask: Mask, colours: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """Paints a mask (H, W) as an image editor's layer, RGBA (H, W, 4) uint8: undoes ``strokes_to_mask``."""
    table = np.zeros((256, 4), np.uint8)
    table[1 : len(colours) + 1] = [(*colour, 255) for colour in colours]
    return np.asarray(table[mask], np.uint8)
