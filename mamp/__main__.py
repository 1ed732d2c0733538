"""The command line: ``python -m mamp {segment,export,explain,train,distill,evaluate,benchmark}``."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from mamp.cli.main import main
from mamp.files import keep_freed_memory


def _terminate(number: int, _frame: FrameType | None) -> None:
    """Ends as Ctrl-C does, so that finished masks are kept."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    keep_freed_memory()
    sys.exit(main())
