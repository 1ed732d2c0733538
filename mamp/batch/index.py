"""The index of a folder of results: a table for programs, and a page for people that opens from disk."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from mamp.batch.clip_list import ClipItem
from mamp.batch.segment_many import error_of
from mamp.files import write_atomically
from mamp.masks.label_map import MaskError
from mamp.runs.results import Result
from mamp.runs.review import frames_to_review


@dataclass(frozen=True)
class IndexRow:
    """A clip in the index.

    Attributes:
        clip: Name of the clip's folder of results.
        frames: Number of frames with a mask.
        seconds: Time that the clip took [s].
        objects: Number of objects.
        mean_confidence: Mean over objects and frames [0, 1]; empty without masks.
        frames_to_review: Numbers of the frames to review, the most doubtful first.
        end: "complete", "stopped", "killed" or "failed".
        message: Why it failed; empty otherwise.
    """

    clip: str
    frames: int = 0
    seconds: float = 0.0
    objects: int = 0
    mean_confidence: float | str = ""
    frames_to_review: str = ""
    end: str = "failed"
    message: str = ""


def write_index(items: Sequence[ClipItem], out: str | Path) -> Path:
    """Writes ``index.csv`` and ``index.html`` for the results of ``segment_many``; returns the path of the page."""
    out = Path(out)
    rows = [_row(item, out / item.name) for item in items]
    text = io.StringIO()
    table = csv.DictWriter(text, list(IndexRow.__dataclass_fields__), lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    write_atomically(out / "index.csv", text.getvalue())
    write_atomically(out / "index.html", _page(rows, out))
    return out / "index.html"


def _row(item: ClipItem, folder: Path) -> IndexRow:
    result, error = Result(folder), error_of(folder)
    try:
        receipt, object_frames = result.receipt, result.object_frames
    except (MaskError, OSError):  # another process may just have begun
        return IndexRow(item.name, message=error or "not started")
    confidences = [entry.confidence for entry in object_frames if entry.area]
    flags = frames_to_review(object_frames, result.input_masks)
    return IndexRow(
        item.name,
        result.frames,
        round(receipt["seconds"]["in_all"], 2),
        len(receipt["objects"]),
        round(sum(confidences) / len(confidences), 4) if confidences else "",
        " ".join(str(flag.frame) for flag in flags),
        "failed" if error else str(receipt["end"]),
        error or "",
    )


def _page(rows: Sequence[IndexRow], out: Path) -> str:
    done = sum(row.end == "complete" for row in rows)
    return _PAGE.replace("{summary}", f"{done} of {len(rows)} clips are complete.").replace(
        "{clips}", "\n".join(_section(row, Result(out / row.clip)) for row in rows)
    )


def _section(row: IndexRow, result: Result) -> str:
    """A clip on the page: its overlay, figures, and buttons that show a frame to review."""
    name, folder = html.escape(row.clip), quote(row.clip)
    parts = [f"<h2>{name}</h2>"]
    if row.message:
        parts.append(f'<p class="failed">{html.escape(row.message)}</p>')
    if result.overlay.exists():
        parts.append(f'<video src="{folder}/overlay.mp4" controls muted loop preload="metadata"></video>')
        confidence = f", mean confidence {row.mean_confidence:.2f}" if isinstance(row.mean_confidence, float) else ""
        plural = "" if row.objects == 1 else "s"
        parts.append(f"<p>{row.frames} frames, {row.objects} object{plural}, {row.seconds:.0f} s{confidence}</p>")
    times = {entry.frame: entry.time for entry in result.object_frames} if row.frames_to_review else {}
    buttons = [
        f'<button data-time="{times.get(int(frame), 0):.3f}">frame {frame}</button>'
        for frame in row.frames_to_review.split()
    ]
    if buttons:
        parts.append(f"<p>To review: {' '.join(buttons)}</p>")
    return f"<section>{''.join(parts)}</section>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Segmented clips</title>
<style>
body {font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem; color-scheme: light dark}
main {display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1.5rem}
video {width: 100%; background: #000}
h2 {font-size: 1.05rem; overflow-wrap: anywhere}
button {font: inherit; min-height: 32px; cursor: pointer}
.failed {border-left: 4px solid #d55e00; padding-left: .6rem}
</style>
<h1>Segmented clips</h1>
<p>{summary} The same as a table: <a href="index.csv">index.csv</a>.</p>
<main>
{clips}
</main>
<script>
for (const button of document.querySelectorAll('button'))
  button.onclick = () => {
    const video = button.closest('section').querySelector('video');
    video.pause();
    video.currentTime = Number(button.dataset.time) + 0.001;
    video.scrollIntoView({block: 'nearest'});
  };
</script>
</html>
"""
