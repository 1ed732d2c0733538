"""Tracking synthetic objects with the patch encoder."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mamp import MaskError, MaskTracker, PatchEncoder, load_encoder
from mamp.flow.optical_flow import DisFlow, Flow, dis_flow
from mamp.flow.warp import select_motion
from mamp.prefetch import with_next
from mamp.propagation.local_matching import SMALL_BLOCK, propagate
from mamp.propagation.stored_memory import StoredMemory
from mamp.settings import SETTINGS_INFO, Settings
from tests.conftest import Image, overlap, scene

# The paper's memory and matching, with this project's motion and upsampling.
PLAIN: dict[str, Any] = {"top_k": 36, "long_term": (0, 5), "discriminant_weight": 0.0, "logit_adjustment": 0.0}


def test_the_keywords_of_a_tracker_are_settings_with_the_same_defaults() -> None:
    keywords = inspect.signature(MaskTracker).parameters
    of_tracker = {name for name, info in SETTINGS_INFO.items() if info.of_tracker}
    assert set(keywords) - {"encoder", "flow", "device", "timer"} == of_tracker
    assert {name: keywords[name].default for name in of_tracker} == Settings().tracker_kwargs()


def test_an_input_mask_of_the_output_size_is_kept_at_its_full_resolution() -> None:
    tracker = MaskTracker(PatchEncoder())
    large = np.kron(scene(0)[1], np.ones((2, 2), np.uint8))
    large[10, 10:60] = 3  # one pixel high
    assert np.array_equal(tracker.step(scene(0)[0], large, output_size=large.shape), large)
    tracker.step(scene(1)[0], output_size=large.shape)
    assert np.array_equal(tracker.step(scene(2)[0], large, output_size=large.shape)[large > 0], large[large > 0])


def test_a_refused_frame_leaves_no_trace() -> None:
    tracker = MaskTracker(PatchEncoder())
    frame, mask = scene(0)
    for wrong in (mask, mask[:48] * 0.5, -mask[:48, ::-1].astype(int), None, np.zeros_like(mask[:48])):
        with pytest.raises(MaskError):
            tracker.step(frame[:48], wrong)
    tracker.step(frame, mask)


def test_masks_of_any_type_and_read_only_frames_are_accepted() -> None:
    frame, mask = scene(0)
    frame.flags.writeable = mask.flags.writeable = False
    for given in (mask.astype(bool), mask.astype(np.int64), mask.astype(np.float32), np.asfortranarray(mask)):
        tracker = MaskTracker(PatchEncoder())
        assert np.array_equal(tracker.step(frame, given), mask)
        assert overlap(tracker.step(frame[:, ::-1][:, ::-1]), mask) > 0.9


def track_scene(count: int, **settings: object) -> list[Image]:
    tracker = MaskTracker(PatchEncoder(), **settings)  # type: ignore[arg-type]
    return list(tracker.track([scene(t)[0] for t in range(count)], {0: scene(0)[1]}))


def test_a_moving_disk_is_tracked() -> None:
    masks = track_scene(20)
    assert all(overlap(mask, scene(t)[1]) > 0.85 for t, mask in enumerate(masks))


def test_a_static_clip_keeps_its_mask() -> None:
    frame, mask = scene(0)
    masks = list(MaskTracker(PatchEncoder()).track([frame] * 40, {0: mask}))
    assert overlap(masks[-1], mask) > 0.88


def camouflaged(t: int, height: int = 120, width: int = 160) -> tuple[Image, Image]:
    """A disk of the texture of its ground, seen by a moving camera: a frame with its mask. Only its motion shows it."""
    rng = np.random.default_rng(0)
    grain = [
        rng.integers(40, 200, (rows // 4, columns // 4, 3), np.uint8) for rows, columns in ((height, 320), (64, 64))
    ]
    ground, coat = (cv2.resize(each, (each.shape[1] * 4, each.shape[0] * 4)) for each in grain)
    frame = ground[:, 2 * t : 2 * t + width].copy()
    x, y = 50 + 3 * t, height // 2
    rows, columns = np.mgrid[:height, :width]
    inside = (columns - x) ** 2 + (rows - y) ** 2 < 24**2
    frame[inside] = coat[(rows - y + 32)[inside] % 64, (columns - x + 32)[inside] % 64]
    noisy = frame + np.random.default_rng(t).normal(0, 1, frame.shape)
    return noisy.clip(0, 255).astype(np.uint8), inside.astype(np.uint8)


HELD = [0, 1, 2, 3, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8]  # a repeated frame, and a clip that stands still for a while


def test_an_object_stays_in_repeated_frames() -> None:
    frames, truth = zip(*(camouflaged(t) for t in HELD), strict=True)
    for encoder, short_term in ((PatchEncoder(), (1, 3, 5)), (PatchEncoder(), (3, 5)), (load_encoder(), (1, 3, 5))):
        masks = MaskTracker(encoder, short_term=short_term).track(frames, {0: truth[0]})
        assert min(overlap(mask, true) for mask, true in zip(masks, truth, strict=True)) > 0.7


@pytest.mark.parametrize("short_term", [(1, 3, 5), (3, 5)])
@pytest.mark.parametrize("at", [5, 9, 13])
def test_a_tracker_restored_in_repeated_frames_resumes_with_the_same_masks(
    at: int, short_term: tuple[int, ...]
) -> None:
    frames, truth = zip(*(camouflaged(t) for t in HELD), strict=True)
    unbroken, restored, stored, continued = (MaskTracker(PatchEncoder(), short_term=short_term) for _ in range(4))
    whole = list(unbroken.track(frames, {0: truth[0]}))
    kept = restored.memory.frames_to_restore(at, [0])
    for t in range(at):
        given = truth[0] if t == 0 else None
        restored.memory.restore_frame(t, frames[t], whole[t], input_mask=given, referenced=t in kept)
        stored.step(frames[t], given)
    continued.memory.restore(stored.memory.stored(), dict(enumerate(frames)))
    for tracker in (restored, continued):
        np.testing.assert_array_equal([tracker.step(frame) for frame in frames[at:]], whole[at:])


def test_a_fast_object_is_lost_without_motion_and_kept_with_the_true_flow() -> None:
    frames = [np.roll(scene(0, 96, 384)[0], 60 * t, axis=1) for t in range(5)]
    truth = [np.roll(scene(0, 96, 384)[1], 60 * t, axis=1) for t in range(5)]
    positions = {frame.tobytes(): t for t, frame in enumerate(frames)}

    def true_flow(query: Image, reference: Image) -> np.ndarray:  # type: ignore[type-arg]
        flow = np.zeros((2, *query.shape[:2]), np.float32)
        flow[0] = 60 * (positions[reference.tobytes()] - positions[query.tobytes()])
        return flow

    kept = list(MaskTracker(PatchEncoder(), flow=true_flow, **PLAIN).track(frames, {0: truth[0]}))
    lost = list(MaskTracker(PatchEncoder(), flow=None, radius=3, **PLAIN).track(frames, {0: truth[0]}))
    assert overlap(kept[-1], truth[-1]) > 0.8
    assert overlap(lost[-1], truth[-1]) < 0.2


def test_frames_before_the_first_mask_are_tracked_backwards() -> None:
    frames, truth = zip(*(scene(t) for t in range(10)), strict=True)
    masks = list(MaskTracker(PatchEncoder()).track(frames, {6: truth[6]}))
    assert len(masks) == 10
    assert all(overlap(mask, true) > 0.85 for mask, true in zip(masks, truth, strict=True))


def test_a_later_mask_adds_and_corrects_objects() -> None:
    frames, truth = zip(*(scene(t, 192, 256) for t in range(8)), strict=True)
    later = np.zeros_like(truth[4])
    later[10:70, 150:220] = 255
    masks = list(MaskTracker(PatchEncoder()).track(frames, {0: truth[0], 4: later}))
    assert 255 not in masks[3]
    assert (masks[4][later == 255] == 255).all()
    assert overlap(masks[7] == 255, later) > 0.8
    assert overlap(masks[7] == 1, truth[7]) > 0.8


def test_a_later_mask_removes_wrong_parts_of_its_objects() -> None:
    frames, truth = zip(*(scene(t, 192, 256) for t in range(8)), strict=True)
    wrong = truth[0].copy()
    wrong[10:60, 170:220] = 1  # background, labeled as part of the disk
    masks = list(MaskTracker(PatchEncoder()).track(frames, {0: wrong, 5: truth[5]}))
    assert overlap(masks[4], truth[4]) < 0.8
    assert (masks[5] == truth[5]).all()
    assert overlap(masks[7], truth[7]) > 0.85


def noise(size: tuple[int, int], seed: int) -> Image:
    """A random texture of some pixels, RGB (H, W, 3) uint8."""
    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8), (0, 0), 2)


def test_a_removed_part_is_removed_from_old_frames_in_memory_too() -> None:
    def moving(t: int) -> tuple[Image, Image]:
        """A textured rectangle of two halves, labeled 1 and 2, that moves by a cell a frame."""
        background, rectangle = (noise(size, seed) for seed, size in enumerate([(128, 256), (40, 80)]))
        mask = np.zeros((128, 256), np.uint8)
        x = 20 + 4 * t
        background[40:80, x : x + 80] = rectangle
        mask[40:80, x : x + 40], mask[40:80, x + 40 : x + 80] = 1, 2
        return background, mask

    frames, halves = zip(*(moving(t) for t in range(24)), strict=True)
    left = [(mask == 1).astype(np.uint8) for mask in halves]
    tracker = MaskTracker(PatchEncoder())
    masks = list(tracker.track(frames, {0: (halves[0] > 0).astype(np.uint8), 12: left[12]}))
    assert overlap(masks[11], left[11]) < 0.6
    stored = tracker.memory.stored().frames[0].value
    assert overlap(stored, left[0][::4, ::4]) > 0.85
    assert overlap(masks[23], left[23]) > 0.8


def test_many_objects_keep_their_labels() -> None:
    frame, _ = scene(0, 192, 256)
    mask = np.zeros(frame.shape[:2], np.uint8)
    for number in range(24):
        y, x = 8 + 45 * (number // 6), 8 + 40 * (number % 6)
        mask[y : y + 32, x : x + 32] = 255 - number
    result = list(MaskTracker(PatchEncoder()).track([frame] * 3, {0: mask}))[-1]
    assert set(np.unique(result)) == set(np.unique(mask))
    assert (result == mask).mean() > 0.9


def test_masks_have_the_output_size() -> None:
    tracker = MaskTracker(PatchEncoder())
    frames, truth = zip(*(scene(t) for t in range(3)), strict=True)
    tracker.step(frames[0], truth[0])
    large = tracker.step(frames[1], output_size=(192, 256))
    assert large.shape == (192, 256)
    assert overlap(large[::2, ::2], truth[1]) > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": None},
        {"top_k": 1},
        {"long_term": ()},
        {"short_term": ()},
        {"flow": None},
        {"discriminant_weight": 0.2},
        {"logit_adjustment": 0.1},
    ],
)
def test_every_ablation_is_one_keyword(settings: dict[str, object]) -> None:
    assert overlap(track_scene(4, **settings)[-1], scene(3)[1]) > 0.8


def test_wrong_calls_raise_a_clear_error() -> None:
    frame, mask = scene(0)
    tracker = MaskTracker(PatchEncoder())
    with pytest.raises(ValueError, match="first frame needs a mask"):
        tracker.step(frame)
    with pytest.raises(ValueError, match="mask is 64x48, but must be 128x96"):
        tracker.step(frame, mask[:48, :64])
    tracker.step(frame, mask)
    with pytest.raises(ValueError, match="frames before it are 128x96"):
        tracker.step(frame[:48])
    with pytest.raises(ValueError, match="frame 7, but the clip has frames 0 to 1"):
        list(tracker.track([frame, frame], {0: mask, 7: mask}))
    with pytest.raises(ValueError, match="top_k"):
        MaskTracker(PatchEncoder(), top_k=0)
    for wrong in ({"discriminant_weight": -0.1}, {"logit_adjustment": float("nan")}):
        with pytest.raises(ValueError, match="must be a number from 0 to 1"):
            MaskTracker(PatchEncoder(), **wrong)


def test_confidence_is_high_on_a_visible_object_and_drops_with_it() -> None:
    tracker = MaskTracker(PatchEncoder())
    frames, truth = zip(*(scene(t) for t in range(4)), strict=True)
    tracker.step(frames[0], truth[0])
    assert tracker.confidence == {1: 1.0}
    tracker.step(frames[1])
    visible = tracker.confidence[1]
    assert 0.5 < visible <= 1
    noise = np.random.default_rng(0).integers(0, 255, frames[0].shape, dtype=np.uint8)
    tracker.step(noise)
    assert tracker.confidence[1] < visible - 0.2
    second = np.where(truth[3] > 0, 0, 2).astype(np.uint8)
    tracker.step(frames[3], second)
    assert tracker.confidence[2] == 1.0 and set(tracker.confidence) == {1, 2}


@pytest.mark.parametrize(
    "settings", [{}, {"long_term": ()}, {"short_term": ()}, {"discriminant_weight": 0.2, "logit_adjustment": 0.1}]
)
def test_a_restored_tracker_resumes_with_the_same_masks(settings: dict[str, object]) -> None:
    frames, truth = zip(*(scene(t, 128, 160) for t in range(14)), strict=True)
    input_masks = {0: truth[0], 6: truth[6]}
    unbroken = list(MaskTracker(PatchEncoder(), **settings).track(frames, input_masks))  # type: ignore[arg-type]
    for at in (1, 3, 8, 12):
        tracker = MaskTracker(PatchEncoder(), **settings)  # type: ignore[arg-type]
        restored = tracker.memory.frames_to_restore(at, input_masks)
        for t in range(at):
            given = {"input_mask": input_masks.get(t), "referenced": t in restored}
            tracker.memory.restore_frame(t, frames[t], unbroken[t], **given)
        resumed = [tracker.step(frames[t], input_masks.get(t)) for t in range(at, 14)]
        np.testing.assert_array_equal(resumed, unbroken[at:])


def test_a_tracker_goes_on_from_a_stored_memory(tmp_path: Path) -> None:
    frames, truth = zip(*(scene(t) for t in range(14)), strict=True)
    masks = {0: truth[0], 6: truth[6]}
    for settings in ({}, {"motion": "direct", "short_term": ()}, {"flow": None}, {"discriminant_weight": 0.0}):
        tracker = MaskTracker(PatchEncoder(), **settings)  # type: ignore[arg-type]
        for t in range(14):
            if t in (1, 9):
                with (tmp_path / "memory.npz").open("wb") as file:
                    tracker.memory.stored().write(file, "key")
                memory = StoredMemory.read(tmp_path / "memory.npz", "key")
                assert memory is not None and memory.t == t
                tracker = MaskTracker(PatchEncoder(), **settings)  # type: ignore[arg-type]
                kept = {number: frames[number] for number in {*memory.frames, t - 1}}
                tracker.memory.restore(memory, kept)
            mask = tracker.step(frames[t], masks.get(t))
        unbroken = MaskTracker(PatchEncoder(), **settings)  # type: ignore[arg-type]
        np.testing.assert_array_equal(mask, list(unbroken.track(frames, masks))[-1])


def test_a_tracker_restored_without_objects_finds_none() -> None:
    tracker = MaskTracker(PatchEncoder(), discriminant_weight=0.2, logit_adjustment=0.1)
    frame, mask = scene(0)
    tracker.memory.restore_frame(0, frame, np.zeros_like(mask))
    assert not tracker.step(frame).any() and tracker.confidence == {}


@pytest.mark.parametrize("flow", [None, dis_flow])
@pytest.mark.parametrize("settings", [{}, {"discriminant_weight": 0.2, "logit_adjustment": 0.1}])
def test_masks_do_not_depend_on_the_number_of_threads(flow: Any, settings: dict[str, float]) -> None:
    encoder = load_encoder()
    frames = [scene(t)[0] for t in range(6)]
    previous = torch.get_num_threads(), cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            tracker = MaskTracker(encoder, flow=flow, **settings)
            results.append(np.stack(list(tracker.track(frames, {0: scene(0)[1]}))))
    finally:
        torch.set_num_threads(previous[0])
        cv2.setNumThreads(previous[1])
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_chained_motion_computes_one_flow_per_frame_and_composes_them() -> None:
    calls = []

    def constant_flow(query: Image, reference: Image) -> np.ndarray:  # type: ignore[type-arg]
        calls.append((query[0, 0, 0], reference[0, 0, 0]))
        flow = np.zeros((2, *query.shape[:2]), np.float32)
        flow[0] = -60
        return flow

    frames = [np.roll(scene(0, 96, 384)[0], 60 * t, axis=1) for t in range(5)]
    truth = [np.roll(scene(0, 96, 384)[1], 60 * t, axis=1) for t in range(5)]
    tracker = MaskTracker(PatchEncoder(), flow=constant_flow, radius=1, **PLAIN)
    masks = list(tracker.track(frames, {0: truth[0]}))
    assert len(calls) == 4, "all references are in the short term"
    assert all(overlap(mask, true) > 0.9 for mask, true in zip(masks, truth, strict=True))
    assert tracker.memory._bank.all()[0].motion is not None
    assert float(tracker.memory._bank.all()[0].motion[0].mean()) == pytest.approx(
        -60 * 4 / 4
    )  # cells, composed over four frames
    with pytest.raises(ValueError, match="motion must be one of chained, direct"):
        MaskTracker(PatchEncoder(), motion="fast")


def test_beyond_the_short_term_the_better_motion_is_selected_per_cell() -> None:
    torch.manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(8, 20, 30), dim=0)
    key = torch.roll(query, 3, dims=2)  # every cell moves three to the right
    right, wrong = torch.zeros(2, 20, 30), torch.zeros(2, 20, 30)
    right[0] = 3
    left = torch.arange(30) < 15
    one, other = torch.where(left, right, wrong), torch.where(left, wrong, right)
    selected = select_motion(query, key, one, other)
    inner = selected[:, :, 3:24]
    assert (inner == right[:, :, 3:24]).float().mean() > 0.95
    calls = []

    def zero_flow(frame: Image, reference: Image) -> np.ndarray:  # type: ignore[type-arg]
        calls.append(1)
        return np.zeros((2, *frame.shape[:2]), np.float32)

    frame, mask = scene(0)
    list(MaskTracker(PatchEncoder(), flow=zero_flow, radius=2, **PLAIN).track([frame] * 12, {0: mask}))
    # One per frame, and one more for each of frames 0 and 5 beyond the short term.
    assert len(calls) == 11 + 6 + 1


def test_a_flow_estimator_gives_a_fast_flow_and_one_from_the_composed_motion_beyond_the_short_term() -> None:
    calls: list[tuple[bool, float | None, int]] = []

    class ConstantFlow(DisFlow):
        def __call__(
            self,
            query: Image,
            reference: Image,
            *,
            fast: bool = False,
            initial_flow: Flow | None = None,
            frame_gap: int = 1,
        ) -> Flow:
            calls.append((fast, None if initial_flow is None else float(np.median(initial_flow[0])), frame_gap))
            flow = np.zeros((2, *query.shape[:2]), np.float32)
            flow[0] = -1 if fast else -4
            return flow

    frame, mask = scene(0)
    list(
        MaskTracker(PatchEncoder(), flow=ConstantFlow(), radius=2, **PLAIN | {"long_term": (0,)}).track(
            [frame] * 8, {0: mask}
        )
    )
    near = (False, None, 1)
    assert calls == [near] * 6 + [(True, None, 6), (True, -6, 6)] + [near, (True, None, 7), (True, -7, 7)]


@pytest.mark.parametrize(
    "settings", [{}, {"motion": "direct"}, {"short_term": ()}, {"short_term": (), "motion": "direct"}, {"flow": None}]
)
def test_flow_and_features_of_a_given_next_frame_are_computed_in_another_thread(settings: dict[str, Any]) -> None:
    encoded: list[tuple[bool, bytes]] = []
    calls: list[tuple[bool, tuple[bytes, bytes, bool, bytes]]] = []

    class RecordedEncoder(PatchEncoder):
        def __call__(self, lab: torch.Tensor) -> torch.Tensor:
            encoded.append((threading.current_thread() is threading.main_thread(), lab.numpy().tobytes()))
            return super().__call__(lab)

    class RecordedFlow(DisFlow):
        def __call__(
            self,
            query: Image,
            reference: Image,
            *,
            fast: bool = False,
            initial_flow: Flow | None = None,
            frame_gap: int = 1,
        ) -> Flow:
            in_main_thread = threading.current_thread() is threading.main_thread()
            initial = b"" if initial_flow is None else initial_flow.tobytes()
            calls.append((in_main_thread, (query.tobytes(), reference.tobytes(), fast, initial)))
            return super().__call__(query, reference, fast=fast, initial_flow=initial_flow, frame_gap=frame_gap)

    input_masks = {0: scene(0)[1], 5: scene(5)[1]}
    frames = [scene(t)[0] for t in range(9)]
    settings = {"flow": RecordedFlow()} | settings
    plain, prefetching = (MaskTracker(RecordedEncoder(), radius=4, top_k=9, **settings) for _ in range(2))
    expected = [plain.step(frame, input_masks.get(t)) for t, frame in enumerate(frames)]
    expected_calls, expected_frames = sorted(pair for _, pair in calls), [lab for _, lab in encoded]
    calls.clear()
    encoded.clear()
    pairs = enumerate(with_next(frames))
    masks = [prefetching.step(frame, input_masks.get(t), next_frame=coming) for t, (frame, coming) in pairs]
    np.testing.assert_array_equal(masks, expected)
    assert sorted(pair for _, pair in calls) == expected_calls, "each flow once, and none in vain"
    assert sorted(lab for _, lab in encoded) == sorted(expected_frames), "each frame once"
    assert [lab for in_main_thread, lab in encoded if in_main_thread] == expected_frames[:1]
    in_main_thread = [main for main, (query, *_) in calls if query != frames[0].tobytes()]
    if settings["flow"] is not None and "short_term" not in settings:
        assert sum(in_main_thread) < len(in_main_thread) / 2


def test_features_of_a_next_frame_are_used_once() -> None:
    """Its array may hold another frame later."""
    frames = [scene(t)[0] for t in range(4)]
    array = frames[1].copy()
    reused, plain = (MaskTracker(PatchEncoder(), flow=None, radius=4, top_k=9) for _ in range(2))
    for tracker in (reused, plain):
        tracker.step(frames[0], scene(0)[1], next_frame=array if tracker is reused else None)
    np.testing.assert_array_equal(reused.step(array), plain.step(frames[1]))
    array[:] = frames[3]
    np.testing.assert_array_equal(reused.step(array), plain.step(frames[3]))


def test_matching_uses_smaller_blocks_once_the_device_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int | None] = []

    def out_of_memory_once(*args: Any, block: int | None, **kwargs: Any) -> torch.Tensor:
        blocks.append(block)
        if block is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return propagate(*args, block=block, **kwargs)

    expected = track_scene(4)
    monkeypatch.setattr("mamp.propagation.memory_readout.propagate", out_of_memory_once)
    tracker = MaskTracker(PatchEncoder())
    masks = list(tracker.track([scene(t)[0] for t in range(4)], {0: scene(0)[1]}))
    assert blocks == [None, SMALL_BLOCK, SMALL_BLOCK, SMALL_BLOCK] and tracker.short_of_memory
    assert all(np.array_equal(one, other) for one, other in zip(masks, expected, strict=True))

    def always_out_of_memory(*args: Any, **kwargs: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("mamp.propagation.memory_readout.propagate", always_out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        track_scene(2)


def test_a_restored_tracker_resumes_with_the_same_masks_at_any_output_size() -> None:
    size, settings = (171, 228), {"flow": dis_flow, "radius": 4, "top_k": 9}
    frames = [scene(t)[0] for t in range(12)]
    unbroken, resumed = (MaskTracker(PatchEncoder(), **settings) for _ in range(2))  # type: ignore[arg-type]
    masks = [unbroken.step(frame, scene(0)[1] if t == 0 else None, output_size=size) for t, frame in enumerate(frames)]
    kept = resumed.memory.frames_to_restore(8, [0])
    for t, frame in enumerate(frames[:8]):
        input_mask = scene(0)[1] if t == 0 else None
        resumed.memory.restore_frame(t, frame, masks[t], input_mask=input_mask, referenced=t in kept)
    np.testing.assert_array_equal([resumed.step(frame, output_size=size) for frame in frames[8:]], masks[8:])


def test_inspecting_a_frame_needs_fewer_frames_than_going_on_from_it() -> None:
    tracker = MaskTracker(PatchEncoder())
    assert tracker.memory.frames_to_restore(25, to_inspect=True) == [0, 5, 10, 20, 22, 24]
    assert tracker.memory.frames_to_restore(25, [0, 12, 30], to_inspect=True) == [0, 5, 10, 12, 20, 22, 24]
    assert {21, 23} <= set(tracker.memory.frames_to_restore(25))
    with pytest.raises(ValueError, match="no frame in memory"):
        tracker.inspect(np.zeros((16, 16, 3), np.uint8))
