"""The folder of a server: all files of its visitors are in it, and go with it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX, _UNFINISHED = "mamp-server-", ".mamp-server-"
_REMOVAL_SECONDS = 5.0  # for which files are removed that a run still writes


@contextmanager
def server_folder() -> Iterator[Path]:
    """Keeps uploads, results and temporary files of this process in one new folder, which only its owner can read.

    The folder is in ``GRADIO_TEMP_DIR``, or in the system's temporary folder. It is locked while the process lives, so
    that the folders of servers that were killed are recognized, and removed here.
    """
    root = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
    lock = FileLock(unfinished / "lock")
    lock.acquire()  # before the folder has its name: a server that starts now could remove it otherwise
    folder = unfinished.rename(root / f"{_PREFIX}{unfinished.name.removeprefix(_UNFINISHED)}")
    os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        _remove(folder)
        lock.release()


def _remove_abandoned(root: Path) -> None:
    """Removes the folders of servers that no longer run."""
    for folder in root.glob(f"{_PREFIX}*"):
        lock = FileLock(folder / "lock", timeout=0)
        try:
            with lock:
                shutil.rmtree(folder, ignore_errors=True)
        except (OSError, Timeout):  # in use, or removed meanwhile
            continue


def _remove(folder: Path) -> None:
    """Removes a folder; a run in progress fails at its next file, and until then may write others."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
