"""Results of a run: display and export."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from mamp import OverlayStyle, overlay
from mamp.runs.export import export
from webapp.code_snippets import as_client, as_command, as_python
from webapp.html import review_html, status_html
from webapp.project import read_project_file
from webapp.session import Session, project_of, reader_of

OVERLAY_PARTS = ["Outline", "Number"]
EXPORT_FORMATS = {
    "Transparent cutout (WebM, for browsers)": "webm",
    "Transparent cutout (ProRes MOV, for video editors)": "mov",
    "Transparent cutout (PNG images)": "png",
    "One mask per object (black-and-white PNG)": "objects",
}


def result_updates(
    session: Session, opacity: float = 0.45, parts: Any = OVERLAY_PARTS, server: str = ""
) -> tuple[Any, ...]:
    """Updates of the review section, in the order of ``ReviewSection.results``."""
    project = project_of(session) if session else None
    if project is None or project.result is None:
        return gr.update(visible=False), *(gr.skip(),) * 9
    file = read_project_file(project.folder / "project.zip")
    run = project.clip.name, file.masks, file.settings, file.names
    first = min(file.masks)
    trimmed_clip = [project.clip] if project.clip.parent == project.folder else []
    return (
        gr.update(visible=True),
        str(project.result.overlay),
        [str(path) for path in (*project.result.files, project.folder / "project.zip", *trimmed_clip)],
        gr.update(maximum=max(1, session["frames"] - 1), value=first, interactive=True),
        frame_comparison(session, first, opacity, parts),
        review_html(project.result, project.names),
        as_python(*run),
        as_command(*run),
        as_client(project.clip.name, os.environ.get("SPACE_ID") or server or "http://127.0.0.1:7860/"),
        gr.update(value=None, visible=False),
    )


def overlay_style(opacity: float, parts: list[str]) -> OverlayStyle:
    """The overlay style that the page's controls select."""
    return OverlayStyle(opacity, "Outline" in parts, "Number" in parts)


def frame_comparison(session: Session, index: float, opacity: float, parts: list[str]) -> Any:
    """A frame without and with its mask overlaid."""
    if not session:
        return None
    mask = project_of(session).mask(int(index))
    frame = reader_of(session["clip"]).frame(int(index)).image
    return frame, frame if mask is None else overlay(frame, mask, overlay_style(opacity, parts))


def show_frame(session: Session, opacity: float, parts: list[str], event: gr.EventData) -> tuple[Any, Any]:
    """Shows the frame that was clicked in the list or the chart."""
    return event.frame, frame_comparison(session, event.frame, opacity, parts)


def prepare_export(session: Session, export_format: str) -> Iterator[tuple[Any, str]]:
    """Exports the last run; yields the file and the status line."""
    result = project_of(session).result if session else None
    if result is None:
        yield gr.skip(), status_html("Run first: there is no result to export.", error=True)
        return
    project_of(session).stop_file.unlink(missing_ok=True)
    last_update, path = 0.0, None
    try:
        for done, path in export(
            result.folder,
            session["clip"],
            EXPORT_FORMATS[export_format],
            should_stop=project_of(session).stop_file.exists,
        ):
            if time.monotonic() - last_update > 1:
                last_update = time.monotonic()
                yield (
                    gr.skip(),
                    status_html(f"{path.name}: frame {done} of {result.frames}", progress=done / result.frames),
                )
    except ValueError as error:  # bad input or a full disk, in one sentence
        yield gr.skip(), status_html(str(error), error=True)
        return
    if path is None or not path.exists():
        yield gr.skip(), status_html("Stopped.")
        return
    yield (
        gr.update(value=str(path), visible=True),
        status_html(f"{path.name} is ready, {path.stat().st_size / 1e6:.1f} MB."),
    )
