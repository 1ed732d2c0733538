"""Zip files that lie about themselves are refused, and cost no more memory than honest ones."""

from __future__ import annotations

import bz2
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mamp import MaskError
from webapp.archive import MAX_BYTES, MAX_ENTRIES
from webapp.project import read_project_file

Zip = Callable[[zipfile.ZipFile], None]


def zipped(fill: Zip, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        fill(archive)
    return bytearray(buffer.getvalue())


def patched(data: bytearray, offset: int, value: bytes) -> bytearray:
    """A zip with a field of its first entry changed in the directory; ``offset`` counts from the entry."""
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    return data


def zeros(archive: zipfile.ZipFile, size: int = 1 << 29) -> None:
    """An entry of zeros, written in pieces."""
    with archive.open("project.json", "w", force_zip64=False) as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


def bzip2_with_small_sizes() -> bytearray:
    """A few bytes that bzip2 unpacks to half a gigabyte, declared as 100 bytes."""
    data = zipped(lambda archive: zeros(archive), zipfile.ZIP_BZIP2)
    return patched(data, 24, struct.pack("<L", 100))


def overlapping() -> bytearray:
    """Many entries that share one stream of zeros."""
    block = 1 << 24
    stream = zlib.compress(bytes(block), 9)[2:-4]
    crc = zlib.crc32(bytes(block))
    name = "input_masks/{:06d}.png"
    head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(stream), block, 22, 0)
    data = bytearray(head + name.format(0).encode() + stream)
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(stream), block, 22, 0, 0, 0, 0, 0, 0)
        + name.format(index).encode()
        for index in range(1000)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(directory), len(data), 0)
    return data + directory + end


def crowded() -> bytearray:
    """A directory of 200,000 entries, declared as one."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 200_000
    return bytearray(directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0))


def nested_json() -> bytearray:
    return zipped(lambda archive: archive.writestr("project.json", "[" * 500_000))


def long_json() -> bytearray:
    return zipped(lambda archive: archive.writestr("project.json", "[" + "0," * (1 << 23) + "0]"))


def twice() -> bytearray:
    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("project.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("project.json", "{}")

    return zipped(fill)


def named(name: str) -> bytearray:
    return zipped(lambda archive: archive.writestr(name, "{}"))


def nested_zip() -> bytearray:
    return zipped(lambda archive: archive.writestr("input_masks/000000.zip", bytes(zipped(zeros))))


def encrypted() -> bytearray:
    return patched(named("project.json"), 8, b"\x01\x00")


def with_comment() -> bytearray:
    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("project.json", "{}")
        archive.comment = b"PK\x05\x06" + bytes(40)

    return zipped(fill)


FILES: dict[str, Callable[[], bytearray]] = {
    "zeros": lambda: zipped(zeros),
    "zeros declared as few": lambda: patched(zipped(zeros), 24, struct.pack("<L", 100)),
    "bzip2 declared as few": bzip2_with_small_sizes,
    "lzma": lambda: zipped(lambda archive: zeros(archive, 1 << 26), zipfile.ZIP_LZMA),
    "overlapping entries": overlapping,
    "crowded directory": crowded,
    "nested json": nested_json,
    "long json": long_json,
    "an entry twice": twice,
    "a zip in the zip": nested_zip,
    "path upwards": lambda: named("../project.json"),
    "absolute path": lambda: named("/etc/project.json"),
    "another file": lambda: named("input_masks/000000.eps"),
    "encrypted": encrypted,
    "with a comment": with_comment,
    "empty": bytearray,
    "short": lambda: bytearray(b"PK\x05\x06"),
    "no entry": lambda: zipped(lambda archive: None),
    "bzip2": lambda: bytearray(bz2.compress(b"{}")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bomb_or_foreign_zip_is_refused_within_the_memory_of_an_honest_one(name: str, tmp_path: Path) -> None:
    path = tmp_path / "saved.zip"
    path.write_bytes(FILES[name]())
    tracemalloc.start()
    try:
        with pytest.raises(MaskError, match=r"^saved\.zip is (too large for a|no) project file[^/]*\.$"):
            read_project_file(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_more_entries_than_the_limit_are_too_large(tmp_path: Path) -> None:
    def fill(archive: zipfile.ZipFile) -> None:
        for index in range(MAX_ENTRIES + 1):
            archive.writestr(f"input_masks/{index:06d}.png", b"")

    (tmp_path / "saved.zip").write_bytes(zipped(fill))
    with pytest.raises(MaskError, match="too large"):
        read_project_file(tmp_path / "saved.zip")


def test_names_are_those_of_objects(tmp_path: Path) -> None:
    document = {"clip": "a", "clip_sha256": "b", "input_masks": [], "settings": {"upsampling": "guided"}}
    for names, refused in (({"1": "dog"}, False), ({"256": "dog"}, True), ({"0": "dog"}, True)):
        text = json.dumps(document | {"names": names})
        (tmp_path / "saved.zip").write_bytes(zipped(lambda archive, text=text: archive.writestr("project.json", text)))
        if refused:
            with pytest.raises(MaskError, match="no project file"):
                read_project_file(tmp_path / "saved.zip")
        else:
            assert read_project_file(tmp_path / "saved.zip").names == {1: "dog"}
