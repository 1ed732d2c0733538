"""The limit of one request: nobody occupies the machine for longer than a stated time."""

from __future__ import annotations

import os
import time

from webapp.html import duration_text
from webapp.languages import message

MAX_SECONDS = 60 * float(os.environ.get("MAMP_MAX_MINUTES", "30"))  # of one run or export
MAX_PROCESSING_PIXELS = 4_000_000  # of a frame that is matched: memory grows with it, to about 5 GB


class WorkLimitError(ValueError):
    """A request takes too long or too much memory; the message is one sentence for the visitor."""


def check_work(seconds: float, processing_size: tuple[int, int]) -> None:
    """Checks a request before it begins.

    Args:
        seconds: Expected duration [s].
        processing_size: Size of the frames that are matched (H, W) [pixels].

    Raises:
        WorkLimitError: The request is too large; the message says what to change.
    """
    height, width = processing_size
    if height * width > MAX_PROCESSING_PIXELS:
        raise WorkLimitError(
            message("limit.size", width=width, height=height, megapixels=f"{MAX_PROCESSING_PIXELS / 1e6:g}")
        )
    if seconds > MAX_SECONDS:
        raise WorkLimitError(message("limit.time", time=duration_text(seconds), limit=limit_text()))


def limit_text() -> str:
    """The longest duration of one request in words."""
    return duration_text(MAX_SECONDS)


def deadline() -> float:
    """The time at which a request that begins now is stopped, if it takes longer than expected [s since the epoch]."""
    return time.time() + MAX_SECONDS
