"""Editing of input masks: painted, or read from a mask file or a project file."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from PIL import Image

from mamp import MaskError, read_mask
from mamp.masks.label_map import Mask
from mamp.masks.mask_io import MaskFile
from webapp.errors import error_text
from webapp.html import input_masks_html, status_html
from webapp.label_runs import mask_to_runs, runs_to_mask
from webapp.languages import count_message, message
from webapp.project import read_project_file
from webapp.removed_masks import remember_removal, removal_text, take_removed
from webapp.session import Session, project_of, reader_of
from webapp.settings_controls import control_values
from webapp.strokes import Box, OpenStrokes
from webapp.updates import EditorUpdates, ProjectUpdates

_PICTURE_SIDE = 1920  # [pixels]; a larger frame is only shown smaller: masks keep the clip's size
_saving = threading.Lock()  # the events of one page run in parallel, so that edits arrive in any order


def editor_frame(session: Session, *, answer: bool = False) -> dict[str, Any] | None:
    """The editor's value: the current frame with its mask; ``None`` without a clip.

    ``FrameMessage`` in ``static/editor.js`` lists the keys. ``revision`` and ``stroke`` tell which strokes are saved:
    see ``save_strokes``. With ``reveal``, the page scrolls to the editor.

    Args:
        session: The visitor's session.
        answer: Whether nobody asked for this frame, as after a stroke: a page that shows another one by now stays there.
    """
    if not session:
        return None
    index, reader = session["frame"], reader_of(session["clip"])
    with _saving:
        revision, stroke = _revisions(session).setdefault(index, _new_revision())
        mask, origin = _mask_and_origin(session)
        pending = index in _open(session)
    size = reader.info.height, reader.info.width
    return {
        "frame": index,
        "revision": revision,
        "stroke": stroke,
        "pending": pending,
        "answer": answer,
        "width": size[1],
        "height": size[0],
        "picture": gr.FileData(path=str(_picture(session))).model_dump(),
        "mask": mask_to_runs(np.zeros(size, np.uint8) if mask is None else mask),
        "note": message(f"editor.{origin}", frame=index),
        "reveal": False,
    }


def _picture(session: Session) -> Path:
    """File of the current frame's picture, at most as large as a screen."""
    path = Path(session["folder"]) / f"frame-{session['frame']:06d}.jpg"
    if not path.exists():
        image = reader_of(session["clip"]).frame(session["frame"]).image
        scale = _PICTURE_SIDE / max(image.shape[:2])
        if scale < 1:
            image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        Image.fromarray(image).save(path, quality=92, subsampling=0)
    return path


def _mask_and_origin(session: Session) -> tuple[Any, str]:
    """The mask (H, W) uint8 of the current frame or ``None``, and whether it is "painted", "tracked" or "empty"."""
    project, index = project_of(session), session["frame"]
    if index in project.input_masks:
        return project.mask(index), "painted"
    cleared = project.result is not None and session.get("cleared", {}).get(index) == project.result.folder.name
    mask = None if cleared else project.mask(index, reader_of(session["clip"]))
    return mask, "empty" if mask is None or not mask.any() else "tracked"


def save_strokes(session: Session, painted: Any) -> None:
    """Saves the masks that were painted in the editor as input masks of their frames.

    Every event brings the editor's value, and events run in parallel. So each edit names the revision of the mask that
    it was painted on, and has a number: it is saved unless a later one is saved already, or unless the mask has been
    replaced meanwhile, by a mask file for instance. A value that does not come from the editor is ignored.

    Args:
        session: The visitor's session.
        painted: The editor's value, ``PageMessage`` in ``static/editor.js``.
    """
    if not session:
        return
    info = reader_of(session["clip"]).info
    size = info.height, info.width
    for index, revision, stroke, runs, completion in _edits(painted):
        with _saving:
            saved = _revisions(session).get(index)
            if saved is None or saved[0] != revision or saved[1] >= stroke:
                continue
            try:
                mask, work = runs_to_mask(runs, size), OpenStrokes.from_editor(completion, size)
            except MaskError:
                continue
            if completion is None and _is_tracked(session, index, mask):  # the visitor has undone all strokes
                project_of(session).set_mask(index, np.zeros(size, np.uint8))
                session.get("cleared", {}).pop(index, None)
            else:
                _set_mask(session, index, MaskFile(mask, "painted"))
            saved[1] = stroke
            _open(session).pop(index, None)
            if work is not None:
                work.write(_strokes_folder(session), index)
                _open(session)[index] = (revision, stroke, work.boxes)


def _is_tracked(session: Session, index: int, mask: Mask) -> bool:
    """Whether a mask is just what the last run found in a frame that had no input mask."""
    project = project_of(session)
    if project.result is None or index in project.result.receipt["input_masks"]:
        return False
    tracked = project.tracked_mask(index, reader_of(session["clip"]))
    return tracked is not None and np.array_equal(mask, tracked)


def _edits(painted: Any) -> Iterator[tuple[int, str, int, Any, Any]]:
    """Frame, revision, number, runs and completion of the edits in the editor's value."""
    edits = painted.get("edits") if isinstance(painted, dict) else None
    for edit in edits if isinstance(edits, list) else []:
        match edit:
            case {"frame": int(index), "revision": str(revision), "stroke": int(stroke), "mask": runs}:
                yield index, revision, stroke, runs, edit.get("completion")


def open_strokes(session: Session) -> dict[int, tuple[str, int, OpenStrokes]]:
    """Revision, number and content of the strokes that are saved but not completed, by frame number."""
    with _saving:
        return {
            index: (revision, stroke, OpenStrokes.read(_strokes_folder(session), index, boxes))
            for index, (revision, stroke, boxes) in _open(session).items()
        }


def settle_strokes(session: Session, index: int, revision: str, stroke: int, file: MaskFile | None) -> None:
    """Sets the mask that strokes mean, or leaves the strokes as they are; nothing if others have followed them."""
    with _saving:
        if _open(session).get(index, ("", 0))[:2] != (revision, stroke):
            return
        del _open(session)[index]
        if file is not None and _revisions(session).get(index) == [revision, stroke]:
            _set_mask(session, index, file)


def _open(session: Session) -> dict[int, tuple[str, int, dict[int, Box]]]:
    """Revision, number and boxes of the strokes that are not completed, by frame number."""
    waiting: dict[int, tuple[str, int, dict[int, Box]]] = session.setdefault("open_strokes", {})
    return waiting


def _strokes_folder(session: Session) -> Path:
    return Path(session["folder"]) / "strokes"


def _set_mask(session: Session, index: int, file: MaskFile) -> None:
    """Sets or removes an input mask; a frame whose mask was removed does not show the last run's again."""
    project = project_of(session)
    project.set_mask(index, file)
    if not file.mask.any() and project.result is not None:
        session.setdefault("cleared", {})[index] = project.result.folder.name


def replace_masks(session: Session, files: Mapping[int, MaskFile]) -> None:
    """Sets input masks by frame number; strokes that were painted on the ones before no longer apply."""
    with _saving:
        for index, file in files.items():
            _set_mask(session, index, file)
            _revisions(session)[index] = _new_revision()
            _open(session).pop(index, None)


def _revisions(session: Session) -> dict[int, list[Any]]:
    """Revision and number of the last saved stroke, by frame."""
    revisions: dict[int, list[Any]] = session.setdefault("revisions", {})
    return revisions


def _new_revision() -> list[Any]:
    return [secrets.token_hex(8), 0]


def refresh_editor(session: Session) -> EditorUpdates:
    """Shows the current frame again, after a run that may have given it a mask; not if another one is shown by now."""
    return {"editor": editor_frame(session, answer=True)} if session else {}


def select_frame(session: Session, painted: Any, index: float | None) -> EditorUpdates:
    """Saves the strokes and shows another frame in the editor."""
    if not session:
        return {}
    save_strokes(session, painted)
    before, session["frame"] = session["frame"], min(max(0, int(index or 0)), session["frames"] - 1)
    updates: EditorUpdates = {"editor": editor_frame(session), "masks": masks_html(session)}
    if session["frame"] != before and session.pop("mask_files", None):
        updates["mask_file"] = None  # its box is that of a frame
    return updates


def jump_to_frame(session: Session, painted: Any, index: float | None) -> EditorUpdates:
    """Saves the strokes, shows another frame and its number, and scrolls to the editor."""
    if not session:
        return {}
    updates = select_frame(session, painted, index)
    return {**updates, "editor": updates["editor"] | {"reveal": True}, "frame": gr.update(value=session["frame"])}


def jump_to_masked_frame(session: Session, painted: Any, event: gr.EventData) -> EditorUpdates:
    """Shows the frame of the clicked input mask in the editor."""
    return jump_to_frame(session, painted, event.frame)


def remove_from_mask(session: Session, painted: Any, event: gr.EventData) -> EditorUpdates:
    """Removes the clicked object from an input mask, or the whole mask."""
    if not session:
        return {}
    save_strokes(session, painted)
    index, label = int(event.frame), int(event.object)
    path = project_of(session).input_masks.get(index)
    if path is None:
        return {"masks": masks_html(session)}
    mask = read_mask(path)
    left = np.where((mask == label) | (label == 0), 0, mask).astype(np.uint8)
    text = message("masks.object_removed" if label else "masks.removed", label=label, frame=index)
    return replace_removed(session, {index: mask}, {index: left}, text)


def replace_removed(
    session: Session, before: Mapping[int, Mask], after: Mapping[int, Mask], text: str
) -> EditorUpdates:
    """Replaces masks by what is left of them. The list of masks tells what was removed; the status, what to do next."""
    replace_masks(session, {index: MaskFile(mask, "painted") for index, mask in after.items()})
    remember_removal(session, before, text)
    session["mask_problem"] = ""
    key = "check.ready" if project_of(session).input_masks else "run.nothing_painted"
    return mask_updates(session, message(key))


def undo_removal(session: Session, painted: Any) -> EditorUpdates:
    """Brings the masks back from which something was removed last, unless their frames were edited meanwhile."""
    if not session:
        return {}
    save_strokes(session, painted)
    masks = take_removed(session)
    if not masks:
        return {"masks": masks_html(session)}
    replace_masks(session, {index: MaskFile(mask, "painted") for index, mask in masks.items()})
    return mask_updates(session, " ".join(message("masks.restored", frame=index) for index in masks))


def mask_updates(session: Session, text: str) -> EditorUpdates:
    """The current frame with its new mask, a status message, and the input masks."""
    return {"editor": editor_frame(session), "status": status_html(text), "masks": masks_html(session)}


def rename_object(session: Session, event: gr.EventData) -> None:
    """Sets the name of an object."""
    if session:
        project_of(session).rename({int(event.object): str(event.name)})


def load_project_file(session: Session, painted: Any, path: str | None) -> ProjectUpdates:
    """Loads masks, names and settings from a project file."""
    if not session or path is None:
        return {"status": status_html(message("project.no_clip"), error=True)}
    save_strokes(session, painted)
    try:
        file = read_project_file(path)
        with _saving:
            project_of(session).load(file)
            session["revisions"], session["cleared"], session["open_strokes"] = {}, {}, {}
            session.pop("mask_files", None)
    except MaskError as error:
        return {"status": status_html(error_text(error), error=True)}
    text = count_message("project.loaded", len(file.masks), clip=file.clip)
    return {**mask_updates(session, text), "mask_file": None, "settings": control_values(file.settings)}


def masks_html(session: Session) -> str:
    """The input masks and the object names as HTML."""
    if not session:
        return ""
    project = project_of(session)
    return input_masks_html(project.input_masks, project.names, removal_text(session))
