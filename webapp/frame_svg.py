"""Frames of the clip as SVG: everything that is drawn over them has the coordinates of the clip."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.palette import color_of

Image = NDArray[np.uint8]
Size = tuple[int, int]  # height and width [pixels of the clip]


def image_svg(picture: Image, size: Size, longest: float) -> str:
    """A picture over the whole frame, as a JPEG within the page.

    Args:
        picture: RGB (H, W, 3) uint8 of any size.
        size: Frame size.
        longest: Longest side of the JPEG [pixels]; a smaller picture keeps its size.
    """
    scale = min(1.0, longest / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    source = data_uri(np.asarray(small, np.uint8), ".jpg")
    return f'<image href="{source}" width="{size[1]}" height="{size[0]}" preserveAspectRatio="none"/>'


def data_uri(picture: Image, kind: str) -> str:
    """A picture, RGB (H, W, 3) uint8, as the address of an image: ``kind`` is ".jpg" or ".png"."""
    done, data = cv2.imencode(kind, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    name = "jpeg" if kind == ".jpg" else "png"
    return f"data:image/{name};base64,{base64.b64encode(data.tobytes()).decode()}"


def label_color(label: int) -> str:
    """The color of a label; gray for the background."""
    return "rgb({},{},{})".format(*color_of(label)) if label else "rgb(128,128,128)"


def outlined_path(line: str) -> str:
    """A path that is seen on any picture."""
    return f'<path class="under" d="{line}"/><path d="{line}"/>'
