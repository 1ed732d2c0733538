"""Work that goes on while what came before it is used."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from mamp.prefetch import Prefetcher


def test_the_next_item_is_worked_on_while_the_first_is_used() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    with Prefetcher(items()) as coming:
        assert next(coming) == 1
        assert begun.wait(10)
        assert list(coming) == [2]


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with Prefetcher(items()) as coming:
        assert next(coming) == 1
        with pytest.raises(ValueError, match="no more"):
            next(coming)


def test_an_interrupt_loses_nothing() -> None:
    go = threading.Event()

    def items() -> Iterator[int]:
        go.wait(10)
        yield 1

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Prefetcher(items()) as coming:
            main = threading.main_thread().ident
            assert main is not None
            threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                next(coming)
            go.set()
            assert list(coming) == [1]
    finally:
        signal.signal(signal.SIGINT, before)
