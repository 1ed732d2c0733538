"""Checks and measures the program on a GPU machine in a few minutes; the last line printed is one JSON document.

scripts/gpu-check                            # on CUDA, at most 8 minutes
scripts/gpu-check --device cpu --frames 8    # a rehearsal without a GPU
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess  # nosec (runs this package only)
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from mamp.flow.optical_flow import load_flow
from mamp.model.checkpoint import load_encoder
from mamp.settings import SETTINGS_INFO, Settings
from mamp.timing import StageTimer
from mamp.tracker import Frame, MaskTracker
from mamp.video.synthetic import synthetic_frames, synthetic_mask

EXECUTIONS = tuple(SETTINGS_INFO["execution"].choices or ())
OBJECTS = (1, 10)
COMPARED_FRAMES = 12  # CPU and GPU; more would take most of the time on the CPU
PROFILED_FRAMES = 5
FEW_CORES = 4
# Operations that wait for a device to answer, because their result decides what the host does next.
HOST_READS = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select")
SYNCHRONIZATIONS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Check:
    """What to check.

    Attributes:
        device: "cuda" or "cpu".
        frames: Frames of the speed measurements, and the most of the others.
        short_sides: Processing sizes [pixels].
        end: When to stop, as ``time.monotonic`` [s].
    """

    device: str
    frames: int
    short_sides: Sequence[int]
    end: float

    @property
    def seconds_left(self) -> float:
        """Time until the end [s]."""
        return self.end - time.monotonic()

    def settings(self, short_side: int, execution: str, device: str | None = None) -> Settings:
        """The default settings at a processing size, on the checked device unless another one is given."""
        return Settings(short_side=short_side, execution=execution, device=device or self.device)


def versions(check: Check) -> dict[str, Any]:
    """The machine and its software."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)  # nosec
    report: dict[str, Any] = {
        "commit": commit.stdout.strip() or None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "cpus": len(os.sched_getaffinity(0)),
    }
    if check.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        report |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return report


def tests(check: Check) -> dict[str, Any]:
    """``tests/test_cuda.py``."""
    command = [sys.executable, "-m", "pytest", "tests/test_cuda.py", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=check.seconds_left)  # nosec
    return {"passed": done.returncode == 0, "summary": done.stdout.strip().splitlines()[-1:]}


def agreement(check: Check) -> list[dict[str, Any]]:
    """Pixels that have the same label on the CPU and on the device, for each way of execution."""
    reports = []
    for execution, short_side, objects in itertools.product(EXECUTIONS, check.short_sides, OBJECTS):
        one, other = (_masks(check, check.settings(short_side, execution, at), objects) for at in ("cpu", check.device))
        equal = [float((a == b).mean()) for a, b in zip(one, other, strict=False)]
        row = {"execution": execution, "short_side": short_side, "objects": objects, "frames": len(equal)}
        reports.append({**row, "least_equal": min(equal), "mean_equal": float(np.mean(equal))})
    return reports


def _masks(check: Check, settings: Settings, objects: int) -> list[Frame]:
    """The masks of a synthetic clip, as many as there is time for."""
    size = (settings.short_side, settings.short_side * 16 // 9)
    tracker = _tracker(settings)
    frames = synthetic_frames(size, min(check.frames, COMPARED_FRAMES))
    masks = []
    for mask in tracker.track(frames, {0: synthetic_mask(size, objects)}):
        masks.append(mask)
        if check.seconds_left < 0:
            break
    return masks


def _tracker(settings: Settings, timer: StageTimer | None = None) -> MaskTracker:
    encoder = load_encoder(settings.weights, device=settings.device)
    return MaskTracker.from_settings(settings, encoder, load_flow(settings), timer=timer)


def speed(check: Check) -> list[dict[str, Any]]:
    """``python -m mamp benchmark`` at each size and way of execution, with its peak memory."""
    return [_benchmark(check, *of) for of in itertools.product(check.short_sides, EXECUTIONS)]


def speed_with_few_cores(check: Check) -> list[dict[str, Any]]:
    """The same at the largest size with a few CPU cores, as small GPU machines have."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:FEW_CORES])  # the benchmark inherits it
    try:
        reports = [_benchmark(check, max(check.short_sides), execution) for execution in EXECUTIONS]
    finally:
        os.sched_setaffinity(0, cores)
    return [{"cores": min(FEW_CORES, len(cores)), **report} for report in reports]


def _benchmark(check: Check, short_side: int, execution: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "mamp", "benchmark", "--device", check.device, "--execution", execution]
    command += ["--frames", str(check.frames), "--short-side", str(short_side)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=check.seconds_left, check=True)  # nosec
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"execution": execution, **report}


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations by name, but for views, which compute nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts an operation, and runs it."""
        if not func.is_view:
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def profiled(check: Check) -> list[dict[str, Any]]:
    """Operations and synchronizations of a frame at the largest size, and how long the GPU is busy with it."""
    return [_profile(check, execution) for execution in EXECUTIONS]


def _profile(check: Check, execution: str) -> dict[str, Any]:
    short_side, count = max(check.short_sides), min(check.frames, PROFILED_FRAMES)
    size = (short_side, short_side * 16 // 9)
    settings, warm_up = check.settings(short_side, execution).with_short_warmup()
    tracker = _tracker(settings)
    frames = list(synthetic_frames(size, warm_up + 2 * count))
    for t in range(warm_up):
        tracker.step(frames[t], synthetic_mask(size, 1) if t == 0 else None)
    counter = OperationCounter()
    with counter:
        for frame in frames[warm_up : warm_up + count]:
            tracker.step(frame)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if check.device == "cuda" else [])]
    began = time.monotonic()
    # Without ``acc_events``, PyTorch 2.11 warns that events are lost between cycles, of which there is one.
    with profile(activities=activities, acc_events=True) as profiler:
        for frame in frames[warm_up + count :]:
            tracker.step(frame)
    seconds = time.monotonic() - began
    averages = profiler.key_averages()
    calls = {event.key: event.count for event in averages}
    return {
        "execution": execution,
        "frames": count,
        "operations": round(counter.counts.total() / count),
        "host_reads": round(sum(counter.counts[name] for name in HOST_READS) / count, 1),
        "synchronizations": round(sum(calls.get(name, 0) for name in SYNCHRONIZATIONS) / count, 1),
        "copies": round(sum(calls[name] for name in calls if name.startswith("Memcpy")) / count, 1),
        "gpu_busy_ms": round(sum(event.self_device_time_total for event in averages) / 1000 / count, 2),
        "ms_with_profiler": round(1000 * seconds / count, 1),
        "most_frequent": dict(counter.counts.most_common(12)),
    }


STEPS: dict[str, Callable[[Check], Any]] = {
    "versions": versions,
    "tests": tests,
    "agreement": agreement,
    "speed": speed,
    "speed_with_few_cores": speed_with_few_cores,
    "profile": profiled,
}


def run(check: Check, steps: Sequence[str]) -> dict[str, Any]:
    """Runs steps until the time is over; a step that fails is reported, and the others follow."""
    report: dict[str, Any] = {"device": check.device, "seconds": {}}
    for name in steps:
        began = time.monotonic()
        if check.seconds_left < 1:
            report[name] = {"skipped": "no time left"}
            continue
        try:
            report[name] = STEPS[name](check)
        except Exception as error:  # whatever a new machine brings, the other figures are wanted
            report[name] = {"error": f"{type(error).__name__}: {error}"}
        report["seconds"][name] = round(time.monotonic() - began, 1)
        print(f"{name}: {json.dumps(report[name])}", flush=True)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the options and runs the steps; 1 if one of them failed or had no time."""
    parser = argparse.ArgumentParser(description="Checks a GPU machine; the last line is one JSON document.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="%(default)s unless given")
    parser.add_argument("--frames", type=int, default=300, help="frames of the speed measurements (%(default)s)")
    parser.add_argument("--short-sides", type=int, nargs="+", default=[240, 480], help="processing sizes [pixels]")
    parser.add_argument("--seconds", type=float, default=480, help="time limit [s] (%(default)s)")
    parser.add_argument("--steps", nargs="+", choices=tuple(STEPS), default=list(STEPS), help="all unless given")
    options = parser.parse_args(arguments)
    os.chdir(Path(__file__).parent.parent)
    check = Check(options.device, options.frames, options.short_sides, time.monotonic() + options.seconds)
    report = run(check, options.steps)
    print(json.dumps(report))
    steps = (report[name] for name in options.steps)
    return int(any(isinstance(step, dict) and ("error" in step or "skipped" in step) for step in steps))


if __name__ == "__main__":
    sys.exit(main())
