"""Disk and memory: files that are whole or not there, and words for what runs out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ResourceError(ValueError):
    """The machine has run out of disk or memory; its text is one sentence for the user."""


def shortage(error: Exception) -> ResourceError | None:
    """What an error says of the machine, if it is one of those that tell of a shortage."""
    if isinstance(error, torch.OutOfMemoryError):
        return ResourceError("The GPU has too little memory for this; choose a smaller processing size.")
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return ResourceError("The machine has too little memory for this; choose a smaller processing size.")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return ResourceError("The disk is full.")
    return None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another name to write a file under: it gets its own when it is whole, and is gone if it does not get so far."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a text file whole or not at all, also where several processes write the same one."""
    with whole(path) as partial:
        partial.write_text(text)
