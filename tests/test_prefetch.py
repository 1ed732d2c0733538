"""The next item is computed while the current one is used."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from mamp.prefetch import Prefetcher


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
