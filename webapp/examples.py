"""The first screen of the page: what it does, and the examples as thumbnails."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path

from PIL import Image

from mamp import VideoReader, overlay, read_mask

# NAME.mp4, NAME.png (the mask of its first frame) and results/NAME.
EXAMPLES = Path(__file__).parent.parent / "examples"
EXAMPLES_SHOW = {
    "cup": "A cup turned in a hand",
    "lawn": "Two people, one passes a post and a tripod",
    "street": "People who cross a street, small and alike",
    "shapes": "Shapes that hide each other",
}
_STATIC = Path(__file__).parent / "static"
_THUMBNAIL = (240, 160)  # (W, H) [pixels]
_PAPER, _LICENSE = "https://arxiv.org/abs/2107.12569", "https://opensource.org/license/bsd-3-clause"


def intro_html() -> str:
    """What the page does, in words and as a clip that a line divides into before and after; and where it comes from."""
    space = os.environ.get("SPACE_ID")
    code = f"https://huggingface.co/spaces/{html.escape(space)}/tree/main" if space else None
    links = [
        ("Paper (arXiv 2107.12569)", _PAPER),
        *([("Code", code)] if code else []),
        ("License: BSD-3-Clause", _LICENSE),
    ]
    anchors = " · ".join(f'<a href="{url}" target="_blank" rel="noopener">{text}</a>' for text, url in links)
    return (
        '<div class="intro"><div><h1>Follow objects through a video</h1>'
        "<p>Paint objects on one frame; get the video with an overlay, and one mask per frame. The model was trained "
        'without masks, class labels or boxes.</p><p class="intro-more">Fill an object or scribble on it. One frame is '
        f'enough; correct others where you like.</p><p class="intro-links">{anchors}</p></div>'
        '<picture class="intro-more">'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{_data_url(_STATIC / "intro.jpg")}">'
        f'<img width="320" height="240" alt="A clip of a cup in a hand: left of a moving line as filmed, right of it with '
        f'the masks of cup and hand" src="{_data_url(_STATIC / "intro.webp")}"></picture></div>'
    )


def gallery_html() -> str:
    """A button for each example: its first frame with its mask, and what it shows."""
    buttons = "".join(
        f'<button type="button" data-example="{name}" aria-labelledby="example-{name}" '
        f'aria-describedby="example-{name}-shows"><img alt="" width="{_THUMBNAIL[0]}" height="{_THUMBNAIL[1]}" '
        f'src="{_thumbnail(name)}"><strong id="example-{name}">{name.capitalize()}</strong>'
        f'<span id="example-{name}-shows">{shows}</span></button>'
        for name, shows in EXAMPLES_SHOW.items()
    )
    return f'<div class="examples" role="group" aria-label="Examples">{buttons}</div>'


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
