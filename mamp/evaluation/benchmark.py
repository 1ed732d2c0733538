"""The benchmark of a run: milliseconds per frame by stage, memory, and comparisons."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mamp.evaluation.comparisons import COMPARISONS
from mamp.evaluation.throughput import encoder_throughput, peak_memory
from mamp.evaluation.workload import Workload
from mamp.flow.optical_flow import Flow, FlowEstimator, load_flow
from mamp.masks.overlay import overlay
from mamp.model.checkpoint import load_encoder
from mamp.model.encoder import EncoderFunction, device_of
from mamp.prefetch import prefetched
from mamp.propagation.reference_motion import FLOW_WAIT
from mamp.runs.frame_loop import overlaps, track_frames
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.reader import Frame, VideoReader
from mamp.video.synthetic import synthetic_clip, synthetic_mask
from mamp.video.writer import VideoWriter

Image = NDArray[np.uint8]

_WARM_UP = 7  # frames, until the paper's memory is full and the libraries have chosen their algorithms
STAGES = ("decode", "flow", "encode", "match", "read-out", "render", "write")
_CHAINS = {  # stages that run one after another
    "reading": ("decode",),
    "flow": ("flow",),
    "network": ("encode", "match", "read-out"),
    "writing": ("render", "write"),
}
_CHAINS_ON_CPU = {  # if stages overlap there
    "reading": ("decode",),
    "flow and features": ("flow", "encode"),
    "matching": ("match", "read-out"),
    "writing": ("render", "write"),
}


class TimedFlow:
    """A flow estimator with a stage timer."""

    def __init__(self, flow: FlowEstimator, timer: StageTimer) -> None:
        self.accepts_initial_flow = flow.accepts_initial_flow
        self._flow, self._timer = flow, timer

    def __call__(self, *frames: Image, **keywords: Any) -> Flow:
        with self._timer.stage("flow"):
            return self._flow(*frames, **keywords)


def benchmark(
    settings: Settings,
    *,
    clip: Path | None = None,
    frames: int = 30,
    objects: int = 1,
    against: str | None = None,
) -> dict[str, Any]:
    """Measures a run stage by stage and prints tables.

    Args:
        settings: Settings of the run.
        clip: The clip; a synthetic one if not given.
        frames: Number of frames to measure.
        objects: Number of objects.
        against: Also measure one of ``COMPARISONS``, interleaved.

    Returns:
        A report for JSON.
    """
    libraries = peak_memory()
    short, references_from = settings.with_short_warmup()
    warm_up = max(_WARM_UP, references_from)
    with tempfile.TemporaryDirectory() as folder:
        clip = clip or synthetic_clip(Path(folder) / "clip.mp4", settings.short_side or 480, frames + warm_up)
        reader = VideoReader(clip)
        workload = Workload(
            settings=short,
            encoder=load_encoder(short.weights, device=short.device),
            reader=reader,
            mask=synthetic_mask((reader.info.height, reader.info.width), objects),
            warm_up=min(warm_up, reader.count() - 1),
            frames=frames,
        )
        timer = StageTimer()
        measured, seconds = _measure(workload, timer, Path(folder))
        report = _report_stages(workload, timer, measured, seconds)
        report |= {"peak_memory_mb": round(peak_memory() / 2**20), "libraries_mb": round(libraries / 2**20)}
        print(
            f"peak memory {report['peak_memory_mb']} MB, libraries {report['libraries_mb']} MB before the first frame"
        )
        encode_seconds = timer.seconds["encode"] / measured
        report |= encoder_throughput(workload.encoder, workload.processing_size, encode_seconds)
        if against is not None:
            report["against"] = COMPARISONS[against](workload)
    return report


def _measure(workload: Workload, timer: StageTimer, folder: Path) -> tuple[int, float]:
    """Tracks, renders and writes like ``segment_video``; returns number of frames and seconds after the warm-up."""
    flow = load_flow(workload.settings)
    tracker = workload.new_tracker(flow and TimedFlow(flow, timer), timer)
    began = time.monotonic()

    def tracker_for(frame: Frame) -> MaskTracker:
        nonlocal began
        if frame.index == workload.warm_up:
            timer.clear()
            began = time.monotonic()
        return tracker

    encoder, settings = workload.encoder, workload.settings
    read_frames = timer.timed("decode", workload.read_frames())
    masked_frames = track_frames(read_frames, tracker_for, settings, {0: workload.mask}, encoder=encoder)
    frames = 0
    with (
        _synchronized(encoder),
        VideoWriter(folder / "overlay.mp4", workload.reader, workload.output_size) as video,
        closing(masked_frames),
        prefetched(masked_frames, overlaps(settings, encoder)) as tracked,
    ):
        for frame, mask in tracked:
            assert mask is not None
            with timer.stage("render"):
                rendered = overlay(frame.image, mask)
            with timer.stage("write"):
                video.write(rendered, frame.time, frame.duration)
            frames += frame.index >= workload.warm_up
    return frames, time.monotonic() - began


@contextmanager
def _synchronized(encoder: EncoderFunction) -> Iterator[None]:
    """Makes a network on a GPU wait for its result, so that its stage contains all of its time."""
    if not isinstance(encoder, torch.nn.Module) or device_of(encoder).type != "cuda":
        yield
        return
    hook = encoder.register_forward_hook(lambda *_: torch.cuda.synchronize())
    try:
        yield
    finally:
        hook.remove()


def _report_stages(workload: Workload, timer: StageTimer, frames: int, seconds: float) -> dict[str, Any]:
    """Prints and returns milliseconds per frame by stage."""
    stages = {name: 1000 * timer.seconds.get(name, 0.0) / frames for name in STAGES}
    stages["match"] -= 1000 * timer.seconds.get(FLOW_WAIT, 0.0) / frames  # flow is a stage of its own
    encoder = workload.encoder
    looks_ahead = device_of(encoder).type == "cpu" and overlaps(workload.settings, encoder)
    stages_of = _CHAINS_ON_CPU if looks_ahead else _CHAINS
    chains = {name: sum(stages[stage] for stage in chain) for name, chain in stages_of.items()}
    slowest = max(chains, key=lambda name: chains[name])
    total = 1000 * seconds / frames
    height, width = workload.processing_size
    print(f"{'stage':10}{'ms/frame':>10}")
    for name, milliseconds in stages.items():
        print(f"{name:10}{milliseconds:10.1f}")
    print(f"{'all':10}{total:10.1f}   {1000 / total:.2f} frames/s at {width}x{height}, {frames} frames")
    print(f"{total / chains[slowest]:.2f} times the slowest of {', '.join(chains)}: {slowest}")
    return {
        "size": [width, height],
        "frames": frames,
        "ms_per_frame": round(total, 1),
        "stages": {name: round(milliseconds, 1) for name, milliseconds in stages.items()},
        "of_slowest_chain": round(total / chains[slowest], 3),
    }
