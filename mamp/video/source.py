"""What all sources of frames share: the properties of a clip, its decoded frames and the error for the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mamp.errors import UserError

RGB = NDArray[np.uint8]

MAX_PIXELS = 8192 * 4352  # in a frame: 8K, rounded up as in cameras; headers are not trusted


class VideoError(UserError):
    """A clip that cannot be read or written; the message is one sentence for the user."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a clip that are known before its frames are counted.

    Attributes:
        width: Width of the upright frame [pixels].
        height: Height of the upright frame [pixels].
        fps: Average rate in the file; if there is none, the median rate of the first frames [frames/s].
        time_base: Unit of the time stamps [s].
        rotation: Clockwise rotation that turns stored frames upright [degrees: 0, 90, 180, 270].
        codec: Name of the video codec.
        has_audio: Whether the clip has an audio track.
        pixel_format: FFmpeg's name of the pixel format.
        duration: Duration in the file [s].
        pixel_aspect: Width of an upright pixel divided by its height.
        start: Time stamp of the first frame in the file [s].
    """

    width: int
    height: int
    fps: Fraction
    time_base: Fraction
    rotation: int
    codec: str
    has_audio: bool
    pixel_format: str
    duration: float | None
    pixel_aspect: Fraction = Fraction(1)
    start: Fraction = Fraction(0)


@dataclass(frozen=True)
class Decoded:
    """A decoded frame before conversion to RGB, which costs more than decoding.

    Attributes:
        pts: Time stamp [ticks of the time base]; ``None`` if the file has none.
        duration: Display duration [ticks]; 0 if unknown.
        image: Converts the frame to upright RGB (H, W, 3) uint8.
    """

    pts: int | None
    duration: int
    image: Callable[[], RGB]


class Source(Protocol):
    """A clip that can be decoded any number of times."""

    info: VideoInfo
    files: list[Path]  # that are read
    notes: list[str]  # sentences about how the clip is read
    damage: str | None
    end: int | None  # end of the last frame according to the file [ticks]

    def name(self, index: int) -> str:
        """The name of a frame."""
        ...

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """Decodes from the first frame, or from a frame at or before the time stamp ``seek_pts`` [ticks]."""
        ...


def check_size(path: Path, width: int, height: int) -> None:
    """Rejects frames that are too large, before memory is allocated for them.

    Raises:
        VideoError: The frames have more than ``MAX_PIXELS`` pixels.
    """
    if width * height > MAX_PIXELS:
        text = f"{path.name} is {width}x{height}: frames of more than 8K cannot be taken."
        raise VideoError(text, "above_8k", name=path.name, width=width, height=height)
