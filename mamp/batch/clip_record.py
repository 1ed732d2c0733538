"""The record of a clip in a list: a file among its results, by which a later start knows whether they are current."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mamp.files import write_atomically

RECORD = "clip.json"  # what the results were made from, and the error if there are none


def write_record(folder: Path, document: Mapping[str, Any]) -> None:
    """Writes the record of a clip into the folder of its results."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECORD, json.dumps(document, indent=2) + "\n")


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a clip; empty if there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record


def error_of(folder: Path) -> str | None:
    """Why the last attempt at the clip of a folder failed; ``None`` if it did not."""
    error = read_record(folder).get("error")
    return None if error is None else str(error)
