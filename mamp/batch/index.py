"""The index of a folder of results: a table for programs, and a page for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mamp.batch.clip_list import ClipItem
from mamp.batch.clip_record import error_of
from mamp.batch.index_page import ClipSection, FrameToReview, index_page
from mamp.files import write_atomically
from mamp.masks.label_map import MaskError
from mamp.runs.results import Result
from mamp.runs.review import frames_to_review

_COLUMNS = ("clip", "frames", "seconds", "objects", "mean_confidence", "frames_to_review", "end", "message")


def write_index(items: Sequence[ClipItem], out: str | Path) -> Path:
    """Writes ``index.csv`` and ``index.html`` for the results of ``segment_many``; returns the path of the page."""
    out = Path(out)
    sections = [_section(item, out / item.name) for item in items]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows(map(_row, sections))
    write_atomically(out / "index.csv", text.getvalue())
    write_atomically(out / "index.html", index_page(sections))
    return out / "index.html"


def _section(item: ClipItem, folder: Path) -> ClipSection:
    result, error = Result(folder), error_of(folder)
    try:
        receipt, object_frames = result.receipt, result.object_frames
    except (MaskError, OSError):  # another process may just have begun
        return ClipSection(item.name, "not started" if error is None else "failed", error or "")
    confidences = [entry.confidence for entry in object_frames if entry.area]
    times = {entry.frame: entry.time for entry in object_frames}
    flags = frames_to_review(object_frames, result.input_masks)
    return ClipSection(
        name=item.name,
        end=str(receipt["end"]) if error is None else "failed",
        message=error or "",
        frames=result.frames,
        seconds=receipt["seconds"]["in_all"],
        objects=len(receipt["objects"]),
        mean_confidence=sum(confidences) / len(confidences) if confidences else None,
        size=(receipt["size"][0], receipt["size"][1]) if result.overlay.exists() else None,
        to_review=[FrameToReview(flag.frame, times[flag.frame], flag.object, flag.reason) for flag in flags],
    )


def _row(section: ClipSection) -> tuple[object, ...]:
    """A clip in the table, with an empty text where there is no confidence."""
    return (
        section.name,
        section.frames,
        round(section.seconds, 2),
        section.objects,
        "" if section.mean_confidence is None else round(section.mean_confidence, 4),
        " ".join(str(entry.frame) for entry in section.to_review),
        section.end,
        section.message,
    )
