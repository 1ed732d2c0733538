"""Mask files: reading the kinds of mask image that people have, and writing label maps with the DAVIS palette."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mamp.files import atomic_path
from mamp.masks.flat_areas import MAX_LABEL_NUMBER, FlatAreas, PhotographError, find_flat_areas
from mamp.masks.label_map import MAX_PIXELS, Mask, MaskError, resize_mask
from mamp.masks.palette import OBJECT_COLORS, PALETTE

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
LABEL_RULES = ("DAVIS palette", "label numbers", "palette entries")  # their labels are numbers in the file
_ASPECT_TOLERANCE = 0.02  # relative difference between the aspect ratios of mask and clip: sizes are rounded
_MAX_COLOR_DISTANCE = 24.0  # in RGB, up to which an area has a color of a palette
_GRAY_SPREAD = 12  # largest difference between the channels of a gray pixel in a lossy file
_BLACK = 40  # largest value of a dark background
_WHOLE_BORDER = 0.995
_CUT_OUT_COLORS = 256
_CUT_OUT_FLAT_SHARE = 0.5
_MOTS_IGNORE = 10_000


@dataclass(frozen=True)
class MaskFile:
    """A mask file and how it was read.

    Attributes:
        mask: Label map (H, W) uint8.
        rule: Name of the rule that applied; see ``open_mask``.
        notes: What else the user should know: "scaled from 640x360", "soft edges cut at half".
    """

    mask: Mask
    rule: str
    notes: tuple[str, ...] = ()

    @property
    def areas(self) -> dict[int, int]:
        """Area [pixels] of each object, by label."""
        return {label: area for label, area in enumerate(np.bincount(self.mask.ravel()).tolist()) if label and area}

    @property
    def description(self) -> str:
        """How the file was read, for the user; see ``describe_mask``."""
        return describe_mask(self.areas, self.rule, self.notes)

    def summary(self) -> dict[str, Any]:
        """How the file was read, for the receipt: the rule, the area [pixels] of each object, and the notes."""
        return {"rule": self.rule, "objects": self.areas, "notes": list(self.notes)}


def describe_mask(areas: Mapping[int, int], rule: str, notes: Sequence[str]) -> str:
    """How a mask was read: "2 objects (1: 1,941 pixels, 2: 1,200 pixels), read as label numbers; scaled from 640x360"."""
    if not areas:
        return "; ".join(("no object", *notes))
    pixels = ", ".join(f"{label}: {area:,} pixels" for label, area in areas.items())
    count = f"{len(areas)} object{'' if len(areas) == 1 else 's'}"
    return "; ".join((f"{count} ({pixels}), read as {rule}", *notes))


@dataclass(frozen=True)
class _Pixels:
    """A decoded image.

    Attributes:
        values: Gray or palette entries (H, W, 1) of any number type, or RGB (H, W, 3) uint8.
        alpha: (H, W) uint8, ``None`` if all pixels have the same.
        lossy: Whether the file format changes values.
        palette: RGB of each palette entry (256, 3) uint8, ``None`` without a palette.
    """

    values: NDArray[Any]
    alpha: NDArray[np.uint8] | None
    lossy: bool
    palette: NDArray[np.uint8] | None = None


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> Mask:
    """The label map (H, W) uint8 of a mask image; see ``open_mask``."""
    return open_mask(path, size).mask


def open_mask(path: str | Path, size: tuple[int, int] | None = None, pixel_aspect: float = 1.0) -> MaskFile:
    """Reads a mask image of any kind: PNG, JPEG, WebP, BMP, TIFF, GIF or PPM, turned as its EXIF data says.

    The first rule that applies decides:

    1. *DAVIS palette*: a palette image whose used entries have the colors of DAVIS. Labels are the entries.
    2. *transparency*: alpha varies, and opaque pixels have one color. The opaque pixels are one object.
    3. *a cut-out*: alpha varies, and opaque pixels are a photograph. The opaque pixels are one object.
       In all other rules transparent pixels are background.
    4. *label numbers*: gray with hard edges and values up to 99, or 1 to N without gaps. Labels are the values.
    5. *black and white*: gray with two areas at any two levels; soft edges are cut at half. The brighter area is the
       object, unless it covers the whole border of the image.
    6. *one gray per object*: gray with more areas; the darkest is background. Objects are numbered from dark to
       bright, also if their values are large, like the instance numbers of MOTS.
    7. *palette entries*: another palette with hard edges. Labels are the entries if the background is entry 0, and
       count from 1 otherwise.
    8. *one color per object*: labels are those of the DAVIS palette or of the overlay's colors if all areas have such
       a color; otherwise areas are numbered from large to small.

    The background is black, unless black does not touch the border and another area covers all of it; without black, it
    is the area with the longest border. Soft edges, ringing and noise of lossy files are not objects.

    Args:
        path: The file.
        size: Size of the clip (H, W), to which a mask of the same aspect ratio is scaled; the file's own if omitted.
        pixel_aspect: Width of a pixel of the clip divided by its height: the mask may have the displayed size as well.

    Raises:
        MaskError: The file is missing, not an image, a photograph, too large, or of another aspect ratio than ``size``.
    """
    path = Path(path)
    pixels = _decode(path)
    try:
        mask_file = _interpret(pixels)
    except PhotographError:
        text = f"The mask {path.name} has too many colors: it looks like a photograph."
        raise MaskError(text, "photograph", name=path.name) from None
    if size is None or mask_file.mask.shape == size:
        return mask_file
    height, width = mask_file.mask.shape
    check_aspect(mask_file.mask, size, pixel_aspect, path.name)
    return MaskFile(
        resize_mask(mask_file.mask, size), mask_file.rule, (*mask_file.notes, f"scaled from {width}x{height}")
    )


def write_mask(path: str | Path, mask: Mask) -> None:
    """Writes a label map (H, W) uint8 as a PNG with the DAVIS palette, atomically."""
    image = Image.fromarray(mask)
    image.putpalette(PALETTE.tobytes())
    with atomic_path(Path(path)) as partial:
        image.save(partial, format="PNG", compress_level=3)


def _decode(path: Path) -> _Pixels:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path)
            lossy = image.format == "JPEG" or image.info.get("compression") == "jpeg"
            ImageOps.exif_transpose(image, in_place=True)  # without it, an image that is upright is copied
            if image.mode == "P":
                entries = np.array(image, np.uint8)[..., None]
                alpha = np.asarray(image.convert("RGBA"))[..., 3] if "transparency" in image.info else None
                palette = np.frombuffer(bytes(image.getpalette("RGB") or []), np.uint8).reshape(-1, 3)
                palette = np.vstack((palette, np.zeros((256 - len(palette), 3), np.uint8)))
                return _Pixels(entries, _varying(alpha), lossy, palette)
            if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
                return _Pixels(np.asarray(image)[..., None], None, lossy)
            if not image.has_transparency_data:
                return _Pixels(np.asarray(image.convert("RGB")), None, lossy)
            rgba = np.asarray(image.convert("RGBA"))
            return _Pixels(rgba[..., :3], _varying(rgba[..., 3]), lossy)
    except MaskError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a server may raise the warning
        raise _too_large(path) from error
    except (OSError, ValueError, SyntaxError) as error:
        text = f"The mask {path.name} cannot be read as an image."
        raise MaskError(text, "mask_unreadable", name=path.name) from error


def _too_large(path: Path) -> MaskError:
    megapixels = MAX_PIXELS // 1_000_000
    text = f"The mask {path.name} is too large: it has more than {megapixels} megapixels."
    return MaskError(text, "mask_too_large", name=path.name, megapixels=megapixels)


def _used(entries: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The numbers that occur; ``np.unique`` and ``np.bincount`` are slower by far."""
    occurs = np.zeros(256, bool)
    occurs[entries] = True
    return np.flatnonzero(occurs)


def _varying(alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    return None if alpha is None or alpha.min() == alpha.max() else alpha


def _interpret(pixels: _Pixels) -> MaskFile:
    color, palette, notes = pixels.values, pixels.palette, list[str]()
    opaque = None if pixels.alpha is None else 2 * pixels.alpha.astype(np.uint16) >= pixels.alpha.max()
    if palette is not None:
        entries = color[..., 0]
        used = _used(entries)
        if np.array_equal(palette[used], PALETTE[used]):
            return MaskFile(entries if opaque is None else np.where(opaque, entries, 0), "DAVIS palette")
        if len(np.unique(palette[used], axis=0)) == len(used):
            color = palette[entries]
        else:  # the palette was never set: entries are label numbers
            palette = None
    if opaque is not None:
        rule = _shape_from_alpha(color, opaque)
        if rule:
            return MaskFile(opaque.astype(np.uint8), rule)
        color, palette = np.where(opaque[..., None], color, 0), None
    if color.dtype != np.uint8:
        color, ids = _to_bytes(color)
        if ids is not None:
            return _from_ids(color, ids)
    color = _as_gray(color, pixels.lossy)
    areas = find_flat_areas(color, lossy=pixels.lossy)
    if areas.soft:
        notes.append("soft edges cut at half" if len(areas.values) == 2 else "soft edges given to the nearest area")
    if color.shape[2] == 1:
        return _from_gray(areas, notes)
    if palette is not None and not areas.soft:
        return _from_entries(pixels.values[..., 0], areas)
    return _from_colors(areas, notes)


def _shape_from_alpha(color: NDArray[np.uint8], opaque: NDArray[np.bool_]) -> str | None:
    """The rule by which the opaque pixels are one object; ``None`` if their colors say more."""
    inside = color[opaque]
    if (inside == inside[0]).all():
        return "transparency"
    packed = inside.astype(np.int32) @ (1 << (8 * np.arange(inside.shape[1])))
    if np.count_nonzero(np.bincount(packed)) <= _CUT_OUT_COLORS ** (1 if color.shape[2] == 3 else 0.75):
        return None
    same = (color[1:] == color[:-1]).all(axis=2) & opaque[1:] & opaque[:-1]
    return "a cut-out" if same.sum() < _CUT_OUT_FLAT_SHARE * opaque.sum() else None


def _to_bytes(gray: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    """Gray values (H, W, 1) of any number type as uint8.

    Returns:
        The image, and ``None``; or, if the values are large numbers of objects, their ranks and the numbers (N,).
    """
    if gray.dtype == np.bool_:
        return gray.astype(np.uint8) * np.uint8(255), None
    gray = np.nan_to_num(gray, nan=0.0, posinf=0.0, neginf=0.0) if gray.dtype.kind == "f" else gray
    values, ranks = np.unique(gray, return_inverse=True)
    whole = bool((values == np.round(values)).all()) and values[0] >= 0
    if whole and values[-1] <= 255 and not (gray.dtype.kind == "f" and values[-1] <= 1):
        return gray.astype(np.uint8), None
    if whole and 2 < len(values) <= 256:
        ranked = ranks.reshape(gray.shape).astype(np.uint8)
        bright = ranked + np.uint8(256 - len(values))  # small values would be label numbers
        if not find_flat_areas(bright, lossy=False).soft:
            return ranked, values
    low, high = float(values[0]), float(values[-1])
    scaled = (gray.astype(np.float32) - low) * (255 / max(high - low, 1e-12)) if high > low else np.sign(gray) * 255
    return np.round(scaled).astype(np.uint8), None


def _as_gray(color: NDArray[np.uint8], lossy: bool) -> NDArray[np.uint8]:
    """One channel (H, W, 1) if an image has no colors."""
    if color.shape[2] == 1:
        return np.asarray(color)
    red, green, blue = (color[..., channel] for channel in range(3))
    spread = int((np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)).max())
    if spread == 0 or (spread <= _GRAY_SPREAD and (lossy or color.max() > MAX_LABEL_NUMBER)):
        return np.ascontiguousarray(color[..., 1:2])
    return np.ascontiguousarray(color)


def _from_ids(ranked: NDArray[np.uint8], ids: NDArray[Any]) -> MaskFile:
    ignored = (ids == _MOTS_IGNORE) & (ids.min(where=ids > 0, initial=_MOTS_IGNORE) >= 1000)
    background = (ids == 0) | ignored if ids[0] == 0 else np.arange(len(ids)) == 0
    labels = np.where(background, 0, np.cumsum(~background))
    notes = [f"{number} is object {label}" for number, label in zip(ids.tolist(), labels, strict=True) if label]
    notes += ["10000 is the ignored region of MOTS"] if ignored.any() else []
    return MaskFile(labels.astype(np.uint8)[ranked[..., 0]], "one gray per object", tuple(notes))


def _from_gray(areas: FlatAreas, notes: list[str]) -> MaskFile:
    values = areas.values[:, 0]
    labels = values[values > 0]
    if not areas.soft:
        numbers = labels[labels < 255]  # 255 beside label numbers is the void of DAVIS
        small = len(numbers) > 0 and numbers.max() <= MAX_LABEL_NUMBER and not _has_other_background(areas)
        if (small and (len(numbers) == len(labels) or _counts_up(numbers))) or _counts_up(labels):
            return MaskFile(values[areas.index], "label numbers", tuple(notes))
    if len(values) == 1:
        return MaskFile((values[areas.index] > _BLACK).astype(np.uint8), "black and white", tuple(notes))
    background = _background(areas)
    if len(values) == 2:
        if values[background] == values.max():
            notes.append("the dark area is the object, since the bright one covers the whole border")
        return MaskFile((areas.index != background).astype(np.uint8), "black and white", tuple(notes))
    order = [area for area in np.argsort(values) if area != background]
    notes += [f"{values[area]} is object {label}" for label, area in enumerate(order, 1)]
    return MaskFile(_numbered(areas, order), "one gray per object", tuple(notes))


def _has_other_background(areas: FlatAreas) -> bool:
    """Whether label numbers have no 0, and one of them covers the border of the image instead."""
    return len(areas.values) > 1 and areas.values.min() > 0 and _border_shares(areas).max() >= _WHOLE_BORDER


def _counts_up(labels: NDArray[np.uint8]) -> bool:
    return np.array_equal(labels, np.arange(1, len(labels) + 1))


def _from_entries(entries: NDArray[np.uint8], areas: FlatAreas) -> MaskFile:
    background = _background(areas)
    labels = _labels_of_colors(areas, background)
    if labels is not None:
        return MaskFile(labels[areas.index], "one color per object")
    used = _used(entries)
    entry = int(np.bincount(entries[areas.index == background]).argmax())
    if entry == 0:
        return MaskFile(entries, "palette entries")
    numbers = np.zeros(256, np.uint8)
    numbers[used[used != entry]] = range(1, len(used))
    return MaskFile(numbers[entries], "palette entries", (f"entry {entry} is the background",))


def _from_colors(areas: FlatAreas, notes: list[str]) -> MaskFile:
    background = _background(areas)
    labels = _labels_of_colors(areas, background)
    if labels is not None:
        return MaskFile(labels[areas.index], "one color per object", tuple(notes))
    size = np.bincount(areas.index.ravel(), minlength=len(areas.values))
    order = [area for area in np.argsort(-size, kind="stable") if area != background]
    if len(order) > 1:
        notes.append("colors numbered by area")
    return MaskFile(_numbered(areas, order), "one color per object", tuple(notes))


def _numbered(areas: FlatAreas, order: list[Any]) -> Mask:
    labels = np.zeros(len(areas.values), np.uint8)
    labels[order] = range(1, len(order) + 1)
    return np.asarray(labels[areas.index])


def _labels_of_colors(areas: FlatAreas, background: int) -> NDArray[np.uint8] | None:
    """The label of each area (N,) if all areas have different colors of one palette on black, else ``None``."""
    if areas.values[background].max() > _BLACK:
        return None
    objects = np.arange(len(areas.values)) != background
    for palette in (PALETTE[1:24], OBJECT_COLORS):
        distance = np.linalg.norm(areas.values[objects, None].astype(float) - palette[None].astype(float), axis=2)
        nearest = distance.argmin(axis=1)
        if (distance.min(axis=1) <= _MAX_COLOR_DISTANCE).all() and len(np.unique(nearest)) == len(nearest):
            labels = np.zeros(len(objects), np.uint8)
            labels[objects] = nearest + 1
            return labels
    return None


def _background(areas: FlatAreas) -> int:
    """The index of the background area, by what it looks like and by the border of the image."""
    share = _border_shares(areas)
    brightness = areas.values.astype(int).max(axis=1)
    darkest, outermost = int(brightness.argmin()), int(share.argmax())
    has_background = brightness[darkest] <= _BLACK or areas.values.shape[1] == 1
    return darkest if has_background and share[outermost] < _WHOLE_BORDER else outermost


def _border_shares(areas: FlatAreas) -> NDArray[np.float64]:
    """The share of the border of the image in each area (N,)."""
    index = areas.index
    border = np.concatenate((index[0], index[-1], index[:, 0], index[:, -1]))
    return np.asarray(np.bincount(border, minlength=len(areas.values)) / len(border))


def check_aspect(mask: Mask, size: tuple[int, int], pixel_aspect: float, name: str) -> None:
    """Raises MaskError if a mask (H, W) has neither the aspect ratio of a clip of ``size`` (H, W) nor the displayed one."""
    aspect = (mask.shape[1] / mask.shape[0]) / (size[1] / size[0])
    if min(abs(aspect - 1), abs(aspect / pixel_aspect - 1)) > _ASPECT_TOLERANCE:
        sizes = {"mask": f"{mask.shape[1]}x{mask.shape[0]}", "clip": f"{size[1]}x{size[0]}"}
        text = f"The mask {name} is {sizes['mask']}, but the clip is {sizes['clip']}: it has another shape."
        raise MaskError(text, "mask_shape", name=name, **sizes)
