"""Files and memory: atomic writes, and clear errors when disk or memory runs out."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mamp.errors import UserError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameter numbers in glibc's malloc.h
_TRIM_BYTES = 512 << 20  # [bytes]
_MMAP_BYTES = 32 << 20  # [bytes]; the maximum of glibc


class ResourceError(UserError):
    """The machine ran out of disk or memory; the message is one sentence for the user."""


def as_resource_error(error: Exception) -> ResourceError | None:
    """The ``ResourceError`` for an error caused by lack of disk or memory; ``None`` for other errors."""
    # Without PyTorch, the error is not of a GPU; importing it here would slow down `python -m mamp --help`.
    if (torch := sys.modules.get("torch")) is not None and isinstance(error, torch.OutOfMemoryError):
        text = "The GPU has too little memory for this; choose a smaller processing size."
        return ResourceError(text, "gpu_memory")
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        text = "The machine has too little memory for this; choose a smaller processing size."
        return ResourceError(text, "memory")
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ResourceError("The disk is full.", "disk_full")
    return None


def file_stamp(path: Path) -> tuple[Path, int, int]:
    """Identity of a file's content, without reading it: its absolute path, time of change [ns] and size [bytes]."""
    status = path.stat()
    return path.resolve(), status.st_mtime_ns, status.st_size


@contextmanager
def clear_resource_errors() -> Iterator[None]:
    """Raises a ``ResourceError`` in the place of an error caused by lack of disk or memory."""
    try:
        yield
    except Exception as error:
        resource_error = as_resource_error(error)
        if resource_error is None:
            raise
        raise resource_error from error


def keep_freed_memory() -> None:
    """Lets the process keep up to 512 MB of freed memory, since every frame allocates the same sizes again.

    By default glibc returns it to the system, which clears every page at the next allocation. No effect with another C
    library.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)


def same_file(inputs: Iterable[Path], outputs: Iterable[Path]) -> Path | None:
    """The first input that is one of the outputs, under whatever name; ``None`` if there is none.

    Symbolic and hard links, and other spellings on a file system that ignores case, are the same file.
    """
    targets = {(found.st_dev, found.st_ino) for path in outputs if (found := _stat(path))}
    return next((path for path in inputs if (found := _stat(path)) and (found.st_dev, found.st_ino) in targets), None)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, moved to ``path`` on success and deleted on failure.

    Raises:
        ResourceError: The disk is full; ``path`` is as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with clear_resource_errors():
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """An uncompressed zip file to write, moved to ``path`` on success and deleted on failure."""
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        yield archive


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file atomically, also when several processes or threads write the same file."""
    with atomic_path(path) as partial:
        partial.write_text(text)
