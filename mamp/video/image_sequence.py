"""Clips made of images, through Pillow: a folder of frames, or an animated webp."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mamp.video.frame_conversion import composite_on_white
from mamp.video.images import image_paths, read_image
from mamp.video.source import RGB, Decoded, VideoError, VideoInfo, check_size

RATE = Fraction(24)  # [frames/s] of a folder of frames, which has no time stamps; DAVIS is at 24


class ImageSequence:
    """A folder of frames, jpg or png, in the natural order of their names."""

    def __init__(self, path: Path) -> None:
        self.damage: str | None = None
        self.files = image_paths(path)
        if not self.files:
            raise VideoError(f"The folder {path.name} holds no frames (jpg or png).")
        if len({p.stem for p in self.files}) < len(self.files):
            raise VideoError(f"The folder {path.name} holds two frames of one name, such as 0.jpg and 0.png.")
        height, width = read_image(self.files[0]).shape[:2]
        self.end: int | None = len(self.files)
        self.info = VideoInfo(
            width=width,
            height=height,
            fps=RATE,
            time_base=1 / RATE,
            rotation=0,
            codec=self.files[0].suffix.lower().lstrip("."),
            has_audio=False,
            pixel_format="rgb24",
            duration=float(len(self.files) / RATE),
        )

    def name(self, index: int) -> str:
        """See ``Source``."""
        return self.files[index].stem

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """See ``Source``."""
        for index in range(seek_pts or 0, len(self.files)):
            yield Decoded(index, 1, partial(self._image, index))

    def _image(self, index: int) -> RGB:
        image = read_image(self.files[index])
        if image.shape[:2] != (self.info.height, self.info.width):
            names = (self.files[index].name, self.files[0].name)
            raise VideoError(f"The frame {names[0]} is not of the size of {names[1]}; all frames must be of one size.")
        return image


class AnimatedWebp:
    """An animated webp: FFmpeg's decoder reads still ones only."""

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, [path]
        self.damage: str | None = None
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
        except VideoError:
            raise
        except (OSError, ValueError, EOFError, Image.DecompressionBombError):
            self.damage = f"{self.path.name} is damaged; only the frames that decode are used."
