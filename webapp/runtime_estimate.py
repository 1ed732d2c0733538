"""How long a run will take, from a short trial on this machine."""

from __future__ import annotations

import time
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from mamp.masks.overlay import overlay
from mamp.model.encoder import EncoderFunction
from mamp.settings import Settings
from mamp.video.synthetic import synthetic_frames, synthetic_mask
from mamp.video.writer import VideoWriter

_TRIAL = (144, 256)  # (H, W) of the trial's frames [pixels]
_trials = Lock()  # two trials at once would both come out too slow


def seconds_of_run(encoder: EncoderFunction, settings: Settings, size: tuple[int, int], frames: int) -> float:
    """What a run of ``segment_video`` is likely to take [s]; the first call for some settings takes a second or two.

    Args:
        encoder: As for the run.
        settings: As for the run.
        size: Of the clip's frames (H, W).
        frames: Their number.
    """
    with _trials:
        tracking, drawing = _trial(encoder, settings)
    height, width = settings.processing_size(size)
    return frames * (tracking * height * width + drawing * size[0] * size[1])


@lru_cache(maxsize=32)
def _trial(encoder: EncoderFunction, settings: Settings) -> tuple[float, float]:
    """Seconds for each pixel that is tracked, and for each that is drawn and written."""
    mask = synthetic_mask(_TRIAL, 1)
    chosen, full = settings.with_short_warmup()
    tracker = chosen.tracker(encoder, chosen.flow_function())
    tracking, drawing = [], []
    with TemporaryDirectory() as folder, VideoWriter(Path(folder) / "trial.mp4", None, _TRIAL) as video:
        for t, frame in enumerate(synthetic_frames(_TRIAL, full + 2)):
            began = time.monotonic()
            found = tracker.step(frame, mask if t == 0 else None)
            tracking.append(time.monotonic() - began)
            began = time.monotonic()
            video.write(overlay(frame, found), Fraction(t, 25))
            drawing.append(time.monotonic() - began)
    pixels = _TRIAL[0] * _TRIAL[1]
    return min(tracking[-2:]) / pixels, min(drawing[-2:]) / pixels
