"""Opening a clip: an upload, a trimmed clip or an example."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from mamp import Result, Settings, VideoError, read_mask
from mamp.video.writer import cut_clip
from webapp.errors import error_text
from webapp.examples import EXAMPLE_NAMES, EXAMPLES
from webapp.html import bring_back_button, scroll_to, session_to_bring_back, status_html
from webapp.jobs import job_updates
from webapp.languages import count_message, decimal, message
from webapp.mask_editing import editor_frame, masks_html
from webapp.results_view import result_updates
from webapp.session import (
    LEFT_SECONDS,
    MAX_CLIP_FRAMES,
    MAX_FRAMES,
    Session,
    SessionEndedError,
    close_session,
    failure_of,
    find_session,
    has_job,
    name_aside,
    name_of,
    new_folder,
    new_session,
    project_of,
    reader_of,
    set_aside,
    use_session,
)
from webapp.settings_controls import control_values, with_own_weights
from webapp.updates import ClipUpdates, EndedUpdates, ExampleUpdates, ResumeUpdates

_MAX_STEM = 120  # [bytes] of the name of a trimmed clip


def open_clip(session: Session, path: str | None, closed_status: str = "") -> ExampleUpdates:
    """Opens an uploaded clip: shows its first frame in the editor and describes it in the status line.

    Args:
        session: Empty if no clip is open.
        path: The clip; ``None`` for the event of an empty clip, which follows another one, see ``remove_clip``.
        closed_status: See ``ClipUpdates``; what was painted on a clip that was removed can still be brought back.
    """
    if path is None:
        return {}
    before = _leave(session, keep=path) or _left_before(session, closed_status)
    try:
        frames = reader_of(path).count(MAX_CLIP_FRAMES)
        if frames > MAX_FRAMES:
            too_long = message("clip.too_long", frames=frames, limit=MAX_FRAMES)
            refusal = status_html(too_long, error=True, button=before)
            return {"clip": gr.skip(), **clip_updates({}, refusal, clip_frames=frames)}
        session = new_session(path)
    except VideoError as error:
        refusal = status_html(error_text(error), error=True, button=before)
        return {"clip": None, **clip_updates({}, refusal)}
    status = _clip_description(session, "clip.paint", before)
    return {"clip": gr.skip(), **clip_updates(session, status, clip_frames=frames, asks_to_paint=True)}


def remove_clip(session: Session) -> ClipUpdates:
    """Removes the clip; what was painted can be brought back for some minutes."""
    before = _leave(session, key="clip.bring_back")
    text = message("run.no_clip")
    if before:
        text = f"{message('clip.removed')} {text}"
    return clip_updates({}, status_html(text, button=before))


def check_session(session: Session) -> EndedUpdates:
    """Shows that the clip is gone, if another page has closed it or nobody used it for too long."""
    try:
        if session:
            use_session(session)
    except SessionEndedError as error:
        name = name_aside(session)
        text = message("session.closed") if name else error_text(error)
        button = bring_back_button(name, message("clip.bring_back")) if name else ""
        return {"clip": None, "estimate": "", **clip_updates({}, status_html(text, error=True, button=button))}
    return {}


def bring_back(session: Session, event: gr.EventData) -> ExampleUpdates:
    """Shows a clip again that was removed or replaced, with its masks and its result."""
    found = find_session(str(event.session))
    if found is None:
        return {"status": status_html(message("clip.not_kept", minutes=max(1, LEFT_SECONDS // 60)), error=True)}
    if found["folder"] == session.get("folder"):
        return {}
    before = _leave(session)
    use_session(found)
    status = status_html(message("clip.back"), button=before)
    return {"clip": found["clip"], **clip_updates(found, status, clip_frames=found["frames"])}


def _leave(session: Session, *, keep: str | None = None, key: str = "clip.bring_previous") -> str:
    """Ends the session of the clip before; returns a button that brings back what was painted, if anything was.

    Args:
        session: Empty if there was no clip.
        keep: A clip that is still needed.
        key: The text of the button.
    """
    if _has_work(session) and (name := set_aside(session, keep=keep)):
        return bring_back_button(name, message(key))
    close_session(session, keep=keep)
    return ""


def _left_before(session: Session, closed_status: str) -> str:
    """The button that brings back what the page offers: what was replaced by a session without work, or was removed."""
    name = session_to_bring_back(session.get("opened", "") if session else closed_status)
    return bring_back_button(name, message("clip.bring_previous")) if name else ""


def _has_work(session: Session) -> bool:
    """Whether a session has masks or a result, and not only those of an example."""
    if not session:
        return False
    project, clip = project_of(session), Path(session["clip"])
    masks = project.input_masks
    if clip.parent == EXAMPLES and list(masks) == [0]:
        return not np.array_equal(read_mask(masks[0]), read_mask(clip.with_suffix(".png")))
    return bool(masks) or project.result is not None


def trim_clip(session: Session, path: str | None, first: float | None, last: float | None) -> ClipUpdates:
    """Trims the clip to frames ``first`` to ``last`` and opens the result."""
    if path is None:
        return {"status": status_html(message("clip.choose_first"), error=True)}
    if first is None or last is None:
        return {"status": status_html(message("trim.numbers"), error=True)}
    folder = new_folder()
    try:
        reader_of(path).count(MAX_CLIP_FRAMES)
        if last - first >= MAX_FRAMES:
            raise VideoError(message("trim.too_long", first=f"{first:.0f}", last=f"{last:.0f}", limit=MAX_FRAMES))
        part = folder / part_name(path, int(first), int(last))
        cut_clip(reader_of(path), int(first), int(last), part)
        trimmed = new_session(str(part), folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, VideoError):
            raise
        return {"status": status_html(error_text(error), error=True)}
    before = _leave(session, keep=path)
    status = _clip_description(trimmed, "clip.paint", before)
    return clip_updates(trimmed, status, clip_frames=None, asks_to_paint=True)


def part_name(path: str, first: int, last: int) -> str:
    """The name of a trimmed clip, which its results carry; not longer than file systems allow."""
    stem = Path(path).stem.encode()[:_MAX_STEM].decode(errors="ignore")
    return f"{stem}_{first}-{last}.mp4"


def painted_description(session: Session) -> str:
    """The status of a clip that asked to paint, once a mask is painted."""
    return _clip_description(session, "check.ready", _left_before(session, ""))


def _clip_description(session: Session, next_step: str, button: str) -> str:
    """The clip's length, size, frame rate and audio, as the status line.

    Args:
        session: The session.
        next_step: The text of what to do next.
        button: HTML of a button behind it.
    """
    reader = reader_of(session["clip"])
    info = reader.info
    description = message(
        "clip.description",
        frames=count_message("count.frames", session["frames"]),
        width=info.width,
        height=info.height,
        rate=decimal(f"{float(info.fps):.4g}"),
        audio=message("clip.audio" if info.has_audio else "clip.no_audio"),
        damage=f" {reader.damage}" if reader.damage else "",
    )
    return status_html(f"{description} {message(next_step)}", button=button)


def choose_example(session: Session, closed_status: str, event: gr.EventData) -> ExampleUpdates:
    """Opens the example that was clicked."""
    name = str(event.name)
    return open_example(session, name, closed_status) if name in EXAMPLE_NAMES else {}


def open_example(session: Session, name: str, closed_status: str = "") -> ExampleUpdates:
    """Opens an example with its first mask and, if there is one, its stored result; see ``open_clip``."""
    clip = EXAMPLES / f"{name}.mp4"
    before = _leave(session) or _left_before(session, closed_status)
    session = new_session(str(clip))
    project = project_of(session)
    project.set_mask(0, read_mask(clip.with_suffix(".png")))
    key = "gallery.painted"
    if (EXAMPLES / "results" / name).exists():
        out = project.new_results_folder()
        shutil.copytree(EXAMPLES / "results" / name, out, dirs_exist_ok=True)
        project.set_latest_results(out)
        project.save(with_own_weights(Settings.from_dict(Result(out).receipt["settings"])))
        key = "gallery.finished"
    status = status_html(message(key), button=before)
    return {"clip": str(clip), **clip_updates(session, status, clip_frames=session["frames"])}


def resume_session(session: Session, name: Any) -> ResumeUpdates:
    """Shows the clip, the masks and the result of a session that is still there, after its page was reloaded.

    Args:
        session: The session of the new page, which is empty.
        name: The session's name, from the page's address; empty if the address has none.
    """
    if session or not isinstance(name, str) or not name:
        return {}
    found = find_session(name)
    if found is None:
        return {"clip": None, "settings": {}, **clip_updates({}, status_html(message("clip.gone"), error=True))}
    project, controls = project_of(found), {}
    if project.result is not None:
        settings = with_own_weights(Settings.from_dict(project.result.receipt["settings"]))
        if not project.file.exists():  # else it holds the masks of the run, and not those painted since
            project.save(settings)
        controls = control_values(settings)
    failure = failure_of(found)
    status = status_html(failure or message("clip.back"), error=bool(failure))
    updates = clip_updates(found, status, clip_frames=found["frames"])
    if has_job(found):
        found.pop("opened")  # the run's messages follow
    return {"clip": found["clip"], "settings": controls, **updates}


def clip_updates(
    session: Session, status: str, *, clip_frames: int | None = 0, asks_to_paint: bool = False
) -> ClipUpdates:
    """Updates of the page for a new clip or none; a clip that is too long opens the trim panel.

    Args:
        session: Empty if there is no clip to segment.
        status: HTML of the status line; kept in the session until its first run.
        clip_frames: Number of frames of the clip to trim; 0 without a clip, ``None`` if that clip stays the same.
        asks_to_paint: Whether the status has a sentence to replace once something is painted.
    """
    frames = session.get("frames", 1)
    if session:
        session |= {"opened": status, "asks_to_paint": asks_to_paint}
    updates: ClipUpdates = {
        "session": session,
        "address": {"project": name_of(session)},
        "editor": editor_frame(session),
        "status": status,
        "closed_status": "" if session else status,
        "preview": gr.update(visible=False),
        "frame": gr.update(value=session.get("frame", 0), maximum=max(1, frames - 1), interactive=frames > 1),
        "masks": masks_html(session),
        "mask_file": None,
        "project_file": None,
    }
    updates["scroll"] = scroll_to("editor" if session else "status")
    if clip_frames is not None:
        last_frame = max(min(clip_frames, MAX_FRAMES) - 1, 0)
        updates["trim_panel"] = gr.update(visible=clip_frames > 1, open=clip_frames > MAX_FRAMES)
        updates["first_frame"], updates["last_frame"] = gr.update(value=0), gr.update(value=last_frame)
    return {**updates, **job_updates(session), **result_updates(session)}
