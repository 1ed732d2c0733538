"""Completion of the strokes and boxes of the editor: finds the masks that they mean, and shows them."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

from mamp import MaskError
from mamp.masks.mask_io import MaskFile
from webapp.clips import painted_description
from webapp.html import status_html
from webapp.languages import message
from webapp.mask_check import mask_problem
from webapp.mask_editing import editor_frame, masks_html, open_strokes, save_strokes, settle_strokes
from webapp.segmenters import prepare_segmenter, segmenter_of
from webapp.session import Session, has_job, project_of
from webapp.updates import EditorUpdates

_locks = [Lock() for _ in range(64)]  # by hash of the session folder


def prepare_frame(session: Session) -> None:
    """Prepares the completion of strokes on the frame in the editor, so that the first mask comes soon."""
    if session:
        prepare_segmenter(session)


def save_and_complete(session: Session, painted: Any) -> Iterator[EditorUpdates]:
    """Saves what was painted, then completes it and shows the masks."""
    if not session:
        return
    save_strokes(session, painted)
    yield {"masks": masks_html(session)}  # before the first mask of a frame, which takes a second
    if session["frame"] in complete_strokes(session):
        yield {"editor": editor_frame(session, answer=True)}
    updates: EditorUpdates = {"masks": masks_html(session)}
    if not has_job(session):
        updates |= _check(session)
    yield updates


def _check(session: Session) -> EditorUpdates:
    """Tells what is wrong with the mask of the current frame, and when it is ready to run, also again after a run."""
    mask = project_of(session).input_mask(session["frame"])
    problem = "" if mask is None else mask_problem(mask)
    if not problem and mask is not None and session.get("asks_to_paint") and "opened" in session:
        session |= {"opened": painted_description(session), "asks_to_paint": False, "mask_problem": ""}
        return {"status": session["opened"]}
    is_news = problem != session.get("mask_problem", "")
    follows_job = mask is not None and session.pop("follows_job", False)
    if not is_news and not follows_job:
        return {}
    session["mask_problem"] = problem
    return {"status": status_html(problem or message("check.ready"))}


def complete_strokes(session: Session) -> set[int]:
    """Replaces the strokes that wait by the masks that they mean, and returns the numbers of their frames.

    Events run in parallel: the one that starts a run waits here for strokes that are being completed already. The mask
    of strokes that others have followed meanwhile is dropped: those bring all strokes again.
    """
    with _locks[hash(session["folder"]) % len(_locks)]:
        waiting = open_strokes(session)
        for index, (revision, stroke, work) in waiting.items():
            mask: MaskFile | None = None
            try:
                segmenter = segmenter_of(session, index)
                mask = MaskFile(segmenter.segment(work.strokes, boxes=work.boxes, previous=work.base), "strokes")
            except MaskError:  # such as sizes that do not fit: the strokes themselves stay
                pass
            finally:
                settle_strokes(session, index, revision, stroke, mask)
    return set(waiting)
