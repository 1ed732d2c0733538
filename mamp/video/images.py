"""Still images as frames: found in a folder, read upright in RGB at 8 bits, and resized."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mamp.video.frame_conversion import composite_on_white
from mamp.video.source import RGB, VideoError, check_size

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")

_DEPTHS = (8, 10, 12, 14, 16, 20, 24, 32)  # [bits] of sensors; their values are stored in 16 or 32 bits
_SAMPLES = 32  # images of a folder that decide its gray range
_NARROW = 1 / 8  # of the depth; a smaller range, as that of thermal cameras, is stretched
_TAIL = 0.1  # [%] of the pixels on either side that a stretched range may clip
_ORIENTATION = 0x0112  # EXIF


class Stack(NamedTuple):
    """An open file with several pages, for one thread at a time: opening it again for each page would read all before."""

    image: Image.Image
    lock: Lock


class Page(NamedTuple):
    """An image: a file, or one page of a stack."""

    path: Path
    number: int = 0
    stack: Stack | None = None


def find_frames(folder: Path) -> tuple[list[Path], list[Path]]:
    """The frames in a folder in natural order (frame2 before frame10), and other images, which are left out.

    Frames are of one kind: of one type, with names that differ by their numbers only. If there are several kinds, they are
    the kind of more than half of the numbered images. Images without numbers are frames if all are.

    Raises:
        VideoError: There are several series of numbered images, and none is the larger part.
    """
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    images = sorted(files, key=_natural_key)
    numbered = [path for path in images if re.search(r"\d", path.stem)]
    if not numbered:
        return images, []
    kinds = Counter(map(_kind, numbered)).most_common()
    if 2 * kinds[0][1] <= len(numbered):
        if kinds[1][1] > 1:
            names = [next(path.name for path in numbered if _kind(path) == kind) for kind, _ in kinds[:2]]
            raise VideoError(
                f"The folder {folder.name} holds several series of images, such as {names[0]} and {names[1]}; "
                "put the frames into a folder of their own."
            )
        return images, []
    frames = [path for path in numbered if _kind(path) == kinds[0][0]]
    taken = set(frames)
    return frames, [path for path in images if path not in taken]


def tiff_pages(path: Path) -> list[Page]:
    """The pages of a TIFF.

    Raises:
        VideoError: It is no TIFF, or has one page only.
    """
    try:
        image = Image.open(path, formats=("TIFF",))
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise VideoError(f"{path.name} cannot be read as an image.") from error
    try:
        count = int(getattr(image, "n_frames", 1))
        if count < 2:
            raise VideoError(f"{path.name} is a single image, not a clip.", "single_image", name=path.name)
    except Exception as error:
        image.close()
        if isinstance(error, VideoError):
            raise
        raise VideoError(f"{path.name} cannot be read as an image.") from error
    stack = Stack(image, Lock())
    return [Page(path, number, stack) for number in range(count)]


def most_common_size(pages: Sequence[Page], sizes: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
    """The size (H, W) [pixels] of more than half of the images.

    Args:
        pages: The images.
        sizes: The size in each header, or ``None``; see ``image_size``.

    Raises:
        VideoError: There is none, or no image can be read.
    """
    known = [(size, page) for size, page in zip(sizes, pages, strict=True) if size is not None]
    if not known:
        raise VideoError(f"The frame {pages[0].path.name} cannot be read as an image.")
    size, count = Counter(size for size, _ in known).most_common(1)[0]
    if 2 * count <= len(known):
        first = known[0]
        other = next(page for own, page in known if own != first[0])
        raise VideoError(
            f"The frame {other.path.name} is not of the size of {first[1].path.name}; all frames must be of one size."
        )
    check_size(known[0][1].path, size[1], size[0])
    return size


def image_size(page: Page) -> tuple[int, int] | None:
    """The upright size (H, W) [pixels] in the header of an image; ``None`` if it cannot be read."""
    with suppress(VideoError), _opened(page) as image:
        width, height = image.size
        return (width, height) if image.getexif().get(_ORIENTATION, 1) >= 5 else (height, width)
    return None


def gray_range(pages: Sequence[Page]) -> tuple[float, float]:
    """The values that become black and white in gray images of more than 8 bits; one range for a whole clip.

    Black is 0, and white the largest value of the sensor's depth, as 4095 for 12 bits, or 1 for floating point. A clip that
    uses less than an eighth of that, as those of thermal cameras, and one of other floating point values is stretched.

    Args:
        pages: The images of the clip, of which some are read.
    """
    step = max(len(pages) // _SAMPLES, 1)
    values = [pixels for page in pages[::step] if (pixels := _deep_gray(page)) is not None]
    if not values:
        return 0.0, 255.0
    lowest, highest = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    limits = [1.0, 255.0] if values[0].dtype.kind == "f" else [2.0**bits - 1 for bits in _DEPTHS]
    white = next((limit for limit in limits if highest <= limit), 0.0)
    tails = [np.percentile(v, (_TAIL, 100 - _TAIL)) for v in values]
    low, high = min(float(tail[0]) for tail in tails), max(float(tail[1]) for tail in tails)
    if lowest >= 0 and high - low >= _NARROW * white > 0:
        return 0.0, white
    return (low, high) if high > low else (lowest, max(highest, lowest + 1))


def read_image(path: Path) -> RGB:
    """Reads an image file as a frame; see ``read_page``."""
    return read_page(Page(path))


def read_page(page: Page, gray: tuple[float, float] | None = None) -> RGB:
    """Reads a frame as RGB (H, W, 3) uint8, with its EXIF orientation applied and transparent pixels over white.

    Args:
        page: The image.
        gray: Values of gray images of more than 8 bits that become black and white; from this image alone by default.

    Raises:
        VideoError: The file is not an image, is damaged, or is too large.
    """
    gray = gray or gray_range([page])
    with _opened(page) as image:
        check_size(page.path, *image.size)
        upright = ImageOps.exif_transpose(image)
        if _is_deep_gray(upright):
            black, white = gray
            scaled = (np.asarray(upright, np.float32) - black) * (255 / (white - black))
            gray8 = np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)
            return np.repeat(gray8[..., None], 3, axis=2)
        if upright.has_transparency_data:
            rgba = np.asarray(upright.convert("RGBA"))
            if image.format != "BMP" or rgba[..., 3].any():  # the fourth byte of a BMP may be padding
                return composite_on_white(rgba)
        return np.array(upright.convert("RGB"))


def resize_frame(frame: RGB, size: tuple[int, int]) -> RGB:
    """A frame (H, W, 3) uint8 at the processing size (H, W)."""
    if size == frame.shape[:2]:
        return frame
    return np.asarray(cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _deep_gray(page: Page) -> NDArray[Any] | None:
    """The finite values of a gray image of more than 8 bits, as a vector; ``None`` for other and unreadable images."""
    with suppress(VideoError), _opened(page) as image:
        check_size(page.path, *image.size)
        values = np.asarray(image) if _is_deep_gray(image) else np.empty(0)
        finite = values[np.isfinite(values)]
        return finite if finite.size else None
    return None


@contextmanager
def _opened(page: Page) -> Iterator[Image.Image]:
    """An image at its page.

    Raises:
        VideoError: It cannot be read; errors inside of the block count.
    """
    try:
        if page.stack is not None:
            with page.stack.lock:
                page.stack.image.seek(page.number)
                yield page.stack.image
        else:
            with Image.open(page.path, formats=FORMATS) as image:
                yield image
    except (VideoError, MemoryError):
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise VideoError(f"The frame {page.path.name} cannot be read as an image.") from error


def _is_deep_gray(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _kind(path: Path) -> tuple[str, str]:
    """What the names of a series of frames have in common."""
    suffix = path.suffix.lower()
    return re.sub(r"\d+", "#", path.stem), {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix, suffix)


def _natural_key(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.stem)]
