"""A run or an export: its latest updates of the page, and its place in the line of those that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from webapp import ZERO_GPU
from webapp.languages import message

MAX_WAITING = 20  # for runs, and as many for exports
RUNS_AT_ONCE = 8  # on ZeroGPU

Kind = Literal["run", "export"]


class Job:
    """A run or an export, which any number of pages can watch.

    Attributes:
        kind: What it is.
        is_started: Whether it is in the line of its kind, or was.
        state: "waiting" until it begins, then "running".
    """

    def __init__(self, kind: Kind) -> None:
        self.kind, self.is_started = kind, False
        self.state, self._over = "waiting", False
        self._updates: dict[str, tuple[int, Any]] = {}  # by component: when it was last updated, and to what
        self._version = 0
        self._published = threading.Condition()
        self._seconds_left = 0.0
        self._expected_at = time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Expected duration of the rest [s]."""
        elapsed = time.monotonic() - self._expected_at if self.state == "running" else 0
        return max(0, self._seconds_left - elapsed)

    def expect(self, seconds: float) -> None:
        """Sets the expected duration of the rest [s]."""
        self._seconds_left, self._expected_at = seconds, time.monotonic()

    def begin(self) -> None:
        """Notes that the job's turn has come: until now, nothing of its expected duration has passed."""
        self.state = "running"
        self.expect(self._seconds_left)

    def publish(self, updates: Mapping[str, Any], *, over: bool = False) -> None:
        """Passes updates of components to the pages that watch; later ones replace those of the same component.

        Nothing follows the updates with which the job is over.
        """
        with self._published:
            if self._over:
                return
            self._version += 1
            self._updates |= {name: (self._version, update) for name, update in updates.items()}
            self._over = over
            self._published.notify_all()

    def news(self, since: int, timeout: float) -> tuple[int, dict[str, Any], bool]:
        """Waits for updates that are later than a version; returns their version, the updates, and whether all is over.

        Args:
            since: The version of the last updates that were seen; 0 for all.
            timeout: For how long to wait [s].
        """
        with self._published:
            self._published.wait_for(lambda: self._version > since or self._over, timeout)
            new = {name: update for name, (version, update) in self._updates.items() if version > since}
            return self._version, new, self._over


class Line:
    """Jobs in the order in which they came.

    Args:
        at_once: How many of them may work at the same time.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        self._jobs: list[Job] = []  # the first ones work
        self._moved = threading.Condition()

    def __len__(self) -> int:
        with self._moved:
            return len(self._jobs)

    @contextmanager
    def turn(self, job: Job, is_wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Waits until it is a job's turn, or until it is no longer wanted; the next one follows after the block."""
        with self._moved:
            self._jobs.append(job)
        try:
            with self._moved:
                while job not in self._jobs[: self._at_once] and is_wanted():
                    self._moved.wait(0.5)
            yield
        finally:
            with self._moved:
                self._jobs.remove(job)
                self._moved.notify_all()

    def ahead_of(self, job: Job) -> tuple[int, float]:
        """The number of jobs that have to end before a job begins, and how long that is expected to take [s]."""
        with self._moved:
            before = self._jobs[: self._jobs.index(job)] if job in self._jobs else []
            if len(before) < self._at_once:
                return 0, 0.0
            return 1 + len(before) - self._at_once, sum(other.seconds_left for other in before) / self._at_once

    @property
    def is_full(self) -> bool:
        """Whether no other job may wait."""
        return len(self) >= self._at_once + MAX_WAITING


# On ZeroGPU, runs wait for a GPU in the platform's own queue; nobody waits here while the video of another run is drawn.
LINES: dict[Kind, Line] = {"run": Line(RUNS_AT_ONCE if ZERO_GPU else 1), "export": Line()}


def refusal_of(kind: Kind) -> str:
    """Why no other job of a kind may wait, for the visitor; empty if one may."""
    return message("run.queue_full", count=MAX_WAITING) if LINES[kind].is_full else ""
