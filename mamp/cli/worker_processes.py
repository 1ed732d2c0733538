"""Further processes with the same command line, which share a machine with this one."""

from __future__ import annotations

import os
import subprocess  # nosec
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def worker_processes(processes: int, arguments: Sequence[str]) -> Iterator[None]:
    """Starts processes that work until the list of clips is done, and waits for them at the end; an error ends them.

    They know their places by the variables of torchrun, ``LOCAL_RANK`` and ``LOCAL_WORLD_SIZE``. The launcher of torchrun
    itself would import PyTorch before them, which takes as long as some short clips.

    Args:
        processes: Number of processes, with this one.
        arguments: Arguments of ``python -m mamp``.
    """
    command = [sys.executable, "-m", "mamp", *arguments]
    workers = [
        # The same program with the arguments it was given, and no shell.
        subprocess.Popen(  # nosec
            command, env={**os.environ, "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(processes)}
        )
        for rank in range(1, processes)
    ]
    try:
        yield
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.wait()
