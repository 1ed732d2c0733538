"""The next item is computed while the current one is used."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mamp.prefetch import Prefetcher, shared_threads, threads_to_share, worker_threads


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Number of PyTorch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_the_next_item_is_computed_while_the_first_is_used() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    with Prefetcher(items()) as items_ahead:
        assert next(items_ahead) == 1
        assert begun.wait(10)
        assert list(items_ahead) == [2]


def test_an_error_is_raised_in_the_place_of_its_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with Prefetcher(items()) as items_ahead:
        assert next(items_ahead) == 1
        with pytest.raises(ValueError, match="no more"):
            next(items_ahead)


def test_an_interrupt_loses_nothing() -> None:
    go = threading.Event()

    def items() -> Iterator[int]:
        go.wait(10)
        yield 1

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Prefetcher(items()) as items_ahead:
            main = threading.main_thread().ident
            assert main is not None
            threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                next(items_ahead)
            go.set()
            assert list(items_ahead) == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_half_of_the_threads_are_left_to_what_is_prefetched(threads: int) -> None:
    loaded = Path("/proc/self/maps").read_text().splitlines()
    openmp = ctypes.CDLL(next(line.split()[-1] for line in loaded if "libgomp" in line))
    with shared_threads(), worker_threads(1) as workers:
        # That of oneDNN and MKL, too.
        assert torch.get_num_threads() == max(1, threads // 2) == workers.submit(openmp.omp_get_max_threads).result()
        assert threads_to_share() == threads
    assert torch.get_num_threads() == threads == threads_to_share()


def test_runs_that_end_in_any_order_get_all_threads_back(threads: int) -> None:
    half = max(1, threads // 2)
    first, second = shared_threads(), shared_threads()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(first.__enter__).result()
        assert threads_to_share() == threads
        other.submit(second.__enter__).result()
        assert [thread.submit(torch.get_num_threads).result() for thread in (one, other)] == [half, half]
        one.submit(first.__exit__, None, None, None).result()
        assert one.submit(torch.get_num_threads).result() == threads
        with worker_threads(1) as workers:
            assert workers.submit(torch.get_num_threads).result() == half, "the other run goes on"
        other.submit(second.__exit__, None, None, None).result()
        assert other.submit(torch.get_num_threads).result() == threads
        one.submit(torch.set_num_threads, 1).result()
        torch.set_num_threads(threads)
        with one.submit(shared_threads).result():
            assert threads_to_share() == threads, "not that of the thread that begins"
