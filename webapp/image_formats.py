"""The image formats that the server opens, wherever it does: also in Gradio, which opens what its editors receive."""

from __future__ import annotations

import warnings

from PIL import Image

from mamp.masks.label_map import MAX_PIXELS

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def restrict_image_formats() -> None:
    """Makes Pillow open ``FORMATS`` only where the caller names no others, and no image of more than ``MAX_PIXELS``.

    Pillow would try some forty formats, by content and not by name; for EPS it starts Ghostscript. The effect is for the
    whole process.
    """
    Image.init()
    Image.ID[:] = FORMATS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
