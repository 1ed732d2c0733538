"""The first screen of the page: what it does, and the examples as thumbnails."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path

from PIL import Image

from mamp import VideoReader, overlay, read_mask
from webapp.languages import template_text

# NAME.mp4, NAME.png (the mask of its first frame) and results/NAME.
EXAMPLES = Path(__file__).parent.parent / "examples"
EXAMPLE_NAMES = ("cockatoo", "cup", "box", "lawn", "street", "shapes")
_STATIC = Path(__file__).parent / "static"
_THUMBNAIL = (240, 160)  # (W, H) [pixels]
_PAPER, _LICENSE = "https://arxiv.org/abs/2107.12569", "https://opensource.org/license/bsd-3-clause"


def intro_html() -> str:
    """Template of what the page does, in words and as a clip that a line divides into before and after; and its sources."""
    space = os.environ.get("SPACE_ID")
    code = f"https://huggingface.co/spaces/{html.escape(space)}/tree/main" if space else None
    links = [
        ("intro.paper", _PAPER),
        *([("intro.code", code)] if code else []),
        ("intro.license", _LICENSE),
    ]
    anchors = " · ".join(
        f'<a href="{url}" target="_blank" rel="noopener">{template_text(key)}</a>' for key, url in links
    )
    return (
        '<div class="intro"><div><h1>'
        f"{template_text('intro.heading')}</h1><p>{template_text('intro.what')}</p>"
        f'<p class="intro-more">{template_text("intro.how")}</p><p class="intro-links">{anchors}</p></div>'
        '<picture class="intro-more">'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{_data_url(_STATIC / "intro.jpg")}">'
        f'<img width="320" height="240" alt="{template_text("intro.animation")}" '
        f'src="{_data_url(_STATIC / "intro.webp")}"></picture></div>'
    )


def gallery_html() -> str:
    """Template of a button for each example: its first frame with its mask, and what it shows."""
    buttons = "".join(
        f'<button type="button" data-example="{name}" aria-labelledby="example-{name}" '
        f'aria-describedby="example-{name}-shows"><img alt="" width="{_THUMBNAIL[0]}" height="{_THUMBNAIL[1]}" '
        f'src="{_thumbnail(name)}"><strong id="example-{name}">{template_text(f"gallery.{name}")}</strong>'
        f'<span id="example-{name}-shows">{template_text(f"gallery.{name}_shows")}</span></button>'
        for name in EXAMPLE_NAMES
    )
    return f'<div class="examples" role="group" aria-label="{template_text("gallery.examples")}">{buttons}</div>'


def _thumbnail(name: str) -> str:
    """The middle of an example's first frame, with its mask, as a data URL."""
    frame = VideoReader(EXAMPLES / f"{name}.mp4").frame(0).image
    image = Image.fromarray(overlay(frame, read_mask(EXAMPLES / f"{name}.png")))
    scale = max(_THUMBNAIL[0] / image.width, _THUMBNAIL[1] / image.height)
    width, height = round(image.width * scale), round(image.height * scale)
    left, top = (width - _THUMBNAIL[0]) // 2, (height - _THUMBNAIL[1]) // 2
    file = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).crop(
        (left, top, left + _THUMBNAIL[0], top + _THUMBNAIL[1])
    ).save(file, "WEBP", quality=75)
    return _as_data_url(file.getvalue(), "webp")


def _data_url(path: Path) -> str:
    return _as_data_url(path.read_bytes(), {".jpg": "jpeg"}.get(path.suffix, path.suffix[1:]))


def _as_data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
