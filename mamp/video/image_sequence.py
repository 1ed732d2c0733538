"""Clips made of images, through Pillow: a folder of frames, a TIFF with several pages, or an animated webp."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mamp.video.frame_conversion import composite_on_white
from mamp.video.images import (
    Page,
    find_frames,
    gray_range,
    image_size,
    most_common_size,
    read_page,
    tiff_pages,
)
from mamp.video.source import RGB, Decoded, VideoError, VideoInfo, check_size

RATE = Fraction(24)  # [frames/s] of images without time stamps; DAVIS is at 24
_NAMED = 3  # files that a note names


class ImageSequence:
    """A folder of frames in the natural order of their names, or a TIFF with a frame on each page.

    Args:
        path: The folder or the TIFF.
        fps: Frame rate [frames/s].

    Raises:
        VideoError: There are no frames, or it is unclear which of the images are frames.
    """

    def __init__(self, path: Path, fps: Fraction = RATE) -> None:
        self._path = path
        self.damage: str | None = None
        left_out: list[Page]
        if path.is_dir():
            frames, other = find_frames(path)
            pages, left_out = [Page(frame) for frame in frames], [Page(image) for image in other]
            if not pages:
                raise VideoError(f"The folder {path.name} holds no frames (jpg, png, tif, webp or bmp).")
            if len({page.path.stem for page in pages}) < len(pages):
                raise VideoError(f"The folder {path.name} holds two frames of one name, such as 0.jpg and 0.png.")
        else:
            pages, left_out = tiff_pages(path), []
            stack = pages[0].stack
            assert stack is not None
            weakref.finalize(self, stack.image.close)
        sizes = [image_size(page) for page in pages]
        size = most_common_size(pages, sizes)
        self._pages = [page for page, own in zip(pages, sizes, strict=True) if own in (size, None)]
        left_out += [page for page, own in zip(pages, sizes, strict=True) if own not in (size, None)]
        self._named = path.is_dir()
        self.files = [page.path for page in self._pages] if self._named else [path]
        self.notes = [_left_out(left_out)] if left_out else []
        self._gray = gray_range(self._pages)
        self.end: int | None = len(self._pages)
        self.info = VideoInfo(
            width=size[1],
            height=size[0],
            fps=fps,
            time_base=1 / fps,
            rotation=0,
            codec=self.files[0].suffix.lower().lstrip("."),
            has_audio=False,
            pixel_format="rgb24",
            duration=float(len(self._pages) / fps),
        )

    def __reduce__(self) -> tuple[type[ImageSequence], tuple[Path, Fraction]]:
        """To read the images in another process too, which opens them again: an open TIFF cannot be passed on."""
        return ImageSequence, (self._path, self.info.fps)

    def name(self, index: int) -> str:
        """See ``Source``."""
        return self._pages[index].path.stem if self._named else f"{index:05d}"

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """See ``Source``."""
        for index in range(seek_pts or 0, len(self._pages)):
            yield Decoded(index, 1, partial(self._image, self._pages[index]))

    def _image(self, page: Page) -> RGB:
        image = read_page(page, self._gray)
        if image.shape[:2] != (self.info.height, self.info.width):
            raise VideoError(f"The frame {page.path.name} has changed while it was read.")
        return image


def _left_out(pages: list[Page]) -> str:
    """A sentence about images that are no frames."""
    names = ", ".join(page.path.name if page.number == 0 else f"page {page.number + 1}" for page in pages[:_NAMED])
    more = f" and {len(pages) - _NAMED} more" if len(pages) > _NAMED else ""
    return f"Left out, since the name or the size differs from that of the other frames: {names}{more}."


class AnimatedWebp:
    """An animated webp: FFmpeg's decoder reads still ones only."""

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, [path]
        self.damage: str | None = None
        self.notes: list[str] = []
        self.end: int | None = None
        first = next(self.decode(), None)
        if first is None:
            raise VideoError(f"{path.name} has no frame that can be decoded.")
        height, width = first.image().shape[:2]
        milliseconds = max(first.duration, 1)
        self.info = VideoInfo(
            width=width,
            height=height,
            fps=Fraction(1000, milliseconds),
            time_base=Fraction(1, 1000),
            rotation=0,
            codec="webp",
            has_audio=False,
            pixel_format="rgba",
            duration=None,
        )

    def name(self, index: int) -> str:
        """See ``Source``."""
        return f"{index:05d}"

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """Decodes from the first frame and ignores ``seek_pts``: each frame is drawn over the previous one."""
        try:
            with Image.open(self.path, formats=("WEBP",)) as image:
                check_size(self.path, *image.size)
                start = 0
                for number in range(getattr(image, "n_frames", 1)):
                    image.seek(number)
                    rgba = np.asarray(image.convert("RGBA"))
                    duration = int(image.info.get("duration", 0)) or 1000 // int(RATE)
                    yield Decoded(start, duration, partial(composite_on_white, rgba))
                    start += duration
        except (VideoError, MemoryError):
            raise
        except Exception:  # Pillow raises many kinds for a damaged file
            self.damage = f"{self.path.name} is damaged; only the frames that decode are used."
