"""Asynchronous execution: the masks of synchronous execution, one download a frame, and a bounded number of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mamp import MaskTracker, Settings, load_encoder
from mamp.flow.optical_flow import ParallelDisFlow
from mamp.model.encoder import Encoder, optimize_for_inference
from mamp.propagation.dense_matching import propagate_densely
from mamp.propagation.frame_answer import FrameAnswer
from mamp.propagation.local_matching import SMALL_BLOCK
from mamp.propagation.redetection import Change
from mamp.video.synthetic import synthetic_frames, synthetic_mask
from tests.conftest import Image, scene
from tools.gpu_check import OperationCounter


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CPUs with bfloat16, only synchronous execution uses it: the masks would differ by that, and not by the order."""
    monkeypatch.setattr("mamp.tracker_memory.has_bfloat16", lambda _device: False)


def tracker(execution: str, **settings: Any) -> MaskTracker:
    return MaskTracker(load_encoder(device="cpu"), flow=ParallelDisFlow(), execution=execution, **settings)


def equal_pixels(one: list[Image], other: list[Image]) -> float:
    return min(float((a == b).mean()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_k": None, "radius": 4, "logit_adjustment": 0.0},
        {"discriminant_weight": 0.0, "upsampling": "bilinear"},
        {"motion": "direct", "long_term": (0, 2)},
    ],
)
def test_masks_equal_those_of_synchronous_execution(settings: dict[str, Any]) -> None:
    size = (96, 170)
    frames, mask = list(synthetic_frames(size, 9)), synthetic_mask(size, 3)
    one, other = (list(tracker(way, **settings).track(frames, {0: mask})) for way in ("synchronous", "asynchronous"))
    assert equal_pixels(one, other) > 0.995


def test_corrections_new_objects_and_another_output_size_give_the_same_masks() -> None:
    frames = [scene(t)[0] for t in range(8)]
    added = np.zeros((96, 128), np.uint8)
    added[70:90, 90:120] = 7
    masks = {0: scene(0)[1], 3: added, 5: scene(5)[1]}

    def masks_of(way: str) -> list[Image]:
        one = tracker(way)
        return [one.step(frame, masks.get(t), output_size=(130, 171)) for t, frame in enumerate(frames)]

    assert equal_pixels(masks_of("synchronous"), masks_of("asynchronous")) > 0.995


def test_a_lost_object_is_searched_and_found_where_it_reappears() -> None:
    frames = [scene(t)[0] for t in range(4)]
    frames += [np.full_like(frames[0], 90)] * 2 + [np.roll(scene(t)[0], 40, axis=1) for t in range(6, 9)]
    one, other = (list(tracker(way).track(frames, {0: scene(0)[1]})) for way in ("synchronous", "asynchronous"))
    assert equal_pixels(one, other) > 0.995 and one[-1].any() and not one[4].any()


def test_a_tracker_goes_on_from_a_stored_memory() -> None:
    frames = [scene(t)[0] for t in range(8)]
    whole, first, second = (tracker("asynchronous") for _ in range(3))
    expected = list(whole.track(frames, {0: scene(0)[1]}))
    for t in range(5):
        first.step(frames[t], scene(0)[1] if t == 0 else None)
    second.memory.restore(first.memory.stored(), dict(enumerate(frames)))
    for t in range(5, 8):
        np.testing.assert_array_equal(second.step(frames[t]), expected[t])


class DeviceWork(OperationCounter):
    """Counts operations, and records copies between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.grid_sampler, torch.ops.aten.grid_sampler_2d) and args[0].is_meta:
            self.counts["grid_sampler"] += 1  # its shape function takes seconds
            return args[0].new_empty(*args[0].shape[:2], *args[1].shape[1:3])
        result = super().__torch_dispatch__(func, types, args, kwargs)
        sources = {arg.device.type for arg in args if isinstance(arg, Tensor) and arg.ndim}
        if isinstance(result, Tensor) and sources - {result.device.type}:
            self.copies.append(tuple(result.shape))
        return result


# Of 1,598 operations with PyTorch 2.13, the flow takes 841 and two fits of the camera motion 248.
@pytest.mark.parametrize("objects", [1, 10])
def test_a_usual_frame_is_queued_with_one_upload_and_a_bounded_number_of_operations(
    monkeypatch: pytest.MonkeyPatch, objects: int
) -> None:
    size = (480, 854)

    def answer(packed: Tensor, size: tuple[int, int], labels: list[int]) -> FrameAnswer:
        """Instead of the one download: tensors on the device "meta" have no values, and whatever reads one raises."""
        assert packed.is_meta and packed.shape == (4 * (3 * len(labels) + 1) + size[0] * size[1],)
        areas = [100] * len(labels)
        return FrameAnswer(np.zeros(size, np.uint8), dict.fromkeys(labels[1:], 1.0), Change(0.0, areas, areas))

    monkeypatch.setattr("mamp.tracker.unpack_answer", answer)
    settings, warm_up = Settings(execution="asynchronous").with_short_warmup()
    with torch.device("meta"):
        encoder = optimize_for_inference(Encoder(0.05, width=48).eval())
    on_meta = MaskTracker(encoder, flow=ParallelDisFlow("meta"), device="meta", **settings.tracker_kwargs())
    mask = synthetic_mask(size, objects)
    with DeviceWork() as work:
        for t in range(warm_up + 1):
            work.counts.clear()
            work.copies.clear()
            on_meta.step(np.zeros((*size, 3), np.uint8), mask if t == 0 else None)
    assert work.copies == [(*size, 3)]
    assert work.counts.total() <= 1650


def test_matching_uses_smaller_blocks_once_the_device_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int | None] = []

    def out_of_memory(*arguments: Any, block: int | None, **settings: Any) -> Tensor:
        blocks.append(block)
        if block is None:
            raise torch.OutOfMemoryError("none left")
        return propagate_densely(*arguments, block=block, **settings)

    frames = [scene(t)[0] for t in range(3)]
    expected = list(tracker("asynchronous").track(frames, {0: scene(0)[1]}))
    monkeypatch.setattr("mamp.propagation.dense_reader.propagate_densely", out_of_memory)
    short = tracker("asynchronous")
    assert equal_pixels(list(short.track(frames, {0: scene(0)[1]})), expected) > 0.999
    assert short.short_of_memory and blocks == [None, SMALL_BLOCK, SMALL_BLOCK]
