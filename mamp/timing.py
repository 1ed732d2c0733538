"""Timing by stage."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class StageTimer:
    """Seconds by stage. Threads may share a timer; concurrent work counts for each thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each stage so far [s]."""
        with self._lock:
            return {name: round(value, 3) for name, value in self._seconds.items()}

    def add(self, name: str, seconds: float) -> None:
        """Adds seconds to a stage."""
        with self._lock:
            self._seconds[name] += seconds

    def clear(self) -> None:
        """Resets all stages to zero."""
        with self._lock:
            self._seconds.clear()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time inside the block to a stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - start)

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Adds the time to produce each item to a stage."""
        source = iter(items)
        end = object()
        while True:
            with self.stage(name):
                item = next(source, end)
            if item is end:
                return
            yield item  # type: ignore[misc]
