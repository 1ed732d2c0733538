"""The box of mask files: it adds masks to the frame in the editor, and takes them away again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from mamp import MaskError, read_mask, write_mask
from mamp.masks.label_map import Mask
from webapp.errors import error_text
from webapp.html import status_html
from webapp.languages import message
from webapp.mask_editing import mask_updates, masks_html, replace_masks, replace_removed, save_strokes
from webapp.session import Session, project_of, reader_of
from webapp.updates import EditorUpdates


def load_mask_files(session: Session, painted: Any, paths: list[str] | None) -> EditorUpdates:
    """Loads mask files as input mask of the current frame; JSON of a clip has masks of its other frames as well."""
    if not session or not paths:
        return {"status": status_html(message("clip.choose_first"), error=True), "mask_file": None}
    save_strokes(session, painted)
    try:
        files = project_of(session).read_mask_files(paths, session["frame"])
    except MaskError as error:
        refused: EditorUpdates = {"status": status_html(error_text(error), error=True), "masks": masks_html(session)}
        if not session.get("mask_files"):
            refused["mask_file"] = None
        return refused
    _keep_before(session, list(files))
    replace_masks(session, files)
    session["mask_files"] = {index: session["revisions"][index][0] for index in files}
    loaded = (message("masks.loaded", frame=index, description=file.description) for index, file in files.items())
    return mask_updates(session, " ".join(loaded))


def remove_mask_files(session: Session, painted: Any, paths: list[str] | None, event: gr.EventData) -> EditorUpdates:
    """Takes the masks away that the files of the box added, or loads those that are left in it.

    The masks before them come back. What is taken away can be brought back, see ``undo_removal``.
    """
    if not session:
        return {}
    save_strokes(session, painted)
    removed = (event._data or {}).get("path")  # of one file; without it the box was emptied
    left = [path for path in paths or () if removed and path != removed]
    added = _added(session)
    before = {index: _current(session, index) for index in added}
    earlier = {index: read_mask(_before_file(session, index)) for index in added}
    session.pop("mask_files", None)
    if not added:
        return {"masks": masks_html(session)}
    updates = replace_removed(session, before, earlier, message("masks.files_removed"))
    return load_mask_files(session, None, left) if left else updates


def _added(session: Session) -> list[int]:
    """The frames whose masks are still those of the files, as far as strokes were painted on them since."""
    known, revisions = session.get("mask_files") or {}, session.get("revisions", {})
    return [index for index, revision in known.items() if revisions.get(index, [""])[0] == revision]


def _keep_before(session: Session, frames: list[int]) -> None:
    """Keeps the masks that files are about to replace; where files replace files, those before them are kept already."""
    added = _added(session)
    for index in frames:
        if index not in added:
            _before_file(session, index).parent.mkdir(exist_ok=True)
            write_mask(_before_file(session, index), _current(session, index))


def _before_file(session: Session, index: int) -> Path:
    return Path(session["folder"]) / "before_files" / f"{index}.png"


def _current(session: Session, index: int) -> Mask:
    """The input mask of a frame (H, W) uint8; empty if it has none."""
    info = reader_of(session["clip"]).info
    mask = project_of(session).input_mask(index)
    return np.zeros((info.height, info.width), np.uint8) if mask is None else mask
