"""Opening a clip: an upload, a trimmed clip or an example."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gradio as gr

from mamp import Result, Settings, VideoError, read_mask
from mamp.video.writer import cut_clip
from webapp.html import status_html
from webapp.mask_editing import editor_frame, masks_html
from webapp.results_view import result_updates
from webapp.session import (
    MAX_CLIP_FRAMES,
    MAX_FRAMES,
    Session,
    close_session,
    new_folder,
    new_session,
    project_of,
    reader_of,
)
from webapp.settings_controls import with_own_weights

EXAMPLES = Path(__file__).parent.parent / "examples"


def open_clip(path: str | None, session: Session) -> tuple[Any, ...]:
    """Opens an uploaded clip: shows its first frame in the editor and describes it in the status line."""
    close_session(session)
    if path is None:
        return clip_updates({}, status_html("Choose a clip to begin."))
    try:
        frames = reader_of(path).count(MAX_CLIP_FRAMES)
        if frames > MAX_FRAMES:
            message = f"This clip has {frames} frames; the limit is {MAX_FRAMES}. Trim the clip to open it."
            return clip_updates({}, status_html(message, error=True), clip_frames=frames)
        session = new_session(path)
    except VideoError as error:
        return clip_updates({}, status_html(str(error), error=True))
    return clip_updates(session, clip_description(session), clip_frames=frames)


def trim_clip(path: str | None, session: Session, first: float, last: float) -> tuple[Any, ...]:
    """Trims the clip to frames ``first`` to ``last`` and opens the result."""
    close_session(session)
    if path is None:
        return clip_updates({}, status_html("Choose a clip first.", error=True))
    folder = new_folder()
    try:
        reader_of(path).count(MAX_CLIP_FRAMES)
        if last - first >= MAX_FRAMES:
            raise VideoError(f"Frames {first:.0f} to {last:.0f} exceed the limit of {MAX_FRAMES} frames.")
        cut_clip(reader_of(path), int(first), int(last), folder / "part.mp4")
        session = new_session(str(folder / "part.mp4"), folder)
    except VideoError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return clip_updates({}, status_html(str(error), error=True), clip_frames=None)
    return clip_updates(session, clip_description(session), clip_frames=None)


def clip_description(session: Session) -> str:
    """The clip's length, size, frame rate and audio, as the status line."""
    info = reader_of(session["clip"]).info
    audio = "with audio" if info.has_audio else "no audio"
    description = f"{info.width}x{info.height}, {float(info.fps):.4g} frames/s, {audio}"
    return status_html(f"{session['frames']} frames, {description}. Now paint each object.")


def open_example(name: str, session: Session) -> tuple[Any, ...]:
    """Opens an example with its first mask and, if there is one, its stored result."""
    clip = EXAMPLES / f"{name}.mp4"
    session, *_ = open_clip(str(clip), session)
    project = project_of(session)
    project.set_mask(0, read_mask(clip.with_suffix(".png")))
    message = "The objects are already painted: run, or paint your own."
    if (EXAMPLES / "results" / name).exists():
        out = project.new_results_folder()
        shutil.copytree(EXAMPLES / "results" / name, out, dirs_exist_ok=True)
        project.set_latest_results(out)
        project.save(with_own_weights(Settings.from_dict(Result(out).receipt["settings"])))
        message = (
            "The finished result is shown below. The objects are already painted: "
            "paint your own or correct a frame, then run."
        )
    return str(clip), *clip_updates(session, status_html(message), clip_frames=session["frames"])


def clip_updates(session: Session, status: str, *, clip_frames: int | None = 0) -> tuple[Any, ...]:
    """Updates of the page for a new clip or none; a clip that is too long opens the trim panel.

    Args:
        session: Empty if there is no clip to segment.
        status: HTML of the status line.
        clip_frames: Number of frames of the clip to trim; 0 without a clip, ``None`` if that clip stays the same.
    """
    frames = session.get("frames", 1)
    frame_slider = gr.update(value=0, maximum=max(1, frames - 1), interactive=frames > 1)
    start = gr.update(interactive=bool(session))
    editor = gr.update(value=editor_frame(session), visible=True if session else "hidden")
    placeholder = gr.update(visible=not session)
    trim = [gr.skip()] * 3
    if clip_frames is not None:
        trim[0] = gr.update(visible=clip_frames > 1, open=clip_frames > MAX_FRAMES)
        trim[1:] = [gr.update(value=frame) for frame in (0, max(min(clip_frames, MAX_FRAMES) - 1, 0))]
    return (
        *(session, editor, placeholder, status, start, frame_slider, masks_html(session)),
        *trim,
        *result_updates(session),
    )
