"""Prefetching: the next item is computed in a thread while the current one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
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
        self._thread = worker_threads(1)
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


@contextmanager
def shared_threads() -> Iterator[None]:
    """Halves the number of PyTorch's threads: the others are left to what is prefetched.

    The number is global to the process: users of this function count together, and the last one restores it.
    """
    global _sharing, _threads_to_share
    with _sharing_lock:
        if not _sharing:
            _threads_to_share = torch.get_num_threads()
        _sharing += 1
        torch.set_num_threads(max(1, _threads_to_share // 2))
    try:
        yield
    finally:
        with _sharing_lock:
            _sharing -= 1
            if not _sharing:
                torch.set_num_threads(_threads_to_share)


def threads_to_share() -> int:
    """The number of PyTorch's threads, and of those that ``shared_threads`` leaves to others."""
    return _threads_to_share if _sharing else torch.get_num_threads()


def worker_threads(number: int) -> ThreadPoolExecutor:
    """Threads that use as many threads of PyTorch as the one that starts them; they start with the first submission."""
    # A new thread would use those of all cores in oneDNN and MKL until PyTorch has asked for their number there.
    return ThreadPoolExecutor(number, initializer=torch.get_num_threads)


_sharing_lock = Lock()
_sharing = 0
_threads_to_share = 1


def prefetched(items: Iterable[Item], ahead: bool) -> AbstractContextManager[Iterator[Item]]:
    """A ``Prefetcher``; if not ``ahead``, items are computed on request."""
    return Prefetcher(items) if ahead else nullcontext(iter(items))


def with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    """Each item with its successor; ``None`` after the last."""
    source = iter(items)
    for item in source:
        for after in source:
            yield item, after
            item = after
        yield item, None
