"""Zip files from visitors: nothing that such a file declares about itself is trusted."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 1 << 26  # of all entries together, unpacked
MAX_ENTRIES = 4096
_ENTRY_BYTES = 256  # of the directory, for an entry with a short name
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods unpack without a limit
_ENCRYPTED, _PATCH, _STRONGLY_ENCRYPTED = 0x1, 0x20, 0x40  # bits of an entry's flags


class ArchiveError(ValueError):
    """A zip file that is damaged, of another kind, or too large; ``too_large`` tells which."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


def read_archive(path: Path, allowed: re.Pattern[str]) -> dict[str, bytes]:
    """Reads all files of a small zip into memory.

    The limits hold for what is really unpacked, so memory stays below ``MAX_BYTES`` and a few megabytes.

    Args:
        path: The zip file.
        allowed: Matches the whole name of each accepted entry; folders are left out.

    Returns:
        Content by name.

    Raises:
        ArchiveError: The file is no zip, is damaged, encrypted or too large, or has an entry that is not allowed, appears
            twice or is packed in an unusual way.
    """
    try:
        with path.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                return _read_entries(archive, allowed)
    except ArchiveError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds for a damaged file
        raise ArchiveError("the zip file is damaged") from error


def _check_directory(file: BinaryIO) -> None:
    """Bounds the directory before ``zipfile`` loads it: its number of entries is only declared at the end of the file."""
    record_size, locator_size = 22, 20
    file.seek(-record_size, os.SEEK_END)
    signature, entries, size, comment = struct.unpack("<4s6xHL4xH", file.read(record_size))
    if signature != b"PK\x05\x06" or comment:
        raise ArchiveError("the file does not end as a zip file")
    if entries > MAX_ENTRIES or size > MAX_ENTRIES * _ENTRY_BYTES:
        raise ArchiveError(f"the zip file has more than {MAX_ENTRIES} entries", too_large=True)
    file.seek(-min(record_size + locator_size, file.tell()), os.SEEK_END)
    if file.read(4) == b"PK\x06\x07":
        raise ArchiveError("the zip file is of the kind for more than 4 GB", too_large=True)


def _read_entries(archive: zipfile.ZipFile, allowed: re.Pattern[str]) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    left = MAX_BYTES
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        if not allowed.fullmatch(entry.filename) or entry.filename in content:
            raise ArchiveError(f"the zip file has an unexpected entry, {entry.filename!r}")
        if entry.compress_type not in _PLAIN or entry.flag_bits & (_ENCRYPTED | _PATCH | _STRONGLY_ENCRYPTED):
            raise ArchiveError("the zip file is encrypted or packed in an unusual way")
        with archive.open(entry) as file:
            data = file.read(left + 1)
        left -= len(data)
        if left < 0:
            raise ArchiveError(f"the zip file unpacks to more than {MAX_BYTES} bytes", too_large=True)
        content[entry.filename] = data
    return content
