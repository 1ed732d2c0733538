"""Lost objects: after a shot change, out of the frame, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mamp import MaskTracker, load_encoder
from mamp.propagation.memory_bank import MemoryFrame
from mamp.propagation.memory_readout import MemoryReader, Reference
from mamp.propagation.object_discriminant import class_statistics
from mamp.propagation.redetection import Redetector, detect
from tests.conftest import Image, overlap, scene

FITTED = {"discriminant_weight": 0.2, "logit_adjustment": 0.1, "top_k": 9, "radius": 6}


def view(t: int, left: int) -> tuple[Image, Image]:
    """The scene from a camera at a column, and the mask of the object."""
    frame, mask = (np.roll(image, 140, axis=1)[:, left : left + 192] for image in scene(t, 96, 480))
    return np.ascontiguousarray(frame), np.ascontiguousarray(mask)


def elsewhere(t: int) -> Image:
    """Another scene, in gray."""
    grain = np.random.default_rng(7).integers(20, 235, (24, 48, 1), dtype=np.uint8)
    return np.ascontiguousarray(np.roll(np.kron(grain, np.ones((4, 4, 3), np.uint8)), t, axis=1))


def tracked(frames: list[Image], first_mask: Image, **settings: object) -> tuple[list[Image], list[float]]:
    """Masks, and the confidence of object 1."""
    tracker = MaskTracker(load_encoder(), **(FITTED | settings))  # type: ignore[arg-type]
    masks, confidence = [], []
    for t, frame in enumerate(frames):
        masks.append(tracker.step(frame, None if t else first_mask))
        confidence.append(tracker.confidence[1])
    return masks, confidence


def noise_frame() -> MemoryFrame:
    """A frame of noise with object 3 in rows 4 to 11 and columns 5 to 14; seeds the numbers drawn after it, too."""
    torch.manual_seed(0)
    key, cues = torch.randn(8, 30, 40), torch.zeros(1, 30, 40)
    value = torch.zeros(30, 40, dtype=torch.uint8)
    value[4:12, 5:15] = 3
    statistics = class_statistics(key, cues, value, radius=6)
    return MemoryFrame(
        image=np.zeros((1, 1, 3), np.uint8), key=key, cues=cues, value=value, class_statistics=statistics
    )


def test_an_object_is_found_after_the_camera_jumps() -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 20) for t in range(10)), strict=True)
    masks, _ = tracked(list(frames), truth[0])
    assert all(overlap(mask, true) > 0.8 for mask, true in zip(masks, truth, strict=True))
    without, _ = tracked(list(frames), truth[0], discriminant_weight=0.0)
    assert overlap(without[6], truth[6]) < 0.5


def test_an_object_is_absent_in_another_scene_and_found_when_its_scene_is_back() -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 30) for t in range(14)), strict=True)
    shown = [elsewhere(t) if 6 <= t < 10 else frame for t, frame in enumerate(frames)]
    masks, confidence = tracked(shown, truth[0])
    assert not any(mask.any() for mask in masks[6:10])
    assert all(overlap(masks[t], truth[t]) > 0.8 for t in (5, 10, 13))
    assert confidence[6:10] == [0.0] * 4


def test_each_lost_object_is_found_separately() -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 20) for t in range(8)), strict=True)
    two_labels = truth[0].copy()
    rows = np.arange(96)[:, None]
    two_labels[(two_labels > 0) & (rows < 48)] = 2
    masks, _ = tracked(list(frames), two_labels)
    middle = np.nonzero(truth[7])[0].mean()
    assert overlap(masks[7], truth[7]) > 0.8
    for label, half in ((1, rows >= middle), (2, rows < middle)):
        assert overlap(masks[7] == label, (truth[7] > 0) & half) > 0.7


@pytest.mark.parametrize("at", [7, 9, 12])
def test_a_run_restored_near_a_shot_change_resumes_with_the_same_masks(at: int) -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 30) for t in range(14)), strict=True)
    shown = [elsewhere(t) if 6 <= t < 10 else frame for t, frame in enumerate(frames)]
    whole, _ = tracked(shown, truth[0])
    resumed = MaskTracker(load_encoder(), **FITTED)  # type: ignore[arg-type]
    kept = resumed.memory.frames_to_restore(at, [0])
    for t, frame in enumerate(shown[:at]):
        input_mask = truth[0] if t == 0 else None
        resumed.memory.restore_frame(t, frame, whole[t], input_mask=input_mask, referenced=t in kept)
    np.testing.assert_array_equal([resumed.step(frame) for frame in shown[at:]], whole[at:])


def test_a_moved_object_is_detected_with_its_displacement_and_an_absent_one_is_not() -> None:
    memory = noise_frame()
    key, reference = memory.key, Reference(memory, motion=None, reliable=True, number=0)
    high_scores = torch.ones(30, 40)
    query = torch.randn(8, 30, 40)
    query[:, 14:22, 25:35] = 2 * key[:, 4:12, 5:15]
    detection = detect(query, high_scores, reference, 3)
    assert detection.shift.tolist() == [-20, -10] and 1 <= detection.fraction < 1.2
    assert detect(query, -high_scores, reference, 3).fraction == 0
    assert detect(torch.randn(8, 30, 40), high_scores, reference, 3).fraction < 0.2


def test_cells_mismistaken_for_an_absent_object_are_removed_after_a_shot_change() -> None:
    previous = noise_frame()
    key, cues = previous.key, previous.cues
    reader = MemoryReader(radius=6, top_k=9, discriminant_weight=0.2, logit_adjustment=0.0)
    mistaken = torch.zeros(2, 30, 40)
    mistaken[1, 20:25, 20:30] = 1
    mistaken[0] = 1 - mistaken[1]

    redetector, references = Redetector(reader), [Reference(previous, None, reliable=True, number=0)]
    query = reader.query(torch.randn(8, 30, 40), cues, references, [0, 3])
    corrected = redetector(mistaken, query, previous=previous, flow_to_previous=None)
    assert not corrected.scores[1].any() and corrected.shot_change > 0.8 and corrected.absent == [1]
    covered = key.clone()
    covered[:, previous.value > 0] = torch.randn(8, 80)
    query = reader.query(covered, cues, references, [0, 3])
    kept = redetector(mistaken, query, previous=previous, flow_to_previous=None)
    np.testing.assert_array_equal(kept.scores, mistaken)
    assert kept.shot_change == 0


def test_a_partly_hidden_object_that_has_its_label_is_not_matched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    previous = noise_frame()
    key, cues = previous.key, previous.cues
    reader, calls = MemoryReader(radius=6, top_k=9, discriminant_weight=0.2, logit_adjustment=0.0), []
    redetector = Redetector(reader)
    hidden = key.clone()
    hidden[:, 7:12, 5:15] = torch.randn(8, 5, 10)
    query = reader.query(hidden, cues, [Reference(previous, None, reliable=True, number=0)], [0, 3])
    visible = torch.zeros(2, 30, 40)
    visible[1, 4:7, 5:15] = 1
    visible[0] = 1 - visible[1]

    call = MemoryReader.__call__
    monkeypatch.setattr(MemoryReader, "__call__", lambda *args, **kwargs: calls.append(1) or call(*args, **kwargs))
    kept = redetector(visible, query, previous=previous, flow_to_previous=None)
    np.testing.assert_array_equal(kept.scores, visible)
    assert not calls and kept.rematched is None
    nothing = torch.stack((torch.ones(30, 40), torch.zeros(30, 40)))
    corrected = redetector(nothing, query, previous=previous, flow_to_previous=None)
    assert calls and corrected.scores[1, 4:7, 5:15].mean() > 0.5
    assert corrected.rematched is not None and [each.number for each in corrected.rematched.references] == [0, 0]
    assert corrected.cells is not None and corrected.cells[4:7, 5:15].all()

    calls.clear()
    # A fifth of the detected cells is less than a tenth of the object.
    visible[:, 4:6, 5:8] = visible[:, 4:6, 5:8].flip(0)
    kept = redetector(visible, query, previous=previous, flow_to_previous=None)
    np.testing.assert_array_equal(kept.scores, visible)
    assert not calls
    gone = replace(previous, value=torch.zeros_like(previous.value))
    redetector(visible, query, previous=gone, flow_to_previous=None)
    assert calls  # it reappears: all of it is requested


def test_confidence_is_lower_at_a_shot_change(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, truth = zip(*(view(t, 120) for t in range(4)), strict=True)
    _, confidence = tracked(list(frames), truth[0])
    monkeypatch.setattr("mamp.propagation.redetection._changed_fraction", lambda *_: torch.tensor(0.6))
    _, at_shot_changes = tracked(list(frames), truth[0])
    assert at_shot_changes == pytest.approx([1.0, *(0.4 * each for each in confidence[1:])], abs=0.02)


def test_a_shot_change_is_reset_if_the_previous_frame_is_not_in_memory() -> None:
    torch.manual_seed(0)
    key, cues = torch.randn(8, 30, 40), torch.zeros(1, 30, 40)
    value = torch.zeros(30, 40, dtype=torch.uint8)
    previous = MemoryFrame(image=np.zeros((1, 1, 3), np.uint8), key=key, cues=cues, value=value)
    reader = MemoryReader(radius=6, top_k=9, discriminant_weight=0.2, logit_adjustment=0.0)
    redetector, query = Redetector(reader), reader.query(torch.randn(8, 30, 40), cues, [], [0, 3])
    scores = torch.zeros(2, 30, 40)
    assert redetector(scores, query, previous=previous, flow_to_previous=None).shot_change > 0.8
    assert redetector(scores, query, previous=None, flow_to_previous=None).shot_change == 0
