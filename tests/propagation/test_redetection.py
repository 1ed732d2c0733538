"""Objects that are lost: over a cut, out of the picture, and back."""

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
    """What a camera that stands at a column sees of the scene, and the object's mask."""
    frame, mask = (np.roll(picture, 140, axis=1)[:, left : left + 192] for picture in scene(t, 96, 480))
    return np.ascontiguousarray(frame), np.ascontiguousarray(mask)


def elsewhere(t: int) -> Image:
    """Another place, in grey."""
    grain = np.random.default_rng(7).integers(20, 235, (24, 48, 1), dtype=np.uint8)
    return np.ascontiguousarray(np.roll(np.kron(grain, np.ones((4, 4, 3), np.uint8)), t, axis=1))


def tracked(frames: list[Image], given: Image, **settings: object) -> tuple[list[Image], list[float]]:
    """Masks, and how sure the tracker is of object 1."""
    tracker = MaskTracker(load_encoder(), **(FITTED | settings))  # type: ignore[arg-type]
    masks, sure = [], []
    for t, frame in enumerate(frames):
        masks.append(tracker.step(frame, None if t else given))
        sure.append(tracker.confidence[1])
    return masks, sure


def remembered() -> MemoryFrame:
    """A frame of noise that shows object 3 in rows 4 to 11 and columns 5 to 14; numbers drawn next are the same as well."""
    torch.manual_seed(0)
    key, cues = torch.randn(8, 30, 40), torch.zeros(1, 30, 40)
    value = torch.zeros(30, 40, dtype=torch.uint8)
    value[4:12, 5:15] = 3
    told = class_statistics(key, cues, value, radius=6)
    return MemoryFrame(image=np.zeros((1, 1, 3), np.uint8), key=key, cues=cues, value=value, class_statistics=told)


def test_an_object_is_found_where_the_view_jumps_to() -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 20) for t in range(10)), strict=True)
    masks, _ = tracked(list(frames), truth[0])
    assert all(overlap(mask, true) > 0.8 for mask, true in zip(masks, truth, strict=True))
    without, _ = tracked(list(frames), truth[0], discriminant_weight=0.0)
    assert overlap(without[6], truth[6]) < 0.5


def test_an_object_is_nowhere_in_another_place_and_found_when_the_first_is_back() -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 30) for t in range(14)), strict=True)
    shown = [elsewhere(t) if 6 <= t < 10 else frame for t, frame in enumerate(frames)]
    masks, sure = tracked(shown, truth[0])
    assert not any(mask.any() for mask in masks[6:10])
    assert all(overlap(masks[t], truth[t]) > 0.8 for t in (5, 10, 13))
    assert sure[6:10] == [0.0] * 4


def test_only_what_is_lost_is_looked_for() -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 20) for t in range(8)), strict=True)
    given = truth[0].copy()
    rows = np.arange(96)[:, None]
    given[(given > 0) & (rows < 48)] = 2
    masks, _ = tracked(list(frames), given)
    middle = np.nonzero(truth[7])[0].mean()
    assert overlap(masks[7], truth[7]) > 0.8
    for label, half in ((1, rows >= middle), (2, rows < middle)):
        assert overlap(masks[7] == label, (truth[7] > 0) & half) > 0.7


@pytest.mark.parametrize("at", [7, 9, 12])
def test_a_tracker_that_recalls_frames_beside_a_cut_goes_on_as_it_would_have(at: int) -> None:
    frames, truth = zip(*(view(t, 120 if t < 6 else 30) for t in range(14)), strict=True)
    shown = [elsewhere(t) if 6 <= t < 10 else frame for t, frame in enumerate(frames)]
    whole, _ = tracked(shown, truth[0])
    resumed = MaskTracker(load_encoder(), **FITTED)  # type: ignore[arg-type]
    kept = resumed.frames_to_restore(at, [0])
    for t, frame in enumerate(shown[:at]):
        resumed.restore_frame(t, frame, whole[t] if t in kept else None, given=t == 0)
    np.testing.assert_array_equal([resumed.step(frame) for frame in shown[at:]], whole[at:])


def test_what_moved_is_found_with_its_displacement_and_what_is_not_there_is_not() -> None:
    memory = remembered()
    key, shown = memory.key, Reference(memory, motion=None, trusted=True)
    on_its_side = torch.ones(30, 40)
    query = torch.randn(8, 30, 40)
    query[:, 14:22, 25:35] = 2 * key[:, 4:12, 5:15]
    found = detect(query, on_its_side, shown, 3)
    assert found.shift.tolist() == [-20, -10] and 1 <= found.share < 1.2
    assert detect(query, -on_its_side, shown, 3).share == 0
    assert detect(torch.randn(8, 30, 40), on_its_side, shown, 3).share < 0.2


def test_what_the_vote_takes_for_an_object_is_let_go_where_the_picture_is_another() -> None:
    before = remembered()
    key, cues = before.key, before.cues
    vote = MemoryReader(radius=6, top_k=9, discriminant_weight=0.2, logit_adjustment=0.0)
    taken = torch.zeros(2, 30, 40)
    taken[1, 20:25, 20:30] = 1
    taken[0] = 1 - taken[1]

    search, asked = Redetector(vote), [Reference(before, None, trusted=True)]
    another = search(taken, vote.query(torch.randn(8, 30, 40), cues, asked, [0, 3]), before=before, came=None)
    assert not another[1].any() and search.cut > 0.8
    covered = key.clone()
    covered[:, before.value > 0] = torch.randn(8, 80)
    query = vote.query(covered, cues, asked, [0, 3])
    np.testing.assert_array_equal(search(taken, query, before=before, came=None), taken)
    assert search.cut == 0


def test_an_object_whose_cells_have_its_label_is_only_hidden_and_not_voted_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = remembered()
    key, cues = before.key, before.cues
    vote, again = MemoryReader(radius=6, top_k=9, discriminant_weight=0.2, logit_adjustment=0.0), []
    hidden = key.clone()
    hidden[:, 7:12, 5:15] = torch.randn(8, 5, 10)
    query = vote.query(hidden, cues, [Reference(before, None, trusted=True)], [0, 3])
    seen = torch.zeros(2, 30, 40)
    seen[1, 4:7, 5:15] = 1
    seen[0] = 1 - seen[1]

    call = MemoryReader.__call__
    monkeypatch.setattr(MemoryReader, "__call__", lambda *given, **named: again.append(1) or call(*given, **named))
    np.testing.assert_array_equal(Redetector(vote)(seen, query, before=before, came=None), seen)
    assert not again
    found = Redetector(vote)(torch.stack((torch.ones(30, 40), torch.zeros(30, 40))), query, before=before, came=None)
    assert again and found[1, 4:7, 5:15].mean() > 0.5

    again.clear()
    seen[:, 4:6, 5:8] = seen[:, 4:6, 5:8].flip(0)  # a fifth of what convinces is no tenth of the object
    np.testing.assert_array_equal(Redetector(vote)(seen, query, before=before, came=None), seen)
    assert not again
    gone = replace(before, value=torch.zeros_like(before.value))
    Redetector(vote)(seen, query, before=gone, came=None)
    assert again  # it comes out: all of it is asked for


def test_what_is_found_over_a_cut_is_less_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, truth = zip(*(view(t, 120) for t in range(4)), strict=True)
    _, sure = tracked(list(frames), truth[0])
    monkeypatch.setattr("mamp.propagation.redetection._unlike", lambda *_: torch.tensor(0.6))
    _, over_cuts = tracked(list(frames), truth[0])
    assert over_cuts == pytest.approx([1.0, *(0.4 * each for each in sure[1:])], abs=0.02)


def test_a_cut_is_forgotten_where_the_frame_before_is_not_kept() -> None:
    torch.manual_seed(0)
    key, cues = torch.randn(8, 30, 40), torch.zeros(1, 30, 40)
    value = torch.zeros(30, 40, dtype=torch.uint8)
    before = MemoryFrame(image=np.zeros((1, 1, 3), np.uint8), key=key, cues=cues, value=value)
    vote = MemoryReader(radius=6, top_k=9, discriminant_weight=0.2, logit_adjustment=0.0)
    search, query = Redetector(vote), vote.query(torch.randn(8, 30, 40), cues, [], [0, 3])
    search(torch.zeros(2, 30, 40), query, before=before, came=None)
    assert search.cut > 0.8
    search(torch.zeros(2, 30, 40), query, before=None, came=None)
    assert search.cut == 0
