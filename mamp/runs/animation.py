"""A small moving picture of a run's overlay, for messages and issue trackers: GIF or WebP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mamp.files import atomic_path
from mamp.video.reader import VideoReader

_MAX_SIDE = 480  # [pixels] of the longer side
_MAX_RATE = 12.5  # [pictures/s]
_MAX_PICTURES = 300  # kept in memory; a longer clip has fewer pictures a second


def write_animation(video: str | Path, path: Path) -> Iterator[int]:
    """Writes a video as an animation that plays in a loop, at most 480 pixels wide or high and 12.5 pictures a second.

    Args:
        video: The video.
        path: Ends in .gif or .webp. It is written once all frames are read.

    Yields:
        The number of frames done.
    """
    reader = VideoReader(video)
    interval = max(1 / _MAX_RATE, float(reader.info.fps and reader.count() / reader.info.fps) / _MAX_PICTURES)
    pictures: list[Image.Image] = []
    times: list[float] = []
    end = 0.0
    for frame in reader:
        if not times or float(frame.time) >= times[-1] + interval - 1e-6:
            scale = min(1.0, _MAX_SIDE / max(frame.image.shape[:2]))
            small = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            pictures.append(Image.fromarray(np.asarray(small, np.uint8)))
            times.append(float(frame.time))
        end = float(frame.time + frame.duration)
        yield frame.index + 1
    durations = [max(20, round(1000 * held)) for held in np.diff([*times, end])]  # [ms]; browsers slow down below 20
    with atomic_path(path) as partial:
        pictures[0].save(
            partial,
            format=path.suffix[1:].upper(),
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            quality=80,
        )
