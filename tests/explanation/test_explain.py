"""Explanations: the votes of a cell equal the read-out of the tracker, and the label explained is the label stored."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mamp import PatchEncoder, Settings, explain, segment_video, write_mask
from mamp.explanation.cell_grid import CellGrid
from mamp.explanation.explain import FrameExplainer, _label_scores
from mamp.explanation.explanation import Decision, Explanation, MemoryTerm
from mamp.explanation.votes import read_cell
from mamp.flow.optical_flow import DisFlow
from mamp.masks.label_map import MaskError
from mamp.runs.finished import open_trackers
from mamp.runs.results import Result
from mamp.runs.resume import TrackerFactory
from mamp.video.images import resize_frame
from tests.conftest import Image, scene, write_clip

FIRST = 2
FAST = Settings(weights="patch", radius=4)


def two_objects(t: int) -> Image:
    mask = scene(t)[1]
    mask[:16, 100:] = 7
    return mask


def finished_run(folder: Path, settings: Settings = FAST, frames: list[Image] | None = None) -> tuple[Path, Path]:
    """The folder of a run and its clip, with masks on frames 2 and 6, where another object appears."""
    clip = write_clip(folder / "clip.mp4", frames or [scene(t)[0] for t in range(9)])
    masks = {FIRST: scene(FIRST)[1], 6: two_objects(6)}
    list(segment_video(clip, masks, folder / "run", settings, outputs=("masks",), names={1: "disk"}))
    return folder / "run", clip


def score_of(explanation: Explanation, label: int) -> float:
    return next(each.score for each in explanation.scores if each.label == label)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(weights="patch", long_term=(0,)),
        Settings.paper(),
        Settings(short_side=64, weights="patch", flow="none"),
    ],
)
@torch.inference_mode()
def test_votes_and_scores_equal_those_of_the_tracker_and_lead_to_the_stored_label(
    tmp_path: Path, settings: Settings
) -> None:
    run, clip = finished_run(tmp_path, settings)
    trackers = open_trackers(Result(run), clip)
    request = trackers.request
    grid = CellGrid(request.size, request.processing_size)
    compared: dict[int, int] = {}
    for frame in (0, 5, 8):
        tracker = trackers.tracker_at(frame, 1 if frame > FIRST else -1, to_inspect=True)
        image = resize_frame(request.reader.frame(frame).image, request.processing_size)
        query, found = tracker.inspect(image)
        mask = trackers.store.mask(frame)
        np.testing.assert_array_equal(tracker.scores_to_mask(found.scores, query.labels, image, request.size), mask)
        for x, y in np.random.default_rng(frame).integers((0, 0), (128, 96), (60, 2)).tolist():
            cell = grid.at(x, y)
            readout = read_cell(query, cell, settings)
            torch.testing.assert_close(readout.scores, found.scores[(slice(None), *cell)], atol=1e-4, rtol=0)
            near = mask[max(y - 9, 0) : y + 10, max(x - 9, 0) : x + 10]
            if (near == mask[y, x]).all():
                assert query.labels[int(readout.scores.argmax())] == mask[y, x]
                compared[int(mask[y, x])] = compared.get(int(mask[y, x]), 0) + 1
    assert compared[0] > 20 and compared[1] > 10


def test_a_pixel_is_explained_by_votes_motion_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, clip = finished_run(tmp_path)
    explanation = explain(run, clip, 8, 52, 60)
    assert explanation.label == 1 and explanation.decision is Decision.VOTES
    # Frames count as in the clip: the memory of frame 8 holds its first masks and the frames 1, 3 and 5 steps before it.
    assert [view.frame for view in explanation.memory] == [2, 3, 5, 6, 7]
    assert sum(vote.weight for vote in explanation.votes) == pytest.approx(1, abs=1e-5)
    assert len(explanation.votes) == 9 and explanation.votes[0].label == 1
    for view in explanation.memory:
        # The disk moves 2 pixels to the right in each frame.
        assert view.motion is not None and view.motion[0] == pytest.approx(2 * (view.frame - 8), abs=1.5)
        assert all(abs(vote.place[0] - view.target[0]) <= 4 * 4 + 8 for vote in view.votes)
    assert [(each.label, each.name) for each in explanation.scores] == [(0, "background"), (1, "disk"), (7, "object 7")]
    assert sum(each.score for each in explanation.scores) == pytest.approx(1, abs=1e-5)
    assert explanation.scores[1].score > 0.5 and (explanation.scores[1].discriminant or 0) > 0.3
    assert "Disk has" in explanation.text and "Eq. 1 and 2" in explanation.text and "left" in explanation.text
    again = FrameExplainer(run, clip, 8)
    restore, calls = TrackerFactory.tracker_at, []
    monkeypatch.setattr(
        TrackerFactory, "tracker_at", lambda *args, **kwargs: calls.append(1) or restore(*args, **kwargs)
    )
    assert again.explain(52, 60) == explanation and again.explain(100, 90).label == 0 and len(calls) == 1
    document = json.loads(json.dumps(explanation.to_dict()))
    assert document["decision"] == "votes" and document["memory"][0]["frame"] == 2
    assert "image" not in document and "flow" not in document["memory"][0]


def test_stored_memories_leave_few_flows_and_change_no_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, clip = finished_run(tmp_path)
    plain = [explain(run, clip, frame, 52, 60) for frame in (5, 8)]
    masks = {FIRST: scene(FIRST)[1], 6: two_objects(6)}
    list(segment_video(clip, masks, run, FAST, outputs=("masks",), names={1: "disk"}, memory_interval=2))
    flow, calls = DisFlow.__call__, []
    monkeypatch.setattr(DisFlow, "__call__", lambda *args, **options: calls.append(1) or flow(*args, **options))
    assert [explain(run, clip, frame, 52, 60) for frame in (5, 8)] == plain
    # Of frames 5 and 8 to the previous one, of frame 4 too, which no memory knows, and of frame 8 to the first one.
    assert len(calls) <= 5


def test_without_motion_windows_stay_in_place_and_a_fast_object_loses_its_votes(tmp_path: Path) -> None:
    frames = [scene(t, speed=14)[0] for t in range(5)]
    settings = Settings(weights="patch", radius=2, long_term=(0,))
    clip = write_clip(tmp_path / "clip.mp4", frames)
    list(segment_video(clip, {0: scene(0)[1]}, tmp_path / "run", settings, outputs=("masks",)))
    x = 36 + 4 * 14 + 24  # ahead of where the disk was one frame before
    explanation = explain(tmp_path / "run", clip, 4, x, 50)
    disk = explanation.scores[1]
    assert explanation.label == 1 and disk.votes > 0.9 and disk.unaligned_votes < 0.2
    votes = [vote for view in explanation.memory for vote in view.unaligned_votes]
    assert sum(vote.weight for vote in votes) == pytest.approx(1, abs=1e-5)
    assert all(abs(vote.place[0] - x) <= 2 * 4 + 4 for vote in votes)
    assert explanation.unaligned_mask is not None and explanation.unaligned_mask[50, x] == 0
    terms = {view.frame: view.term for view in explanation.memory}
    assert terms == {0: MemoryTerm.LONG, 1: MemoryTerm.SHORT, 3: MemoryTerm.SHORT}


def test_input_masks_explain_themselves(tmp_path: Path) -> None:
    run, clip = finished_run(tmp_path)
    first, later, backwards = (explain(run, clip, *at) for at in ((FIRST, 40, 48), (6, 110, 5), (0, 36, 48)))
    assert first.decision is Decision.INPUT_MASK and first.label == 1 and not first.memory
    assert later.decision is Decision.INPUT_MASK and later.label == 7 and score_of(later, 0) > 0.9
    assert backwards.decision is Decision.VOTES and [view.frame for view in backwards.memory] == [2, 1]


@torch.inference_mode()
def test_edges_are_explained_by_upsampling_and_changed_masks_are_told(tmp_path: Path) -> None:
    run, clip = finished_run(tmp_path)
    trackers = open_trackers(Result(run), clip)
    grid, mask = CellGrid((96, 128), (96, 128)), trackers.store.mask(8)
    query, found = trackers.tracker_at(8, 1).inspect(trackers.request.reader.frame(8).image)
    winner = np.array(query.labels)[found.scores.argmax(dim=0).numpy()]
    edge = [(x, y) for y, x in np.ndindex(mask.shape) if winner[grid.at(x, y)] == 0 and mask[y, x] == 1]
    explanation = explain(run, clip, 8, *edge[0])
    assert explanation.decision is Decision.UPSAMPLING and score_of(explanation, 1) < 0.5
    assert "edge" in explanation.text

    write_mask(run / "masks" / "00008.png", np.full_like(mask, 9))
    changed = explain(run, clip, 8, 52, 60)
    assert changed.decision is Decision.UNKNOWN and "label 9" in changed.text and "discriminant of disk" in changed.text


def test_an_object_that_was_detected_elsewhere_is_explained_by_its_shift(tmp_path: Path) -> None:
    frames = [scene(t)[0] if t < 8 else np.roll(scene(t)[0], 60, axis=1) for t in range(9)]
    run, clip = finished_run(tmp_path, Settings(weights="patch", radius=4, flow="none"), frames)
    explanation = explain(run, clip, 8, 112, 52)
    assert explanation.label == 1 and explanation.decision is Decision.REDETECTION
    view = max(explanation.memory, key=lambda view: view.weight)
    assert view.redetected and view.motion is not None and view.motion[0] == pytest.approx(-62, abs=8)
    assert "re-detection" in explanation.text


def test_what_cannot_be_explained_is_refused_with_one_sentence(tmp_path: Path) -> None:
    run, clip = finished_run(tmp_path)
    (run / "masks" / "00005.png").unlink()
    other = write_clip(tmp_path / "other.mp4", [scene(t)[0] for t in range(3)])
    for arguments, message in (
        ((run, clip, 99, 0, 0), "There is no frame 99; the clip has frames 0 to 8."),
        ((run, clip, 3, 128, 0), "There is no pixel 128,0; the clip is 128x96."),
        ((run, clip, 5, 0, 0), "The run has no mask of frame 5."),
        ((run, other, 1, 0, 0), "other.mp4 is not the clip of this run, which is clip.mp4."),
        ((tmp_path, clip, 1, 0, 0), "There are no results of a run"),
    ):
        with pytest.raises(ValueError, match=message):
            explain(*arguments)
    with pytest.raises(MaskError, match="The run in run was made with other weights, patch"):
        explain(run, clip, 3, 0, 0, encoder=lambda lab: PatchEncoder()(lab))


def test_shares_that_round_to_a_bit_below_zero_are_zero() -> None:
    query: Any = SimpleNamespace(labels=[0, 1], discriminants=None)
    found: Any = SimpleNamespace(scores=torch.tensor([[[1.0]], [[-1e-9]]]))
    readout: Any = SimpleNamespace(vote_sums=[1.0, -1e-9])
    request: Any = SimpleNamespace(names={})
    shares = _label_scores(query, found, readout, readout, (0, 0), request)[1]
    assert f"{shares.votes:.0%} {shares.unaligned_votes:.0%} {shares.score:.0%}" == "0% 0% 0%"
