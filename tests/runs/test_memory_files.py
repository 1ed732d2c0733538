"""A run resumes in constant time from a stored memory, with the masks of an unbroken run; without one, from its masks."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mamp.flow import optical_flow
from mamp.model.patch_encoder import PatchEncoder
from mamp.runs.results import Result
from mamp.runs.resume import TrackerFactory
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from tests.conftest import Image, scene

SETTINGS = Settings(short_side=0, radius=3, weights="patch")
Run = Callable[..., Result]


@pytest.fixture
def run(clip: Path) -> Run:
    """Runs the clip into a folder of the given name."""

    def run(name: str, masks: dict[int, Image], frames: int = 99, **options: Any) -> Result:
        done = itertools.count(1)
        updates = segment_video(
            clip,
            masks,
            clip.parent / name,
            SETTINGS,
            encoder=PatchEncoder(),
            outputs=("masks",),
            should_stop=lambda: next(done) >= frames,
            **options,
        )
        return list(updates)[-1].result or pytest.fail("the run has no result")

    return run


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of flows that each tracker needed to resume."""
    counts: list[int] = []
    flow, tracker_at = optical_flow.DisFlow.__call__, TrackerFactory.tracker_at
    calls = itertools.count()

    def counted_flow(*arguments: Any, **options: Any) -> Any:
        next(calls)
        return flow(*arguments, **options)

    def counted_tracker_at(*arguments: Any, **options: Any) -> Any:
        before = next(calls)
        tracker = tracker_at(*arguments, **options)
        counts.append(next(calls) - before - 1)
        return tracker

    monkeypatch.setattr(optical_flow.DisFlow, "__call__", counted_flow)
    monkeypatch.setattr(TrackerFactory, "tracker_at", counted_tracker_at)
    return counts


def masks_of(result: Result) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in result.masks_dir.iterdir()}


@pytest.mark.parametrize("first", [0, 11])
def test_a_part_follows_no_motion_of_earlier_frames(run: Run, flows: list[int], first: int) -> None:
    masks = {index: scene(index)[1] for index in (first, abs(first - 4))}
    unbroken = masks_of(run("unbroken", masks))
    one = run("one", masks, 4)
    two = run("two", masks, 4, previous=one.folder)
    flows.clear()
    assert masks_of(run("three", masks, previous=two.folder)) == unbroken
    assert flows == [0]


@pytest.mark.parametrize("first", [0, 11])
def test_regular_memories_serve_a_run_whose_later_frames_are_corrected(run: Run, flows: list[int], first: int) -> None:
    masks = {first: scene(first)[1]}
    stored = run("stored", masks, memory_interval=3)
    way = "forwards" if first == 0 else "backwards"
    assert sorted(path.name for path in stored.memory_dir.iterdir()) == [f"{way}-{t:06d}.npz" for t in (3, 6, 9, 12)]
    assert masks_of(stored) == masks_of(run("plain", masks))
    corrected = {**masks, abs(first - 10): np.roll(scene(abs(first - 10))[1], 3, axis=1)}
    flows.clear()
    again = run("again", corrected, previous=stored.folder)
    assert flows and flows[-1] <= 1
    assert masks_of(again) == masks_of(run("unaided", corrected))


def test_a_full_disk_costs_a_regular_memory_and_not_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mamp.runs.memory_files.StoredMemory.write", full)
    assert run("run", {0: scene(0)[1]}, memory_interval=3).frames == 12


def test_without_a_valid_memory_a_run_resumes_from_its_masks(run: Run, flows: list[int]) -> None:
    masks = {0: scene(0)[1]}
    unbroken = masks_of(run("unbroken", masks))
    stopped = run("stopped", masks, 6)
    (memory,) = stopped.memory_dir.iterdir()
    content = memory.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes(value ^ 1 for value in content[middle : middle + 9]) + content[middle + 9 :]
    for number, damaged in enumerate((b"", content[:-900], changed)):
        memory.write_bytes(damaged)
        assert masks_of(run(f"resumed-{number}", masks, previous=stopped.folder)) == unbroken
        assert flows[-1] > 4


def test_a_run_that_ends_within_a_frame_stores_no_memory_and_resumes_from_its_masks(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = {0: scene(0)[1]}
    unbroken = run("unbroken", masks)
    steps, step = itertools.count(), MaskTracker.step

    def interrupted_step(*arguments: Any, **options: Any) -> Any:
        if next(steps) == 5:
            raise SystemExit(130)  # as Ctrl-C does
        return step(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MaskTracker, "step", interrupted_step)
        with pytest.raises(SystemExit):
            run("interrupted", masks)
    interrupted = Result(unbroken.folder.with_name("interrupted"))
    assert interrupted.stopped and interrupted.frames == 6 and not interrupted.memory_dir.exists()
    assert masks_of(run("resumed", masks, previous=interrupted.folder)) == masks_of(unbroken)


def test_a_memory_serves_until_a_mask_before_it_changes(run: Run, flows: list[int]) -> None:
    first, moved = scene(0)[1], np.roll(scene(3)[1], 3, axis=1)
    stopped = run("stopped", {0: first}, 6)
    after = run("after", {0: first, 8: scene(8)[1]}, previous=stopped.folder)
    assert flows[-1] == 0
    assert [path.name for path in after.memory_dir.iterdir()] == [f"forwards-{stopped.frames:06d}.npz"]
    before = run("before", {0: first, 3: moved}, previous=after.folder)
    assert flows[-1] > 0 and not before.memory_dir.exists()
    assert masks_of(before) == masks_of(run("anew", {0: first, 3: moved}))


def test_a_run_into_the_same_folder_drops_the_memory(run: Run) -> None:
    stopped = run("run", {0: scene(0)[1]}, 6)
    assert list(stopped.memory_dir.iterdir())
    assert not list(run("run", {0: scene(0)[1]}).memory_dir.iterdir())
