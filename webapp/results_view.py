"""Results of a run: display and export."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, cast

import gradio as gr
from gradio.context import LocalContext

from mamp import OverlayStyle, overlay, read_mask
from mamp.runs.export import export
from webapp.background import start_job, watch_job
from webapp.code_snippets import as_client, as_command, as_python
from webapp.errors import error_for_visitor
from webapp.examples import EXAMPLES
from webapp.explanation_html import frame_html
from webapp.frame_svg import Image
from webapp.html import first_new_frame, review_html, status_html
from webapp.job_queue import LINES
from webapp.languages import decimal, message
from webapp.project import read_project_file
from webapp.session import Session, is_open, project_of, reader_of
from webapp.updates import ExportUpdates, FrameUpdates, ResultUpdates
from webapp.work_limit import deadline, limit_text

OVERLAY_PARTS = ["Outline", "Number"]
EXPORT_FORMATS = ("webm", "mov", "png", "blur", "gray", "color", "webp", "gif", "objects")


def result_updates(session: Session, opacity: float = 0.45, parts: Any = OVERLAY_PARTS) -> ResultUpdates:
    """The review section: that of the last run, or hidden without a run."""
    project = project_of(session) if session else None
    if project is None or project.result is None:
        return {"results": gr.update(visible=False)}
    file = read_project_file(project.file)
    run = project.clip.name, file.masks, file.settings, file.names
    first = first_new_frame(project.result) or min(file.masks, default=0)
    clip = [project.clip] if project.clip.parent in (project.folder, EXAMPLES) else []  # trimmed, or an example
    files = (*project.result.files, project.file, *clip)
    return {
        "results": gr.update(visible=True),
        "result_video": str(project.result.overlay),
        "files": [str(path) for path in files if path.exists()],  # a run that failed lacks some
        "result_frame": gr.update(
            maximum=max(1, session["frames"] - 1), value=first, interactive=session["frames"] > 1
        ),
        **_frame_updates(session, first, opacity, parts),
        "flags": review_html(project.result, project.names, frame_times(session)),
        "python": as_python(*run),
        "command": as_command(*run),
        "client": as_client(project.clip.name, os.environ.get("SPACE_ID") or server_address()),
        "exported": gr.update(value=None, visible=False),
        "scored": "",
        "true_masks": None,  # those of another clip or run
    }


def server_address() -> str:
    """Address of the server for the visitor whose event is handled; Gradio's default address if there is none."""
    request = LocalContext.request.get(None)
    return str(request.base_url) if isinstance(request, gr.Request) else "http://127.0.0.1:7860/"


def frame_times(session: Session) -> list[float]:
    """The display time of each frame of the clip, from its start [s]: also that in the overlay video."""
    reader = reader_of(session["clip"])
    return [float(reader.time(index)) for index in range(session["frames"])]


def overlay_style(opacity: float, parts: list[str]) -> OverlayStyle:
    """The overlay style that the page's controls select."""
    return OverlayStyle(opacity, "Outline" in parts, "Number" in parts)


def show_frame(session: Session, opacity: float, parts: list[str], wanted: Any) -> FrameUpdates:
    """Shows a frame without and with its mask overlaid: the one that the visitor chose.

    While the video plays, it shows the comparison only, and nothing during a run on this machine, which takes its time.

    Args:
        session: The visitor's session.
        opacity: See ``overlay_style``.
        parts: See ``overlay_style``.
        wanted: ``frame`` and ``playing``, from ``static/playback.js``.
    """
    match wanted if session else None:
        case {"frame": int(frame), **rest}:
            index = nearest(frame, session["frames"])
        case _:
            return {}
    if rest.get("playing") is not True:
        return _frame_updates(session, index, opacity, parts)
    if len(LINES["run"]):
        return {}
    return {"comparison": frame_and_overlay(session, index, overlay_style(opacity, parts))}


def _frame_updates(session: Session, number: int, opacity: float, parts: list[str]) -> FrameUpdates:
    session["shown_frame"] = number
    frame, with_masks = frame_and_overlay(session, number, overlay_style(opacity, parts))
    size = (frame.shape[0], frame.shape[1])
    return {"comparison": (frame, with_masks), "explained": frame_html(with_masks, size, number)}


def frame_and_overlay(session: Session, number: int, style: OverlayStyle) -> tuple[Image, Image]:
    """A frame (H, W, 3) uint8 without and with its mask of the last run: not with one that was painted since."""
    result, reader = project_of(session).result, reader_of(session["clip"])
    frame = reader.frame(number).image
    path = None if result is None else result.masks_dir / f"{reader.name(number)}.png"
    return frame, frame if path is None or not path.exists() else overlay(frame, read_mask(path), style)


def nearest(value: Any, count: int) -> int:
    """The number in [0, count) that is nearest to a value from the page; 0 for a cleared field."""
    return min(max(0, int(value or 0)), count - 1)


def prepare_export(session: Session, export_format: str) -> Iterator[ExportUpdates]:
    """Exports the last run; yields the progress and then the file."""
    if not session:
        return
    job = start_job(session, "export", 0, lambda: _export_or_error(session, export_format))
    yield from cast(Iterator[ExportUpdates], watch_job(session, job))


def _export_or_error(session: Session, export_format: str) -> Iterator[ExportUpdates]:
    try:
        yield from _export(session, export_format)
    except Exception as error:
        if is_open(session):
            yield {"status": status_html(error_for_visitor(error).message, error=True)}


def _export(session: Session, export_format: str) -> Iterator[ExportUpdates]:
    project = project_of(session)
    result = project.result
    if result is None:
        yield {"status": status_html(message("export.no_result"), error=True)}
        return
    last_update, path = 0.0, None
    end = deadline()
    late = False

    def should_stop() -> bool:
        nonlocal late
        late = time.time() > end
        return late or project.should_stop()

    for done, path in export(result.folder, session["clip"], export_format, should_stop=should_stop):
        if time.monotonic() - last_update > 1:
            last_update = time.monotonic()
            text = message("export.progress", file=path.name, done=done, total=result.frames)
            yield {"status": status_html(text, progress=done / result.frames)}
    if path is None or not path.exists():
        text = message("export.limit", limit=limit_text()) if late else message("run.ended")
        yield {"status": status_html(text, error=late)}
        return
    size = max(0.1, path.stat().st_size / (1 << 20))  # as the list of files counts
    text = message("export.ready", file=path.name, size=decimal(f"{size:.1f}"))
    yield {"exported": gr.update(value=str(path), visible=True), "status": status_html(text)}
