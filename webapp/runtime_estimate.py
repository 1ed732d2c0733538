"""Estimate of a run's duration, from the runs before it or from a short trial on this machine."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from mamp.flow.optical_flow import load_flow
from mamp.masks.overlay import overlay
from mamp.model.encoder import EncoderFunction, device_of
from mamp.prefetch import with_next
from mamp.runs.frame_loop import overlapping
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from mamp.video.synthetic import synthetic_frames, synthetic_mask
from mamp.video.writer import VideoWriter

_TRIAL = (144, 256)  # frame size of the trial (H, W) [pixels]
_MAX_KNOWN = 32  # trials and speeds that are kept
_trial_lock = Lock()  # simultaneous trials would slow each other down

_Kind = tuple[EncoderFunction, Settings, int]  # what a trial depends on: encoder, settings without size, objects
_factors: dict[_Kind, float] = {}  # time of a run's tracked frames, as a multiple of the trial's


def estimate_run_seconds(
    encoder: EncoderFunction, settings: Settings, size: tuple[int, int], frames: int, objects: int = 1, reused: int = 0
) -> float:
    """Expected duration of ``segment_video`` [s]. The first call for given settings and objects takes a second or two.

    Args:
        encoder: The encoder of the run.
        settings: The settings of the run.
        size: Frame size of the clip (H, W).
        frames: Number of frames.
        objects: Number of objects.
        reused: Number of frames that keep the mask of the previous run: these are only drawn.
    """
    kind = _kind(encoder, settings, objects)
    tracked, drawn = _trial_seconds(kind, settings, size)
    return (frames - reused) * (tracked + drawn) * _factors.get(kind, 1.0) + reused * drawn


def learn_speed(
    encoder: EncoderFunction, settings: Settings, size: tuple[int, int], objects: int, frames_per_second: float
) -> None:
    """Takes the speed of a finished run for later estimates: a trial is short, and the machine may be busy meanwhile.

    Args:
        encoder: The encoder of the run.
        settings: The settings of the run.
        size: Frame size of the clip (H, W).
        objects: Number of objects.
        frames_per_second: Speed of the tracked frames, with all that is done for them.
    """
    kind = _kind(encoder, settings, objects)
    _factors[kind] = 1 / (frames_per_second * sum(_trial_seconds(kind, settings, size)))
    for oldest in list(_factors)[:-_MAX_KNOWN]:
        _factors.pop(oldest, None)


def _kind(encoder: EncoderFunction, settings: Settings, objects: int) -> _Kind:
    # The trial has a size of its own.
    return encoder, replace(settings, short_side=0, detail="normal"), objects


def _trial_seconds(kind: _Kind, settings: Settings, size: tuple[int, int]) -> tuple[float, float]:
    """Time for tracking a frame, and for drawing and writing it, by the trial [s]."""
    with _trial_lock:
        tracking, writing = _trial(*kind)
    height, width = settings.processing_size(size)
    return tracking * height * width, writing * size[0] * size[1]


@lru_cache(maxsize=_MAX_KNOWN)
def _trial(encoder: EncoderFunction, settings: Settings, objects: int) -> tuple[float, float]:
    """Time per pixel for tracking and for drawing and writing the overlay [s]."""
    mask = synthetic_mask(_TRIAL, objects)
    chosen, full = settings.with_short_warmup()
    flow = load_flow(replace(chosen, device=str(device_of(encoder))))
    tracker = MaskTracker.from_settings(chosen, encoder, flow)
    tracking, writing = [], []
    with (
        TemporaryDirectory() as folder,
        VideoWriter(Path(folder) / "trial.mp4", None, _TRIAL) as video,
        overlapping(chosen, encoder) as ahead,
    ):
        for t, (frame, following) in enumerate(with_next(synthetic_frames(_TRIAL, full + 3))):
            start = time.monotonic()
            tracked = tracker.step(frame, mask if t == 0 else None, next_frame=following if ahead else None)
            tracking.append(time.monotonic() - start)
            start = time.monotonic()
            video.write(overlay(frame, tracked), Fraction(t, 25))
            writing.append(time.monotonic() - start)
    pixels = _TRIAL[0] * _TRIAL[1]
    return min(tracking[-3:-1]) / pixels, min(writing[-2:]) / pixels  # the last frame has no next one
