"""Work that goes on while what came before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Comes by the next item, in a thread of its own, while the one before it is used.

    Reading, computing and writing take turns without it; with it the slowest of them sets the pace, for one item more of
    each in memory. An interrupt while an item is waited for loses none: it can be asked for again.

    Args:
        items: Taken in order; what it raises is raised in the place of the item.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._source, self._end = iter(items), object()
        self._thread = ThreadPoolExecutor(1)
        self._coming = self._thread.submit(next, self._source, self._end)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self._coming.result()
        if item is self._end:
            raise StopIteration
        self._coming = self._thread.submit(next, self._source, self._end)
        return item  # type: ignore[return-value]

    def __enter__(self) -> Prefetcher[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()


def should_prefetch(device: torch.device) -> bool:
    """Whether what computes on a device leaves the CPU to other work: threads that share its cores slow each other down."""
    return device.type != "cpu"


def prefetched(items: Iterable[Item], device: torch.device) -> AbstractContextManager[Iterator[Item]]:
    """``Prefetcher`` where that pays beside what computes on ``device``; else each item when it is asked for."""
    return Prefetcher(items) if should_prefetch(device) else nullcontext(iter(items))


def with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    """Each item and the one after it; ``None`` after the last."""
    source = iter(items)
    for item in source:
        for after in source:
            yield item, after
            item = after
        yield item, None
