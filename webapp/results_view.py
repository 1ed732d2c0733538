"""What a run has left: looked at, and made into products."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from mamp import MaskError, OverlayStyle, VideoError, overlay
from mamp.runs.export import export
from webapp.code_snippets import as_client, as_command, as_python
from webapp.html import review, say
from webapp.project import read_project_file
from webapp.session import Session, project_of, reader_of

LOOK = ["Outline", "Number"]
PRODUCTS = {
    "Cut-out, see-through (webm: browsers)": "webm",
    "Cut-out, see-through (ProRes mov: video editors)": "mov",
    "Cut-out, see-through (PNG pictures)": "png",
    "Masks by object (black and white PNG)": "objects",
}


def results(session: Session, opacity: float = 0.45, parts: Any = LOOK, server: str = "") -> tuple[Any, ...]:
    """The results' group and what is in it: video, files, slider, viewer, review, three snippets, product."""
    project = project_of(session) if session else None
    if project is None or project.result is None:
        return gr.update(visible=False), *(gr.skip(),) * 9
    file = read_project_file(project.folder / "project.zip")
    run_as = project.clip.name, file.masks, file.settings, file.names
    first = min(file.masks)
    cut = [project.clip] if project.clip.parent == project.folder else []
    return (
        gr.update(visible=True),
        str(project.result.overlay),
        [str(path) for path in (*project.result.files, project.folder / "project.zip", *cut)],
        gr.update(maximum=max(1, session["frames"] - 1), value=first, interactive=True),
        look_at(session, first, opacity, parts),
        review(project.result, project.names),
        as_python(*run_as),
        as_command(*run_as),
        as_client(project.clip.name, os.environ.get("SPACE_ID") or server or "http://127.0.0.1:7860/"),
        gr.update(value=None, visible=False),
    )


def look_of(opacity: float, parts: list[str]) -> OverlayStyle:
    """How the page's controls want objects to be laid over frames."""
    return OverlayStyle(opacity, "Outline" in parts, "Number" in parts)


def look_at(session: Session, index: float, opacity: float, parts: list[str]) -> Any:
    """One frame without and with its mask laid over it."""
    if not session:
        return None
    mask = project_of(session).mask(int(index))
    frame = reader_of(session["clip"]).frame(int(index)).image
    return frame, frame if mask is None else overlay(frame, mask, look_of(opacity, parts))


def jump(session: Session, opacity: float, parts: list[str], event: gr.EventData) -> tuple[Any, Any]:
    """Shows the frame that was clicked in the review."""
    return event.frame, look_at(session, event.frame, opacity, parts)


def make(session: Session, product: str) -> Iterator[tuple[Any, str]]:
    """Writes a product of the last run; yields it and words."""
    result = project_of(session).result if session else None
    if result is None:
        yield gr.skip(), say("Run first.", bad=True)
        return
    project_of(session).stop_note.unlink(missing_ok=True)
    shown, path = 0.0, None
    try:
        for done, path in export(
            result.folder, session["clip"], PRODUCTS[product], should_stop=project_of(session).stop_note.exists
        ):
            if time.monotonic() - shown > 1:
                shown = time.monotonic()
                yield gr.skip(), say(f"{path.name}: frame {done} of {result.frames}", share=done / result.frames)
    except (VideoError, MaskError) as error:
        yield gr.skip(), say(str(error), bad=True)
        return
    if path is None or not path.exists():
        yield gr.skip(), say("Stopped.")
        return
    yield gr.update(value=str(path), visible=True), say(f"{path.name} is ready, {path.stat().st_size / 1e6:.1f} MB.")
