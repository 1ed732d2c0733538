"""Mask files: the DAVIS palette, reading what people have, writing what tools expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco

from mamp.files import atomic_path

Mask = NDArray[np.uint8]
Rle = dict[str, Any]

MAX_PIXELS = 64_000_000
_ASPECT = 0.02  # by how much a mask's aspect may differ from its clip's: sizes are rounded
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
# Okabe and Ito's eight colours, told apart with any colour vision, without their black.
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


@dataclass(frozen=True)
class MaskFile:
    """A mask file as it was understood."""

    mask: Mask
    notes: tuple[str, ...]  # what was found and done, for the user: "3 objects", "scaled from 640x360"


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> Mask:
    """The label map (H, W) uint8 of a mask file; see ``open_mask``."""
    return open_mask(path, size).mask


def read_input_masks(sources: Mapping[int, Mask | str | Path], size: tuple[int, int], frames: int) -> dict[int, Mask]:
    """The masks that a run starts from, as label maps.

    Args:
        sources: By frame number: label maps (H, W) uint8 of the clip's size, or mask files, which may be of another.
        size: The clip's (H, W).
        frames: How many it has.

    Raises:
        MaskError: There is none, or one cannot be read, does not fit the clip, names no object, or is for no frame of it.
    """
    if not sources:
        raise MaskError("Give a mask for at least one frame.")
    given = {}
    for number, source in sources.items():
        mask = read_mask(source, size) if isinstance(source, str | Path) else source
        if not 0 <= number < frames:
            raise MaskError(f"A mask is given for frame {number}, but the clip has frames 0 to {frames - 1}.")
        if mask.shape != size:
            raise MaskError(
                f"The mask of frame {number} is {mask.shape[1]}x{mask.shape[0]}, but the clip is {size[1]}x{size[0]}."
            )
        if not mask.any():
            raise MaskError(f"The mask of frame {number} names no object.")
        given[number] = mask
    return given


def open_mask(path: str | Path, size: tuple[int, int] | None = None) -> MaskFile:
    """Reads a mask file, whatever its kind.

    Palette images are read by their indices. Grey images are label numbers, or 0 and 255 for one object; soft edges
    between those two are cut at half. Colours are those of the DAVIS palette, or of the page's brush, if all of
    them are; else they are numbered by their area. Transparent pixels are background.

    Args:
        path: PNG or another still image.
        size: The (H, W) of the clip, to which a mask of the same shape is scaled; the file's own if not given.

    Raises:
        MaskError: The file is missing, no image, too large, of another shape than ``size``, or has too many colours for
            a mask.
    """
    path = Path(path)
    notes: list[str] = []
    mask = _read(path, notes)
    if size is not None and mask.shape != size:
        notes.append(f"scaled from {mask.shape[1]}x{mask.shape[0]}")
        mask = _scaled(mask, size, path.name)
    count = len(np.unique(mask[mask > 0]))
    return MaskFile(mask, (f"{count} object{'' if count == 1 else 's'}", *notes))


def _read(path: Path, notes: list[str]) -> Mask:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MaskError(f"The mask {path.name} is too large: {image.width}x{image.height}.")
            if image.mode == "P":
                return np.asarray(image, np.uint8).copy()
            if image.mode in ("1", "L", "I", "I;16"):
                return _from_grey(np.asarray(image), path.name, notes)
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"The mask {path.name} cannot be read as an image.") from error
    rgb, opaque = pixels[..., :3], pixels[..., 3] >= _OPAQUE
    if (rgb == rgb[..., :1]).all():
        return np.where(opaque, _from_grey(rgb[..., 0], path.name, notes), 0).astype(np.uint8)
    return _from_colours(rgb, opaque, path.name, notes)


def _scaled(mask: Mask, size: tuple[int, int], name: str) -> Mask:
    aspect = (mask.shape[1] / mask.shape[0]) / (size[1] / size[0])
    if abs(aspect - 1) > _ASPECT:
        sizes = f"{mask.shape[1]}x{mask.shape[0]}, but the clip is {size[1]}x{size[0]}"
        raise MaskError(f"The mask {name} is {sizes}: it has another shape.")
    return np.asarray(cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _from_grey(grey: NDArray[np.generic], name: str, notes: list[str]) -> Mask:
    if grey.dtype == np.bool_:
        return grey.astype(np.uint8)
    values = np.unique(grey)
    if values.tolist() == [0, 65535]:
        return (np.asarray(grey) > 0).astype(np.uint8)
    if values[-1] > 255:
        raise MaskError(f"The mask {name} has the label {values[-1]}, but 255 is the largest.")
    between = values[(values > 0) & (values < 255)]
    if values[-1] == 255 and not np.array_equal(between, np.arange(1, len(between) + 1)):
        # Label numbers count from 1; what lies between 0 and 255 otherwise is the edge of one object, unless it is large.
        if len(between) > 16 or np.isin(grey, between).sum() < 0.3 * np.count_nonzero(grey):
            notes.append("soft edges cut at half")
            return (np.asarray(grey) >= _OPAQUE).astype(np.uint8)
    elif values[-1] == 255 and not len(between):
        return (np.asarray(grey) > 0).astype(np.uint8)
    return np.asarray(grey).astype(np.uint8)


def _from_colours(rgb: NDArray[np.uint8], opaque: NDArray[np.bool_], name: str, notes: list[str]) -> Mask:
    colours, inverse, area = np.unique(
        np.where(opaque[..., None], rgb, 0).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    if len(colours) > 4096:
        raise MaskError(f"The mask {name} has too many colours: it looks like a photograph.")
    # Soft edges are many colours of few pixels each: only colours of some area are objects.
    large = area >= max(4, area.sum() // 5000)
    for palette in (PALETTE[:24], np.vstack(([(0, 0, 0)], OBJECT_COLORS))):
        label, near = _nearest(colours, palette)
        if near[large].all():
            break
    else:
        label, near = _nearest(colours, PALETTE[:1])  # background, or something else
        others = [index for index in np.argsort(-area, kind="stable") if large[index] and not near[index]][:255]
        label[others] = range(1, len(others) + 1)
        near[others] = True
        notes.append("colours numbered by area")
    if not near.all():
        notes.append("mixed colours of edges left out")
    label[~near] = 0
    return np.asarray(label[inverse.reshape(-1)].reshape(rgb.shape[:2]), np.uint8)


def _nearest(colours: NDArray[np.uint8], palette: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The entry of a palette that is nearest to each colour, and whether it is near."""
    distance = np.linalg.norm(colours[:, None].astype(float) - palette[None].astype(float), axis=2)
    return distance.argmin(axis=1), distance.min(axis=1) <= _NEAR


def write_mask(path: str | Path, mask: Mask) -> None:
    """Writes a label map (H, W) uint8 as a PNG with the DAVIS palette, whole or not at all."""
    image = Image.fromarray(mask)
    image.putpalette(PALETTE.tobytes())
    with atomic_path(Path(path)) as partial:
        image.save(partial, format="PNG", compress_level=3)


def encode_rle(mask: Mask) -> bytes:
    """The objects of a label map (H, W) uint8 as COCO's compressed run lengths, each behind its label.

    One text, since of a long clip a dictionary for each frame would be much to hold; ``unpack_rle`` takes it apart.
    """
    found = {
        label: coco.encode(np.asfortranarray(mask == label).view(np.uint8))["counts"] for label in objects_in(mask)
    }
    return b" ".join(b"%d %b" % item for item in found.items())


def unpack_rle(packed: bytes) -> dict[int, bytes]:
    """The run lengths that ``encode_rle`` gave, by label."""
    words = packed.split()
    return {int(label): counts for label, counts in zip(words[::2], words[1::2], strict=True)}


def describe_rle(counts: bytes, size: tuple[int, int]) -> Rle:
    """An object's run lengths on a frame of ``size`` (H, W) as COCO's files have them.

    Returns:
        ``segmentation`` (``size`` and ``counts``), ``area`` [pixels] and ``bbox`` (x, y, width, height) [pixels].
    """
    run_lengths = {"size": list(size), "counts": counts}
    return {
        "segmentation": {"size": list(size), "counts": counts.decode()},
        "area": int(coco.area(run_lengths)),
        "bbox": coco.toBbox(run_lengths).tolist(),
    }


def objects_in(mask: Mask) -> list[int]:
    """The labels of the objects in a mask (H, W) uint8, ascending."""
    return [label for label, area in enumerate(np.bincount(mask.ravel()).tolist()) if label and area]


def mask_in_box(frame: NDArray[np.uint8], box: tuple[int, int, int, int], label: int) -> Mask:
    """Finds the object that fills a box, by its colours against those around it (GrabCut).

    Args:
        frame: RGB (H, W, 3) uint8.
        box: Left, top, right and bottom [pixels], right and bottom not included.
        label: The object's number.

    Returns:
        Label map (H, W) uint8 of this object; the whole box where no shape is found in it.

    Raises:
        MaskError: The box does not lie in the frame, or leaves nothing outside.
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise MaskError(f"The box {left}, {top} to {right}, {bottom} does not lie in the frame, {width}x{height}.")
    if (right - left, bottom - top) == (width, height):
        raise MaskError("The box is the whole frame; it must leave some background outside.")
    found = np.zeros((height, width), np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    cv2.grabCut(bgr, found, (left, top, right - left, bottom - top), *models, 5, cv2.GC_INIT_WITH_RECT)
    inside = np.isin(found, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if inside.sum() < 0.05 * (right - left) * (bottom - top):
        inside[top:bottom, left:right] = True
    return np.where(inside, label, 0).astype(np.uint8)


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """The label of the nearest pixel (H, W) uint8: a label map has no values between labels."""
    if size == mask.shape:
        return mask
    return np.asarray(cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def merge_input_mask(mask: Mask, given: Mask) -> Mask:
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
