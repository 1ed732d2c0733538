"""Lists of clips with their input masks: from a folder, a pattern, or a CSV or JSONL file."""

from __future__ import annotations

import csv
import glob
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mamp.masks.rle import is_rle_file
from mamp.settings import SETTINGS_INFO, Settings, parse_setting
from mamp.video.decoder import VIDEO_SUFFIXES
from mamp.video.images import SUFFIXES as IMAGE_SUFFIXES

EXPORTS = "exports"  # in the folder of results, beside the folders of clips

_LISTS = (".csv", ".jsonl")
_COLUMNS = ("clip", "masks", "name")


@dataclass(frozen=True)
class ClipItem:
    """A clip to segment.

    Attributes:
        name: Name of its folder of results, unique in the list.
        clip: A video file or a folder of frames.
        masks: Mask files by the number in their names, as of ``--mask``; or a JSON file with run lengths; ``None`` if
            there are none.
        settings: Settings of the method.
    """

    name: str
    clip: Path
    masks: Mapping[int, Sequence[Path]] | Path | None
    settings: Settings


def read_clip_list(source: str, masks: Path | None, settings: Settings) -> list[ClipItem]:
    """The clips of a list, sorted by name unless the list is a file.

    Args:
        source: A folder with video files and folders of frames; a pattern as ``shoot/*.mp4``; or a CSV or JSONL file with
            the columns "clip" and, optionally, "masks", "name" and those of ``Settings``. Its paths are relative to it.
        masks: Folder with the masks of the clips that have none in the list. Those of ``shoot/a.mp4`` are ``a.png`` or
            another image, of frame 0; ``a.json`` with run lengths; or the folder ``a`` with images by frame number.
        settings: Settings of clips for which the list says nothing else.

    Raises:
        ValueError: There are no clips, a file or column is missing, or two clips have the same name.
    """
    path = Path(source)
    if path.suffix.lower() in _LISTS and path.is_file():
        rows = list(_rows(path))
        items = [_item(row, path, number, masks, settings) for number, row in enumerate(rows, 1)]
    else:
        clips = sorted(_clips_in(path) if path.is_dir() else map(Path, glob.glob(source, recursive=True)))
        items = [ClipItem(_name_of(clip), clip, _masks_of(clip, masks), settings) for clip in clips if _is_clip(clip)]
    if not items:
        raise ValueError(f"There are no clips in {source}.")
    return _with_unique_names(items)


def _clips_in(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if not path.name.startswith("."):
            yield path


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        yield from csv.DictReader(text.splitlines())
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: this is no JSON.") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path.name}, line {number}: this is no JSON object.")
        yield row


def _item(row: Mapping[str, Any], path: Path, number: int, masks: Path | None, settings: Settings) -> ClipItem:
    """The clip of a row; ``number`` counts the rows, for messages."""
    values = {key: value for key, value in row.items() if value not in (None, "", [])}
    if unknown := sorted(map(str, set(values) - {*_COLUMNS, *SETTINGS_INFO})):
        raise ValueError(f"{path.name} has the unknown column {unknown[0]}.")
    if "clip" not in values:
        raise ValueError(f"{path.name}, clip {number}: the column clip is missing.")
    clip = path.parent / str(values["clip"])
    files = values.get("masks")
    named = _masks_of(clip, masks) if files is None else _named_masks(path.parent, files)
    try:
        changed = {
            name: parse_setting(name, ",".join(map(str, value)) if isinstance(value, list) else str(value))
            for name, value in values.items()
            if name in SETTINGS_INFO
        }
        return ClipItem(str(values.get("name", _name_of(clip))), clip, named, replace(settings, **changed))
    except ValueError as error:
        raise ValueError(f"{path.name}, clip {number}: {error}") from error


def _named_masks(folder: Path, files: Any) -> Mapping[int, Sequence[Path]] | Path:
    """The masks that a row names: a path or several; a folder stands for its images."""
    paths = [folder / str(file) for file in (files if isinstance(files, list) else str(files).split(";"))]
    if len(paths) == 1 and paths[0].is_dir():
        return _images_by_number(paths[0])
    if len(paths) == 1 and is_rle_file(paths[0]):
        return paths[0]
    return {0: paths} if len(paths) == 1 else _by_number(paths)


def _masks_of(clip: Path, folder: Path | None) -> Mapping[int, Sequence[Path]] | Path | None:
    """The masks of a clip in a folder of masks, by name."""
    if folder is None:
        return None
    name = _name_of(clip)
    if (folder / name).is_dir():
        return _images_by_number(folder / name) or None
    for file in sorted(folder.glob(f"{glob.escape(name)}.*")):
        if file.stem == name and is_rle_file(file):
            return file
        if file.stem == name and file.suffix.lower() in IMAGE_SUFFIXES:
            return {0: [file]}
    return None


def _name_of(clip: Path) -> str:
    """The name of a clip without suffix; a folder has none."""
    return clip.name if clip.is_dir() else clip.stem


def _images_by_number(folder: Path) -> dict[int, list[Path]]:
    return _by_number(file for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES)


def _by_number(files: Iterable[Path]) -> dict[int, list[Path]]:
    """Mask files by the number that their names begin with, else by the last one in them.

    Several files of one frame, as ``00040.png`` and ``00040_2.png``, are several objects.

    Raises:
        ValueError: A name has no number.
    """
    numbered: dict[int, list[Path]] = {}
    for file in files:
        number = re.match(r"\d+", file.stem) or re.search(r"\d+(?=\D*$)", file.stem)
        if number is None:
            raise ValueError(f"The name of the mask {file.name} must have the number of its frame.")
        numbered.setdefault(int(number[0]), []).append(file)
    return numbered


def _with_unique_names(items: list[ClipItem]) -> list[ClipItem]:
    """Clips that differ in their suffix only have it in their names.

    Raises:
        ValueError: Two clips have the same name all the same, or a name is no name of a folder, or ``EXPORTS``.
    """
    counts = Counter(item.name for item in items)
    unique = [
        replace(item, name=item.clip.name) if counts[item.name] > 1 and item.name == _name_of(item.clip) else item
        for item in items
    ]
    for name, count in Counter(item.name for item in unique).items():
        if count > 1:
            raise ValueError(f"Two clips are called {name}; name them in the column name of a list.")
        if name in ("", ".", "..") or Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name} is no name of a folder.")
        if name == EXPORTS:
            raise ValueError(f"A clip may not be called {name}; name it otherwise in the column name of a list.")
    return unique
