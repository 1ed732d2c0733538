"""Prefetching: the next item is computed in a thread while the current one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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

    The number belongs to a thread, and to those that start later. While anybody uses this function, new threads have half.
    """
    global _sharing, _all_threads
    with _sharing_lock:
        if not _sharing:
            _all_threads = _in_new_thread(torch.get_num_threads)
        _sharing += 1
        torch.set_num_threads(_half())
    try:
        yield
    finally:
        with _sharing_lock:
            _sharing -= 1
            torch.set_num_threads(_all_threads)  # here, and in new threads
            if _sharing:
                _in_new_thread(lambda: torch.set_num_threads(_half()))


def threads_to_share() -> int:
    """The number of PyTorch's threads that ``shared_threads`` halves."""
    with _sharing_lock:
        return _all_threads if _sharing else _in_new_thread(torch.get_num_threads)


def worker_threads(number: int) -> ThreadPoolExecutor:
    """Threads with the number of PyTorch's threads that new ones have; they start with the first submission."""
    # A new thread would use those of all cores in oneDNN and MKL until PyTorch has asked for their number there.
    return ThreadPoolExecutor(number, initializer=torch.get_num_threads)


_sharing_lock = Lock()
_sharing = 0
_all_threads = 1


def _half() -> int:
    return max(1, _all_threads // 2)


def _in_new_thread(function: Callable[[], Item]) -> Item:
    """Calls a function in a thread that has not chosen a number of PyTorch's threads."""
    with ThreadPoolExecutor(1) as new_thread:
        return new_thread.submit(function).result()


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
