"""Mask files: reading the common kinds of mask image, and writing label maps with the DAVIS palette."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mamp.files import atomic_path
from mamp.masks.label_map import Mask, MaskError, as_label_map
from mamp.masks.palette import OBJECT_COLORS, OPAQUE, PALETTE

MAX_PIXELS = 64_000_000
_ASPECT_TOLERANCE = 0.02  # relative difference between the aspect ratios of mask and clip: sizes are rounded
_MAX_COLOR_DISTANCE = 48.0  # in RGB, up to which a color is assigned to an entry of the palette
_MAX_COLORS = 4096


@dataclass(frozen=True)
class MaskFile:
    """A mask file and how it was interpreted."""

    mask: Mask
    notes: tuple[str, ...]  # for the user: "3 objects", "scaled from 640x360"


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> Mask:
    """The label map (H, W) uint8 of a mask file; see ``open_mask``."""
    return open_mask(path, size).mask


def read_input_masks(sources: Mapping[int, Mask | str | Path], size: tuple[int, int], frames: int) -> dict[int, Mask]:
    """Reads and checks the input masks of a clip.

    Args:
        sources: Label maps (H, W) of the clip's size, see ``as_label_map``, or mask files of any size, by frame number.
        size: Size of the clip (H, W).
        frames: Number of frames in the clip.

    Raises:
        MaskError: No mask is given, or one is unreadable, is no label map, has another size, contains no object, or is for
            a frame that does not exist.
    """
    if not sources:
        raise MaskError("Give a mask for at least one frame.")
    input_masks: dict[int, Mask] = {}
    for number, source in sources.items():
        if not 0 <= number < frames or number != int(number):
            raise MaskError(f"A mask is given for frame {number}, but the clip has frames 0 to {frames - 1}.")
        if isinstance(source, str | Path):
            mask = read_mask(source, size)
        else:
            mask = as_label_map(source, f"The mask of frame {number}")
        if mask.shape != size:
            raise MaskError(
                f"The mask of frame {number} is {mask.shape[1]}x{mask.shape[0]}, but the clip is {size[1]}x{size[0]}."
            )
        if not mask.any():
            raise MaskError(f"The mask of frame {number} contains no object.")
        input_masks[int(number)] = mask
    return input_masks


def open_mask(path: str | Path, size: tuple[int, int] | None = None) -> MaskFile:
    """Reads a mask file of any kind.

    Palette images are read by their indices. Gray images hold labels, or 0 and 255 for one object; soft edges between
    those two are thresholded at half. Colors are matched with the DAVIS palette or the overlay's colors if all of them
    match; otherwise they are numbered by area. Transparent pixels are background.

    Args:
        path: PNG or another still image.
        size: Size of the clip (H, W), to which a mask of the same aspect ratio is scaled; the file's own if omitted.

    Raises:
        MaskError: The file is missing, not an image, too large, of another aspect ratio than ``size``, or has too many
            colors for a mask.
    """
    path = Path(path)
    notes: list[str] = []
    mask = _read(path, notes)
    if size is not None and mask.shape != size:
        notes.append(f"scaled from {mask.shape[1]}x{mask.shape[0]}")
        mask = _scaled(mask, size, path.name)
    count = len(np.unique(mask[mask > 0]))
    return MaskFile(mask, (f"{count} object{'' if count == 1 else 's'}", *notes))


def write_mask(path: str | Path, mask: Mask) -> None:
    """Writes a label map (H, W) uint8 as a PNG with the DAVIS palette, atomically."""
    image = Image.fromarray(mask)
    image.putpalette(PALETTE.tobytes())
    with atomic_path(Path(path)) as partial:
        image.save(partial, format="PNG", compress_level=3)


def _read(path: Path, notes: list[str]) -> Mask:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MaskError(f"The mask {path.name} is too large: {image.width}x{image.height}.")
            if image.mode == "P":
                return np.asarray(image, np.uint8).copy()
            if image.mode in ("1", "L", "I", "I;16"):
                return _from_gray(np.asarray(image), path.name, notes)
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"The mask {path.name} cannot be read as an image.") from error
    rgb, opaque = pixels[..., :3], pixels[..., 3] >= OPAQUE
    if (rgb == rgb[..., :1]).all():
        return np.where(opaque, _from_gray(rgb[..., 0], path.name, notes), 0).astype(np.uint8)
    return _from_colors(rgb, opaque, path.name, notes)


def _scaled(mask: Mask, size: tuple[int, int], name: str) -> Mask:
    aspect = (mask.shape[1] / mask.shape[0]) / (size[1] / size[0])
    if abs(aspect - 1) > _ASPECT_TOLERANCE:
        sizes = f"{mask.shape[1]}x{mask.shape[0]}, but the clip is {size[1]}x{size[0]}"
        raise MaskError(f"The mask {name} is {sizes}: it has another shape.")
    return np.asarray(cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _from_gray(gray: NDArray[np.generic], name: str, notes: list[str]) -> Mask:
    if gray.dtype == np.bool_:
        return gray.astype(np.uint8)
    values = np.unique(gray)
    if values.tolist() == [0, 65535]:
        return (np.asarray(gray) > 0).astype(np.uint8)
    if values[-1] > 255:
        raise MaskError(f"The mask {name} has the label {values[-1]}, but 255 is the largest.")
    between = values[(values > 0) & (values < 255)]
    if values[-1] == 255 and not np.array_equal(between, np.arange(1, len(between) + 1)):
        # Labels count from 1; other values between 0 and 255 are the soft edge of one object, unless they cover much area.
        if len(between) > 16 or np.isin(gray, between).sum() < 0.3 * np.count_nonzero(gray):
            notes.append("soft edges cut at half")
            return (np.asarray(gray) >= OPAQUE).astype(np.uint8)
    elif values[-1] == 255 and not len(between):
        return (np.asarray(gray) > 0).astype(np.uint8)
    return np.asarray(gray).astype(np.uint8)


def _from_colors(rgb: NDArray[np.uint8], opaque: NDArray[np.bool_], name: str, notes: list[str]) -> Mask:
    colors, inverse, area = np.unique(
        np.where(opaque[..., None], rgb, 0).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    if len(colors) > _MAX_COLORS:
        raise MaskError(f"The mask {name} has too many colors: it looks like a photograph.")
    # Soft edges are many colors of few pixels each: only colors of some area are objects.
    large = area >= max(4, area.sum() // 5000)
    for palette in (PALETTE[:24], np.vstack(([(0, 0, 0)], OBJECT_COLORS))):
        label, near = _nearest(colors, palette)
        if near[large].all():
            break
    else:
        label, near = _nearest(colors, PALETTE[:1])  # background or not
        others = [index for index in np.argsort(-area, kind="stable") if large[index] and not near[index]][:255]
        label[others] = range(1, len(others) + 1)
        near[others] = True
        notes.append("colors numbered by area")
    if not near.all():
        notes.append("mixed colors of edges left out")
    label[~near] = 0
    return np.asarray(label[inverse.reshape(-1)].reshape(rgb.shape[:2]), np.uint8)


def _nearest(colors: NDArray[np.uint8], palette: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The palette entry nearest to each color, and whether it is within ``_MAX_COLOR_DISTANCE``."""
    distance = np.linalg.norm(colors[:, None].astype(float) - palette[None].astype(float), axis=2)
    return distance.argmin(axis=1), distance.min(axis=1) <= _MAX_COLOR_DISTANCE
