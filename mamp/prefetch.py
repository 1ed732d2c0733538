"""Prefetching: the next item is computed in a thread while the current one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Computes the next item in a thread while the current one is used.

    Chained prefetchers overlap reading, computing and writing: the slowest stage sets the pace, at the cost of one more
    item in memory per stage. An interrupt during the wait for an item loses nothing: the item can be requested again.

    Args:
        items: Items in order; their errors are raised in the place of the item.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._source, self._end = iter(items), object()
        self._thread = ThreadPoolExecutor(1)
        self._next = self._thread.submit(next, self._source, self._end)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self._next.result()
        if item is self._end:
            raise StopIteration
        self._next = self._thread.submit(next, self._source, self._end)
        return item  # type: ignore[return-value]

    def __enter__(self) -> Prefetcher[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()


def should_prefetch(device: torch.device) -> bool:
    """Whether prefetching pays off: computation on the CPU slows down when other threads share its cores."""
    return device.type != "cpu"


def prefetched(items: Iterable[Item], device: torch.device) -> AbstractContextManager[Iterator[Item]]:
    """``Prefetcher`` where ``should_prefetch``; otherwise items are computed on request."""
    return Prefetcher(items) if should_prefetch(device) else nullcontext(iter(items))


def with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    """Each item with its successor; ``None`` after the last."""
    source = iter(items)
    for item in source:
        for after in source:
            yield item, after
            item = after
        yield item, None
