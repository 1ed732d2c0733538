"""Where the time goes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class StageTimer:
    """Seconds by stage. Threads may share it; what they do at the same time counts for each of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> dict[str, float]:
        """What each stage has taken so far [s]."""
        return {name: round(value, 3) for name, value in self._seconds.items()}

    def add(self, name: str, seconds: float) -> None:
        """Counts seconds for a stage."""
        with self._lock:
            self._seconds[name] += seconds

    def clear(self) -> None:
        """Starts again from zero."""
        self._seconds.clear()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what is done inside for a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - began)

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Counts for a stage what it takes to come by each item."""
        source = iter(items)
        end = object()
        while True:
            with self.stage(name):
                item = next(source, end)
            if item is end:
                return
            yield item  # type: ignore[misc]
