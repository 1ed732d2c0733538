"""How Ctrl-C (SIGINT) and SIGTERM end ``python -m mamp``: without a traceback, with the exit code 128 + their number."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once(number: int, _frame: FrameType | None) -> None:
    """A handler for imports and the end of the interpreter, when no file is being written.

    An exception might be lost there, or become another one: compiled modules turn it into an ``ImportError``.
    """
    os._exit(128 + number)


def unwind(number: int, _frame: FrameType | None) -> None:
    """A handler for commands at work: finished masks are kept, and partial files deleted."""
    raise SystemExit(128 + number)


def handle_signals() -> None:
    """Lets ``end_at_once`` handle the signals, but for those that this process ignores, as background jobs do SIGINT."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_at_once)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Lets another handler handle the signals meanwhile; no effect in a process without ``handle_signals``."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = {number: current for number, current in before.items() if current in (end_at_once, unwind)}
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, current in ours.items():
            signal.signal(number, current)
