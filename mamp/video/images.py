"""Still images as frames: read upright in RGB, listed in natural order, and resized."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from mamp.video.frame_conversion import composite_on_white
from mamp.video.source import RGB, VideoError, check_size

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def image_paths(folder: Path) -> list[Path]:
    """The frames in a folder (jpg or png), in natural order: frame2 before frame10."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(files, key=_natural_key)


def read_image(path: Path) -> RGB:
    """Reads a frame as RGB (H, W, 3) uint8, with its EXIF orientation applied and transparent pixels over white.

    Raises:
        VideoError: The file is not an image, is damaged, or is too large.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            check_size(path, *image.size)
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                return composite_on_white(np.asarray(upright.convert("RGBA")))
            return np.array(upright.convert("RGB"))
    except VideoError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"The frame {path.name} cannot be read as an image.") from error


def resize_frame(frame: RGB, size: tuple[int, int]) -> RGB:
    """A frame (H, W, 3) uint8 at the processing size (H, W)."""
    if size == frame.shape[:2]:
        return frame
    return np.asarray(cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _natural_key(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.stem)]
