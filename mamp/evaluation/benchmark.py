"""The command ``python -m mamp benchmark``: where the time of a frame goes, what it takes in memory, and against what."""

from __future__ import annotations

import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mamp.evaluation.reference_implementation import ReferenceImplementation
from mamp.flow.optical_flow import Flow, FlowEstimator, FlowFunction, dis_flow, load_flow
from mamp.masks.label_map import resize_mask
from mamp.masks.overlay import overlay
from mamp.model.checkpoint import load_encoder
from mamp.model.encoder import Encoder, EncoderFunction, device_of, has_bfloat16
from mamp.prefetch import prefetched
from mamp.propagation.alignment import pad_to_stride
from mamp.propagation.memory_bank import MemoryFrame
from mamp.propagation.reference_motion import FlowPrefetcher
from mamp.runs.frame_loop import track_frames
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.images import resize_frame
from mamp.video.reader import Frame as VideoFrame
from mamp.video.reader import VideoReader
from mamp.video.synthetic import synthetic_clip, synthetic_mask
from mamp.video.writer import VideoWriter

Frame = NDArray[np.uint8]
Step = Callable[[VideoFrame, Frame], object]  # takes a frame as it is and as it is processed

_WARM_UP = 7  # frames before the clock starts: the paper's memory is full then, and libraries have made their choices
_GEMM, _GEMM_ON_GPU = 2048, 8192  # side of the matrices whose product is the machine's measure
CHAINS = {  # what follows on each other; on a GPU the chains go on at the same time
    "reading": ("decode",),
    "flow": ("flow",),
    "network": ("encode", "match", "read-out"),
    "writing": ("render", "write"),
}
STAGES = tuple(stage for chain in CHAINS.values() for stage in chain)
COMPARISONS = ("paper-code", "one-object")
_WAITING = "waiting"  # of the network for the flow


class TimedFlowPrefetcher(FlowPrefetcher):
    """A FlowPrefetcher that counts the seconds waited for its flows."""

    def __init__(self, flow: FlowFunction, clock: StageTimer) -> None:
        super().__init__(flow)
        self.clock = clock

    def take(self, *given: Any, **about: Any) -> Flow:
        with self.clock.stage(_WAITING):
            return super().take(*given, **about)


class TimedTracker(MaskTracker):
    """A tracker that counts the seconds of its stages on a clock."""

    def __init__(self, encoder: EncoderFunction, flow: FlowFunction | None, clock: StageTimer, **settings: Any) -> None:
        super().__init__(encoder, flow=flow, **settings)
        self.clock = clock
        if self._motion is not None and flow is not None:
            self._motion.flows = TimedFlowPrefetcher(flow, clock)

    def _encode(self, frame: Frame) -> tuple[Tensor, Tensor]:
        with self.clock.stage("encode"):
            key, cues = super()._encode(frame)
            return self._awaited(key), cues

    def _update_motion(self, frame: Frame) -> None:
        with self._without_waiting("match"):
            super()._update_motion(frame)

    def _match(self, frame: Frame, key: Tensor, cues: Tensor) -> Tensor:
        with self._without_waiting("match"):
            return self._awaited(super()._match(frame, key, cues))

    def _with_statistics(self, memory: MemoryFrame) -> MemoryFrame:
        with self.clock.stage("match"):
            return super()._with_statistics(memory)

    @contextmanager
    def _without_waiting(self, name: str) -> Iterator[None]:
        """Counts for a stage what is done inside, but for the flow that it waits for."""
        waited = self.clock.seconds.get(_WAITING, 0.0)
        with self.clock.stage(name):
            yield
        self.clock.add(name, waited - self.clock.seconds.get(_WAITING, 0.0))

    def _decide(self, scores: Tensor, frame: Frame, size: tuple[int, int]) -> Frame:
        with self.clock.stage("read-out"):
            return super()._decide(scores, frame, size)

    def _awaited(self, tensor: Tensor) -> Tensor:
        if tensor.is_cuda:
            torch.cuda.synchronize()
        return tensor


def benchmark(
    chosen: Settings,
    *,
    clip: Path | None = None,
    frames: int = 30,
    objects: int = 1,
    against: str | None = None,
) -> dict[str, Any]:
    """Measures a run stage by stage and prints tables.

    Args:
        chosen: Settings of the run.
        clip: A synthetic one if not given.
        frames: Number of frames to measure.
        objects: Number of objects.
        against: Also measure, interleaved, one of ``COMPARISONS``.

    Returns:
        A report for JSON.
    """
    libraries = peak_memory()
    short_side = chosen.short_side
    chosen, full = chosen.with_short_warmup()
    warm = max(_WARM_UP, full)
    with tempfile.TemporaryDirectory() as folder:
        clip = clip or synthetic_clip(Path(folder) / "clip.mp4", short_side or 480, frames + warm)
        reader = VideoReader(clip)
        warm = min(warm, reader.count() - 1)
        size = (reader.info.height, reader.info.width)
        encoder = load_encoder(chosen.weights, device=chosen.device)
        clock = StageTimer()
        mask = synthetic_mask(size, objects)
        measured, seconds = _measure(chosen, encoder, reader, mask, clock, Path(folder), warm, frames)
        report = _report(clock, measured, seconds, chosen.processing_size(size))
        report |= {"peak_memory_mb": round(peak_memory() / 2**20), "libraries_mb": round(libraries / 2**20)}
        print(
            f"peak memory {report['peak_memory_mb']} MB, libraries {report['libraries_mb']} MB before the first frame"
        )
        report |= _encoder_speed(encoder, chosen.processing_size(size), clock, measured)
        if against == "paper-code":
            report["against"] = _against_paper_code(chosen, encoder, reader, mask, warm)
        elif against == "one-object":
            report["against"] = _against_one_object(chosen, encoder, reader, mask, warm, frames)
    return report


def _measure(
    chosen: Settings,
    encoder: EncoderFunction,
    reader: VideoReader,
    mask: Frame,
    clock: StageTimer,
    folder: Path,
    warm: int,
    count: int,
) -> tuple[int, float]:
    """Follows made-up objects through a clip as ``segment_video`` does; gives the frames and the seconds on the clock."""
    flow = load_flow(chosen)
    tracker = TimedTracker(encoder, flow and TimedFlow(flow, clock), clock, **chosen.tracker_kwargs())
    began = time.monotonic()

    def tracker_for(frame: VideoFrame) -> MaskTracker:
        nonlocal began
        if frame.index == warm:
            clock.clear()
            began = time.monotonic()
        return tracker

    device = device_of(encoder)
    read = clock.timed("decode", itertools.islice(reader, warm + count))
    masked_frames = track_frames(read, tracker_for, chosen, {0: mask}, device=device)
    frames = 0
    with (
        VideoWriter(folder / "overlay.mp4", reader, mask.shape) as video,
        closing(masked_frames),
        prefetched(masked_frames, device) as tracked,
    ):
        for frame, found in tracked:
            assert found is not None
            with clock.stage("render"):
                picture = overlay(frame.image, found)
            with clock.stage("write"):
                video.write(picture, frame.time, frame.duration)
            frames += frame.index >= warm
    return frames, time.monotonic() - began


class TimedFlow:
    """A flow estimator that counts its seconds on a clock."""

    def __init__(self, flow: FlowEstimator, clock: StageTimer) -> None:
        self.accepts_initial_flow = flow.accepts_initial_flow
        self._flow, self._clock = flow, clock

    def __call__(self, *frames: Frame, **keywords: Any) -> Flow:
        with self._clock.stage("flow"):
            return self._flow(*frames, **keywords)


def _report(clock: StageTimer, frames: int, seconds: float, size: tuple[int, int]) -> dict[str, Any]:
    stages = {name: 1000 * clock.seconds.get(name, 0.0) / frames for name in STAGES}
    chains = {name: sum(stages[stage] for stage in chain) for name, chain in CHAINS.items()}
    slowest = max(chains, key=lambda name: chains[name])
    whole = 1000 * seconds / frames
    print(f"{'stage':10}{'ms/frame':>10}")
    for name, spent in stages.items():
        print(f"{name:10}{spent:10.1f}")
    print(f"{'all':10}{whole:10.1f}   {1000 / whole:.2f} frames/s at {size[1]}x{size[0]}, {frames} frames")
    print(f"{whole / chains[slowest]:.2f} times the slowest of reading, flow, network and writing: {slowest}")
    rounded = {name: round(spent, 1) for name, spent in stages.items()}
    return {
        "size": [size[1], size[0]],
        "frames": frames,
        "ms_per_frame": round(whole, 1),
        "stages": rounded,
        "of_slowest_chain": round(whole / chains[slowest], 3),
    }


def _encoder_speed(
    encoder: EncoderFunction, size: tuple[int, int], clock: StageTimer, frames: int
) -> dict[str, float | str | None]:
    """FLOP/s of the encoder beside those of one large matrix product of the type it computes in.

    Counted are the operations of Table 1, also where fewer are done (``mamp/model/winograd.py``).
    """
    if not isinstance(encoder, torch.nn.Module):
        return {}
    device = device_of(encoder)
    kind = torch.bfloat16 if has_bfloat16(device) else torch.float32
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        Encoder()(pad_to_stride(torch.zeros(3, *size))[None])
    reached = counter.get_total_flops() / (clock.seconds["encode"] / frames)
    side = _GEMM if device.type == "cpu" else _GEMM_ON_GPU
    matrix = torch.randn(side, side, device=device, dtype=kind)
    best = 2 * side**3 / median_seconds(lambda: (matrix @ matrix).sum().item())
    name = str(kind).removeprefix("torch.")
    print(f"encoder {reached / 1e9:.0f} GFLOP/s, {reached / best:.0%} of a {name} matrix product of {side}")
    return {"encoder_gflops": round(reached / 1e9, 1), "of_matrix_product": round(reached / best, 3), "type": name}


def _against_paper_code(
    chosen: Settings, encoder: EncoderFunction, reader: VideoReader, mask: Frame, warm: int
) -> dict[str, float]:
    """The authors' way in turn with ours: milliseconds a frame, and how far its masks agree with ours."""
    size = chosen.processing_size(mask.shape)
    given = resize_mask(mask, size)
    same_way = MaskTracker.from_settings(Settings.paper(), encoder, dis_flow)
    found = [
        same_way.step(resize_frame(frame.image, size), given if frame.index == 0 else None)
        for frame in itertools.islice(reader, warm + 3)
    ]
    theirs = ReferenceImplementation(load_encoder(chosen.weights, device=device_of(encoder), fold=False), dis_flow)
    equal = []

    def step(frame: VideoFrame, small: Frame) -> None:
        expected = found[frame.index]
        if frame.index < warm:  # these only fill the memory: the masks of one tracker serve both
            theirs.step(small, expected)
        else:
            equal.append(float((theirs.step(small) == expected).mean()))
            theirs.masks[-1] = expected

    ways = {"ours": _step_of(chosen, encoder, mask), "theirs": step}
    medians = _in_turn(ways, itertools.islice(reader, warm + 3), size, warm)
    answer = {
        "ours_ms_per_frame": round(medians["ours"], 1),
        "ms_per_frame": round(medians["theirs"], 1),
        "times_slower": round(medians["theirs"] / medians["ours"], 1),
        "pixels_equal": round(min(equal), 5),
        "peak_memory_mb": round(peak_memory() / 2**20),
    }
    print(
        f"in turn, ours {medians['ours']:.0f}, the authors' way {medians['theirs']:.0f} ms a frame, "
        f"{answer['times_slower']:.1f} times slower; {answer['pixels_equal']:.3%} of pixels equal; "
        f"peak memory {answer['peak_memory_mb']} MB"
    )
    return answer


def _against_one_object(
    chosen: Settings, encoder: EncoderFunction, reader: VideoReader, mask: Frame, warm: int, count: int
) -> dict[str, float]:
    """Milliseconds a frame of all objects, of their area as one object, and of one of them, in turn."""
    masks = {"objects": mask, "same_area": np.minimum(mask, 1), "one_object": synthetic_mask(mask.shape, 1)}
    ways = {name: _step_of(chosen, encoder, every) for name, every in masks.items()}
    medians = _in_turn(ways, itertools.islice(reader, warm + count), chosen.processing_size(mask.shape), warm)
    answer = {name: round(spent, 1) for name, spent in medians.items()}
    for name in ("same_area", "one_object"):
        answer[f"times_{name}"] = round(medians["objects"] / medians[name], 3)
    print(
        f"in turn, all objects {answer['objects']} ms a frame, their area as one object {answer['same_area']} "
        f"({answer['times_same_area']:.2f} times), one object {answer['one_object']} ({answer['times_one_object']:.2f})"
    )
    return answer


def _step_of(chosen: Settings, encoder: EncoderFunction, mask: Frame) -> Step:
    """What follows the objects of a mask (H, W) from frame to frame."""
    tracker = MaskTracker(encoder, flow=load_flow(chosen), **chosen.tracker_kwargs())

    def step(frame: VideoFrame, small: Frame) -> Frame:
        given = resize_mask(mask, (small.shape[0], small.shape[1])) if frame.index == 0 else None
        return overlay(frame.image, tracker.step(small, given, output_size=mask.shape))

    return step


def _in_turn(
    ways: Mapping[str, Step], frames: Iterable[VideoFrame], size: tuple[int, int], warm: int
) -> dict[str, float]:
    """Milliseconds a frame of several ways, all but reading and writing; medians of the frames from ``warm`` on.

    They take turns at each frame, so that they share what else the machine does.
    """
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for frame in frames:
        small = resize_frame(frame.image, size)
        for name, step in ways.items():
            began = time.monotonic()
            step(frame, small)
            spent[name].append(time.monotonic() - began)
    return {name: 1000 * float(np.median(seconds[warm:])) for name, seconds in spent.items()}


def median_seconds(work: Callable[[], object], times: int = 5) -> float:
    """The median time of some work, after a first time that does not count."""
    work()
    spent = []
    for _ in range(times):
        began = time.monotonic()
        work()
        spent.append(time.monotonic() - began)
    return float(np.median(spent))


def peak_memory() -> int:
    """The largest memory that this process has held so far [bytes]: of the GPU where one is used, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
