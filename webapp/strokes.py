"""Masks from rough strokes: completes what is painted on the frame in the editor, and goes back to the strokes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mamp import MaskError, StrokeSegmenter, read_mask, write_mask
from mamp.interactive.strokes import OUTSIDE
from mamp.masks.mask_io import MaskFile
from mamp.model.checkpoint import shared_encoder
from webapp.html import status_html
from webapp.mask_editing import mask_updates, replace_masks, save_strokes
from webapp.run_handler import ZERO_GPU
from webapp.session import Session, project_of, reader_of
from webapp.settings_controls import WEIGHTS
from webapp.updates import EditorUpdates

_NOTHING_PAINTED = "Scribble on each object first; one color per object."


def complete_strokes(session: Session, painted: Any) -> EditorUpdates:
    """Replaces the strokes on the current frame by the masks that they mean.

    After that, what is painted or erased on these masks is a further stroke inside or outside an object.
    """
    if not session:
        return {"status": status_html("Choose a clip first.", error=True)}
    save_strokes(session, painted)
    project, index = project_of(session), session["frame"]
    if index not in project.input_masks:
        return {"status": status_html(_NOTHING_PAINTED, error=True)}
    current = read_mask(project.input_masks[index])
    strokes_file, completed_file = _files(session)
    strokes, completed = current, None
    if completed_file.exists():
        completed = read_mask(completed_file)
        if np.count_nonzero((current > 0) & (completed > 0)) < np.count_nonzero(completed) / 2:
            completed = None  # painted anew
        else:
            changed = np.where(current > 0, current, OUTSIDE)
            strokes = np.where(current != completed, changed, read_mask(strokes_file)).astype(np.uint8)
    try:
        mask = _segmenter(session["clip"], index).segment(strokes, previous=completed)
    except MaskError as error:
        return {"status": status_html(str(error), error=True)}
    strokes_file.parent.mkdir(exist_ok=True)
    write_mask(strokes_file, strokes)
    write_mask(completed_file, mask)
    replace_masks(session, {index: MaskFile(mask, "strokes")})
    message = "Is something missing or too much? Paint or erase a little of it and complete the strokes again."
    return mask_updates(session, message)


def restore_strokes(session: Session, painted: Any) -> EditorUpdates:
    """Makes the strokes themselves the mask of the current frame."""
    if not session:
        return {"status": status_html("Choose a clip first.", error=True)}
    save_strokes(session, painted)
    strokes_file, completed_file = _files(session)
    if not strokes_file.exists():
        return {"status": status_html("The mask of this frame is exactly as it was painted.")}
    strokes = read_mask(strokes_file)
    replace_masks(session, {session["frame"]: MaskFile(np.where(strokes == OUTSIDE, 0, strokes), "painted")})
    for file in (strokes_file, completed_file):
        file.unlink(missing_ok=True)
    return mask_updates(session, "The mask is what you painted, exactly.")


def _files(session: Session) -> tuple[Path, Path]:
    """The files of the strokes on the current frame, and of the mask that was made from them."""
    folder = project_of(session).folder / "strokes"
    return folder / f"{session['frame']:06d}-strokes.png", folder / f"{session['frame']:06d}-completed.png"


@lru_cache(maxsize=2)
def _segmenter(clip: str, index: int) -> StrokeSegmenter:
    """The segmenter of a frame, kept for further strokes; the next frame, or the one before, shows what moves."""
    reader = reader_of(clip)
    other = index + 1 if index + 1 < reader.count() else max(0, index - 1)
    encoder = shared_encoder(WEIGHTS, "cpu" if ZERO_GPU else "auto")  # a GPU must be allocated first on ZeroGPU
    return StrokeSegmenter(reader.frame(index).image, encoder, reader.frame(other).image)
