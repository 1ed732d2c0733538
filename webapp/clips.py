"""Clips that come in: an upload, a part of one, an example."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gradio as gr

from mamp import VideoError, read_mask
from mamp.video.writer import cut_clip
from webapp.html import say
from webapp.mask_editing import listing, shown_frame
from webapp.results_view import results
from webapp.session import MAX_CLIP, MAX_FRAMES, Session, close_session, new_folder, new_session, project_of, reader_of
from webapp.settings_controls import USUAL, settings_of

EXAMPLES = Path(__file__).parent.parent / "examples"


def open_clip(path: str | None, session: Session) -> tuple[Any, ...]:
    """Takes an upload: its first frame into the editor, and what it is into words."""
    close_session(session)
    if path is None:
        return opened({}, say("Choose a clip to begin."))
    try:
        frames = reader_of(path).count(MAX_CLIP)
        if frames > MAX_FRAMES:
            words = f"This clip has {frames} frames; the limit here is {MAX_FRAMES}. Take a part of it, on the left."
            return opened({}, say(words, bad=True), clip_frames=frames)
        session = new_session(path)
    except VideoError as error:
        return opened({}, say(str(error), bad=True))
    return opened(session, described(session), clip_frames=frames)


def take_part(path: str | None, session: Session, first: float, last: float) -> tuple[Any, ...]:
    """Cuts a part out of the clip, and goes on with that."""
    close_session(session)
    if path is None:
        return opened({}, say("Choose a clip first.", bad=True))
    folder = new_folder()
    try:
        reader_of(path).count(MAX_CLIP)
        if last - first >= MAX_FRAMES:
            raise VideoError(f"Frames {first:.0f} to {last:.0f} are more than the {MAX_FRAMES} that may be taken.")
        cut_clip(reader_of(path), int(first), int(last), folder / "part.mp4")
        session = new_session(str(folder / "part.mp4"), folder)
    except VideoError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return opened({}, say(str(error), bad=True), clip_frames=None)
    return opened(session, described(session), clip_frames=None)


def described(session: Session) -> str:
    """What a clip is."""
    info = reader_of(session["clip"]).info
    sound = "with sound" if info.has_audio else "no sound"
    size = f"{info.width}x{info.height}, {float(info.fps):.4g} a second, {sound}"
    return say(f"{session['frames']} frames, {size}. Now paint each object.")


def open_example(name: str, session: Session) -> tuple[Any, ...]:
    """Takes an example, with its first mask painted and the result of a run to look at."""
    clip = EXAMPLES / f"{name}.mp4"
    session, *_ = open_clip(str(clip), session)
    project = project_of(session)
    project.give(0, read_mask(clip.with_suffix(".png")))
    words = "Objects are painted already: run, or paint your own."
    if (EXAMPLES / "results" / name).exists():
        out = project.new_results()
        shutil.copytree(EXAMPLES / "results" / name, out, dirs_exist_ok=True)
        project.keep(out)
        project.save(settings_of(*USUAL))
        words = (
            "This is a finished run, below. Objects are painted already: paint your own, or correct a frame, and run."
        )
    return str(clip), *opened(session, say(words), clip_frames=session["frames"])


def opened(session: Session, words: str, *, clip_frames: int | None = 0) -> tuple[Any, ...]:
    """What a new clip, or none, changes on the page; one that is too long is offered to be cut.

    Args:
        session: Empty if there is no clip that can be followed.
        words: For the visitor.
        clip_frames: Of the clip that parts may be taken of; 0 if there is none, ``None`` if it is the one before.
    """
    frames = session.get("frames", 1)
    chosen = gr.update(value=0, maximum=max(1, frames - 1), interactive=frames > 1)
    start = gr.update(interactive=bool(session))
    editor = gr.update(value=shown_frame(session), visible=True if session else "hidden")
    empty = gr.update(visible=not session)
    part = [gr.skip()] * 3
    if clip_frames is not None:
        part[0] = gr.update(visible=clip_frames > 1, open=clip_frames > MAX_FRAMES)
        part[1:] = [gr.update(value=frame) for frame in (0, max(min(clip_frames, MAX_FRAMES) - 1, 0))]
    return session, editor, empty, words, start, chosen, listing(session), *part, *results(session)
