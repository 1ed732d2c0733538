"""Where a run stands: how much of it is done, how fast, and a picture of it now and then."""

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
    """Where a run stands after a frame."""

    frame: int  # the number of the frame just finished
    done: int
    frames_total: int
    fps: float  # frames tracked a second; frames rendered, where none had to be tracked
    seconds_left: float | None  # not known while masks are missing and none was tracked yet
    preview: Image | None = None  # RGB (H, W, 3), about once a second
    result: Result | None = None  # on the last update only


class Progress:
    """Counts what a run does.

    Args:
        done: The frames that have a mask; it grows as the run goes on.
        total: Frames of the clip.
        overlay_style: How the objects are laid over the frames of the preview.

    Attributes:
        tracked: Frames that were tracked.
        rendered: Frames that are in the video.
    """

    def __init__(self, done: Sized, total: int, overlay_style: OverlayStyle | None) -> None:
        self._done, self._total, self._overlay_style = done, total, overlay_style
        self.tracked = self.rendered = 0
        self._began = time.monotonic()
        self._shown = 0.0
        self._last: Update | None = None

    @property
    def seconds(self) -> float:
        """Since the run began [s]."""
        return time.monotonic() - self._began

    def update(self, index: int, image: Image, mask: Image | None = None) -> Update:
        """An update, about once a second with the picture: the overlay, or a frame and its mask to make it of."""
        now = time.monotonic()
        shown = None
        if now - self._shown >= _PREVIEW_SECONDS:
            shown, self._shown = image if mask is None else overlay(image, mask, self._overlay_style), now
        self._last = replace(self._at(index), preview=shown)
        return self._last

    def last(self, index: int, preview: Image | None, result: Result) -> Update:
        """The update that ends a run; ``index`` is its frame where nothing was left to do."""
        return replace(self._last or self._at(index), seconds_left=0.0, preview=preview, result=result)

    def _at(self, index: int) -> Update:
        done = len(self._done)
        fps = max(1, self.tracked or self.rendered) / max(1e-6, self.seconds)
        known = self.tracked or done == self._total
        return Update(index, done, self._total, fps, (self._total - done) / fps if known else None)
