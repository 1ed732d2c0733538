"""The speed and the time left of a run."""

from __future__ import annotations

import pytest

from mamp.runs import progress
from mamp.runs.progress import Progress, Update


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def track(clock: Clock, counted: Progress, done: set[int], index: int, seconds: float) -> Update:
    clock.now += seconds
    done.add(index)
    counted.tracked(index)
    return counted.update(index, None)


def test_neither_setup_nor_reused_frames_count_in_the_speed(clock: Clock) -> None:
    done = set(range(50))  # reused
    counted = Progress(done, 75)
    clock.now += 8  # the memory of frame 50 is restored
    assert track(clock, counted, done, 50, 1.5).seconds_left is None, "its time holds the setup"
    second = track(clock, counted, done, 51, 0.25)
    assert (second.fps, second.seconds_left) == (4, 23 / 4)
    clock.now += 3  # another one is missing behind frames that are reused
    done.update(range(52, 60))
    third = track(clock, counted, done, 60, 0.25)
    assert (third.fps, third.seconds_left) == (4, 14 / 4)


def test_frames_tracked_backwards_and_a_wait_between_parts_do_not_change_the_speed(clock: Clock) -> None:
    done = {5}
    counted = Progress(done, 20)
    for index in (4, 3):
        track(clock, counted, done, index, 0.5)
    clock.now += 60
    counted.pause()
    for index in (2, 1, 0):
        update = track(clock, counted, done, index, 0.5)
    assert (update.fps, update.seconds_left) == (2, 14 / 2)


def test_a_run_without_a_missing_frame_has_the_speed_of_drawing(clock: Clock) -> None:
    counted = Progress(set(range(10)), 10)
    for index in range(10):
        clock.now += 0.1
        counted.rendered += 1
        update = counted.update(index, None)
    assert update.fps == pytest.approx(10) and update.seconds_left == 0
