"""Disk and memory: files that are whole or not there, and words for what runs out."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
_KEPT = 512 << 20  # [bytes]
_FROM_THE_HEAP = 32 << 20  # [bytes]: glibc takes no more


class ResourceError(ValueError):
    """The machine has run out of disk or memory; its text is one sentence for the user."""


def as_resource_error(error: Exception) -> ResourceError | None:
    """What an error says of the machine, if it is one of those that tell of a as_resource_error."""
    if isinstance(error, torch.OutOfMemoryError):
        return ResourceError("The GPU has too little memory for this; choose a smaller processing size.")
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return ResourceError("The machine has too little memory for this; choose a smaller processing size.")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return ResourceError("The disk is full.")
    return None


def keep_freed_memory() -> None:
    """Lets a process keep up to 512 MB that it freed, for each frame asks for the same again.

    By itself glibc gives it back, and the system fills it with zeros page by page when it is asked for again. Where the C
    library is another, nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _FROM_THE_HEAP)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Another name to write a file under: it gets its own when it is whole, and is gone if it does not get so far."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file whole or not at all, also where several processes write the same one."""
    with atomic_path(path) as partial:
        partial.write_text(text)
