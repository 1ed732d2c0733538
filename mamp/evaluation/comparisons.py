"""Comparisons of the tracker, interleaved frame by frame: with the reference implementation, and with fewer objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mamp.evaluation.reference_implementation import ReferenceImplementation
from mamp.evaluation.throughput import peak_memory
from mamp.evaluation.workload import Workload
from mamp.flow.optical_flow import dis_flow, load_flow
from mamp.masks.overlay import overlay
from mamp.model.checkpoint import load_encoder
from mamp.model.encoder import device_of
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from mamp.video.reader import Frame
from mamp.video.synthetic import synthetic_mask

Image = NDArray[np.uint8]
Step = Callable[[Frame, Image], object]  # of a frame and its image at the processing size

_REFERENCE_FRAMES = 3  # frames to measure of the slow reference implementation


def compare_with_reference(workload: Workload) -> dict[str, float]:
    """Prints and returns milliseconds per frame of both, and the fraction of pixels with equal labels."""
    workload = replace(workload, frames=_REFERENCE_FRAMES)
    tracker = MaskTracker.from_settings(Settings.paper(), workload.encoder, dis_flow)
    expected = [
        tracker.step(workload.resize_frame(frame), workload.input_mask(frame.index)) for frame in workload.read_frames()
    ]
    encoder = load_encoder(workload.settings.weights, device=device_of(workload.encoder), fold=False)
    reference = ReferenceImplementation(encoder, dis_flow)
    equal = []

    def step(frame: Frame, image: Image) -> None:
        if frame.index < workload.warm_up:  # fills the memory with the tracker's masks, so that errors do not add up
            reference.step(image, expected[frame.index])
        else:
            equal.append(float((reference.step(image) == expected[frame.index]).mean()))
            reference.masks[-1] = expected[frame.index]

    medians = _time_interleaved(workload, {"ours": _step_of(workload), "reference": step})
    report = {
        "ours_ms_per_frame": round(medians["ours"], 1),
        "ms_per_frame": round(medians["reference"], 1),
        "times_slower": round(medians["reference"] / medians["ours"], 1),
        "pixels_equal": round(min(equal), 5),
        "peak_memory_mb": round(peak_memory() / 2**20),
    }
    print(
        f"interleaved, ours {medians['ours']:.0f}, reference implementation {medians['reference']:.0f} ms a frame, "
        f"{report['times_slower']:.1f} times slower; {report['pixels_equal']:.3%} of pixels equal; "
        f"peak memory {report['peak_memory_mb']} MB"
    )
    return report


def compare_with_one_object(workload: Workload) -> dict[str, float]:
    """Prints and returns milliseconds per frame of all objects, of their area as one object, and of one object."""
    masks = {
        "objects": workload.mask,
        "same_area": np.minimum(workload.mask, 1),
        "one_object": synthetic_mask(workload.output_size, 1),
    }
    medians = _time_interleaved(
        workload, {name: _step_of(replace(workload, mask=mask)) for name, mask in masks.items()}
    )
    report = {name: round(milliseconds, 1) for name, milliseconds in medians.items()}
    for name in ("same_area", "one_object"):
        report[f"times_{name}"] = round(medians["objects"] / medians[name], 3)
    print(
        f"interleaved, all objects {report['objects']} ms a frame, their area as one object {report['same_area']} "
        f"({report['times_same_area']:.2f} times), one object {report['one_object']} ({report['times_one_object']:.2f})"
    )
    return report


COMPARISONS = {"reference": compare_with_reference, "one-object": compare_with_one_object}


def _step_of(workload: Workload) -> Step:
    """Tracks the objects of a workload and renders the overlay, one frame at a time."""
    tracker = workload.new_tracker(load_flow(workload.settings))

    def step(frame: Frame, image: Image) -> Image:
        mask = tracker.step(image, workload.input_mask(frame.index), output_size=workload.output_size)
        return overlay(frame.image, mask)

    return step


def _time_interleaved(workload: Workload, steps: Mapping[str, Step]) -> dict[str, float]:
    """Median milliseconds per frame of each step after the warm-up, without reading and writing.

    All steps run on each frame, so that other load of the machine affects them equally.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for frame in workload.read_frames():
        image = workload.resize_frame(frame)
        for name, step in steps.items():
            began = time.monotonic()
            step(frame, image)
            seconds[name].append(time.monotonic() - began)
    return {name: 1000 * float(np.median(times[workload.warm_up :])) for name, times in seconds.items()}
