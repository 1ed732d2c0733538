"""Progress of a run: frames done, speed, time left, and a preview about once a second."""

from __future__ import annotations

import time
from collections.abc import Sized
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mamp.masks.overlay import OverlayStyle, overlay
from mamp.runs.results import Result

Image = NDArray[np.uint8]

_PREVIEW_SECONDS = 1.0


@dataclass(frozen=True)
class Update:
    """Progress of a run after a frame."""

    frame: int  # number of the frame just finished
    done: int
    frames_total: int
    fps: float  # frames tracked per second, without setup and reused frames; frames rendered where hardly any was tracked
    seconds_left: float | None  # ``None`` while masks are missing and no two frames in a row were tracked yet
    preview: Image | None = None  # RGB (H, W, 3), about once a second
    result: Result | None = None  # on the last update only


class Previews:
    """Overlays to look at during a run, about once a second.

    Args:
        style: Style of the overlays.
    """

    def __init__(self, style: OverlayStyle | None) -> None:
        self._style = style
        self._last = 0.0

    def __call__(self, image: Image, mask: Image | None = None) -> Image | None:
        """The preview of a frame; ``None`` if the last one is younger than a second.

        Args:
            image: The overlay, or, with ``mask``, the frame to draw it over, RGB (H, W, 3) uint8.
            mask: Label map (H, W) uint8 of the frame.
        """
        now = time.monotonic()
        if now - self._last < _PREVIEW_SECONDS:
            return None
        self._last = now
        return image if mask is None else overlay(image, mask, self._style)


class Progress:
    """Counts the frames of a run.

    Args:
        done: The frames with a mask, which grow during the run.
        total: Number of frames in the clip.

    Attributes:
        rendered: Number of frames in the video.
    """

    def __init__(self, done: Sized, total: int) -> None:
        self._done, self._total = done, total
        self.rendered = 0
        self._start = time.monotonic()
        self._last: Update | None = None
        self._tracked = 0  # all frames that were tracked
        self._latest: tuple[int, float] | None = None  # number of the last one, and when its mask was kept [s]
        self._timed, self._seconds_timed = 0, 0.0  # frames that followed another one at once, and their time [s]

    @property
    def seconds(self) -> float:
        """Time since the start of the run [s]."""
        return time.monotonic() - self._start

    def tracked(self, index: int) -> None:
        """Counts a tracked frame.

        Its time counts for the speed if the frame beside it was the last one: only then is there no setup and no reused
        frame in it.
        """
        now = time.monotonic()
        if self._latest is not None and abs(index - self._latest[0]) == 1:
            self._timed += 1
            self._seconds_timed += now - self._latest[1]
        self._tracked += 1
        self._latest = index, now

    def pause(self) -> None:
        """Notes that there is other work before the next frame is tracked."""
        self._latest = None

    def update(self, index: int, preview: Image | None) -> Update:
        """An update after frame ``index``, with its preview if there is one."""
        self._last = replace(self._at(index), preview=preview)
        return self._last

    def last(self, index: int, preview: Image | None, result: Result) -> Update:
        """The last update of a run; ``index`` is its frame if there was nothing to do."""
        return replace(self._last or self._at(index), seconds_left=0.0, preview=preview, result=result)

    def _at(self, index: int) -> Update:
        done = len(self._done)
        if self._timed:
            fps = self._timed / max(1e-6, self._seconds_timed)
        else:
            fps = max(1, self._tracked or self.rendered) / max(1e-6, self.seconds)
        known = self._timed or done == self._total
        return Update(index, done, self._total, fps, (self._total - done) / fps if known else None)
