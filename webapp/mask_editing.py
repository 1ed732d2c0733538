"""Editing of input masks: painted, read from a mask file or a project file, or segmented in a box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from mamp import OBJECT_COLORS, MaskError
from mamp.masks.label_map import mask_in_box, merge_input_mask
from mamp.masks.mask_io import open_mask
from mamp.masks.palette import color_of, mask_to_strokes, strokes_to_mask
from webapp.html import input_masks_html, status_html
from webapp.project import is_same_frame, read_project_file
from webapp.session import Session, project_of, reader_of
from webapp.settings_controls import control_values
from webapp.updates import EditorUpdates, ProjectUpdates

BRUSH_COLORS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in OBJECT_COLORS.tolist()]


def editor_frame(session: Session) -> Any:
    """The editor's value for the current frame: always the server's copy, since the editor can lose its own."""
    if not session:
        return None
    path = Path(session["folder"]) / f"frame-{session['frame']:06d}.png"
    if not path.exists():
        Image.fromarray(reader_of(session["clip"]).frame(session["frame"]).image).save(path, compress_level=1)
    return {"background": str(path), "layers": [], "composite": None}


def load_mask_into_editor(session: Session) -> EditorUpdates:
    """Shows the current frame's mask; to be sent after the frame has loaded."""
    mask = project_of(session).mask(session["frame"]) if session else None
    if mask is None:
        return {}
    return {"editor": {"background": None, "layers": [mask_to_strokes(mask, object_colors(mask))], "composite": None}}


def save_strokes(session: Session, painted: Any) -> None:
    """Saves the strokes as input mask of the current frame, unless the editor shows another frame."""
    if not session or not painted or not painted["layers"] or painted["background"] is None:
        return
    project, frame = project_of(session), reader_of(session["clip"]).frame(session["frame"]).image
    if is_same_frame(painted["background"], frame):
        current = project.mask(session["frame"])
        project.update_from_editor(session["frame"], strokes_to_mask(painted["layers"][0], object_colors(current)))


def select_frame(session: Session, painted: Any, index: float | None) -> EditorUpdates:
    """Saves the strokes and shows another frame in the editor."""
    if not session:
        return {}
    save_strokes(session, painted)
    session["frame"] = min(max(0, int(index or 0)), session["frames"] - 1)
    frame = gr.update(value=session["frame"])
    return {"editor": editor_frame(session), "frame": frame, "masks": masks_html(session)}


def select_masked_frame(session: Session, painted: Any, event: gr.EventData) -> EditorUpdates:
    """Shows the frame of the clicked input mask in the editor."""
    return select_frame(session, painted, event.frame)


def rename_object(session: Session, event: gr.EventData) -> None:
    """Sets the name of an object."""
    if session:
        project_of(session).rename({int(event.object): str(event.name)})


def clear_mask(session: Session) -> EditorUpdates:
    """Removes the current frame's input mask, and restores the frame, which the editor clears as well."""
    if not session:
        return {}
    project_of(session).set_mask(session["frame"], np.zeros((1, 1), np.uint8))
    return {"editor": editor_frame(session), "masks": masks_html(session)}


def load_mask_file(session: Session, painted: Any, path: str | None) -> EditorUpdates:
    """Loads a mask file as input mask of the current frame."""
    if not session or path is None:
        return {"status": status_html("Choose a clip first.", error=True)}
    save_strokes(session, painted)
    info = reader_of(session["clip"]).info
    try:
        file = open_mask(path, (info.height, info.width))
        if not file.mask.any():
            raise MaskError("This mask contains no object: every pixel is background.")
    except MaskError as error:
        return {"status": status_html(str(error), error=True), "masks": masks_html(session)}
    project_of(session).set_mask(session["frame"], file.mask)
    message = f"Mask loaded for frame {session['frame']}: {file.description}."
    return {"editor": editor_frame(session), "status": status_html(message), "masks": masks_html(session)}


def add_object_in_box(session: Session, painted: Any, number: float | None, *corners: float | None) -> EditorUpdates:
    """Segments the object in a box and adds it to the current frame's input mask."""
    if not session:
        return {"status": status_html("Choose a clip first.", error=True)}
    save_strokes(session, painted)
    project, frame = project_of(session), reader_of(session["clip"]).frame(session["frame"]).image
    left, top, right, bottom = (int(corner or 0) for corner in corners)
    label = int(number or 1)
    try:
        if not 0 < label < 256:
            raise MaskError(f"The number of an object is from 1 to 255, not {label}.")
        box_mask = mask_in_box(frame, (left, top, right, bottom), label)
    except MaskError as error:
        return {"status": status_html(str(error), error=True), "masks": masks_html(session)}
    current = project.mask(session["frame"])
    project.set_mask(session["frame"], box_mask if current is None else merge_input_mask(current, box_mask))
    area = f"{(box_mask > 0).mean():.1%}"
    message = f"Object {label} added to frame {session['frame']}: {area} of the frame."
    return {"editor": editor_frame(session), "status": status_html(message), "masks": masks_html(session)}


def load_project_file(session: Session, painted: Any, path: str | None) -> ProjectUpdates:
    """Loads masks, names and settings from a project file."""
    if not session or path is None:
        message = "Choose the project's clip first: the project file does not contain it."
        return {"status": status_html(message, error=True)}
    save_strokes(session, painted)
    try:
        file = read_project_file(path)
        project_of(session).load(file)
    except MaskError as error:
        return {"status": status_html(str(error), error=True)}
    count = len(file.masks)
    message = f"Loaded {count} mask{'' if count == 1 else 's'} and the settings of {file.clip}. Ready to run."
    return {
        "status": status_html(message),
        "editor": editor_frame(session),
        "masks": masks_html(session),
        "settings": control_values(file.settings),
    }


def masks_html(session: Session) -> str:
    """The input masks and the object names as HTML."""
    return input_masks_html(project_of(session).input_masks, project_of(session).names) if session else ""


def object_colors(mask: Any) -> list[tuple[int, int, int]]:
    """Colors of objects 1, 2, ...: at least those of the brush, and up to the largest label of the mask."""
    last = max(len(BRUSH_COLORS), 0 if mask is None else int(mask.max()))
    return [color_of(label) for label in range(1, last + 1)]
