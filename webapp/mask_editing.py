"""Masks of the chosen frame: painted, from a file, in a box, or of a project file."""

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
from webapp.html import given_masks, say
from webapp.project import read_project_file, same_frame
from webapp.session import Session, project_of, reader_of
from webapp.settings_controls import as_chosen

HEX = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in OBJECT_COLORS.tolist()]


def shown_frame(session: Session) -> Any:
    """The chosen frame for the editor; it comes from the server's copy, whatever the editor lost."""
    if not session:
        return None
    path = Path(session["folder"]) / f"frame-{session['at']:06d}.png"
    if not path.exists():
        Image.fromarray(reader_of(session["clip"]).frame(session["at"]).image).save(path, compress_level=1)
    return {"background": str(path), "layers": [], "composite": None}


def lay_strokes(session: Session) -> Any:
    """Paints the frame's mask, once the editor holds the frame."""
    mask = project_of(session).mask(session["at"]) if session else None
    if mask is None:
        return gr.skip()
    return {"background": None, "layers": [mask_to_strokes(mask, colors_for(mask))], "composite": None}


def keep_strokes(session: Session, painted: Any) -> None:
    """Takes over what is painted, if the editor holds the frame that it should."""
    if not session or not painted or not painted["layers"] or painted["background"] is None:
        return
    project, frame = project_of(session), reader_of(session["clip"]).frame(session["at"]).image
    if same_frame(painted["background"], frame):
        shown = project.mask(session["at"])
        project.paint(session["at"], strokes_to_mask(painted["layers"][0], colors_for(shown)))


def go_to(session: Session, painted: Any, index: float) -> tuple[Any, ...]:
    """Takes over what is painted, and shows another frame, with its mask if it has one."""
    if not session:
        return session, gr.skip(), gr.skip(), gr.skip()
    keep_strokes(session, painted)
    session["at"] = min(max(0, int(index)), session["frames"] - 1)
    return session, shown_frame(session), gr.update(value=session["at"]), listing(session)


def go_to_given(session: Session, painted: Any, event: gr.EventData) -> tuple[Any, ...]:
    """Shows the frame of a given mask."""
    return go_to(session, painted, event.frame)


def rename(session: Session, event: gr.EventData) -> None:
    """Names an object."""
    if session:
        project_of(session).rename({int(event.object): str(event.name)})


def clear_frame(session: Session) -> tuple[Any, str]:
    """Takes the frame's mask back, and puts the frame back that the editor's bin has thrown away too."""
    if session:
        project_of(session).give(session["at"], np.zeros((1, 1), np.uint8))
    return shown_frame(session), listing(session)


def take_mask_file(session: Session, painted: Any, path: str | None) -> tuple[Any, str, str]:
    """Takes a mask file for the chosen frame."""
    if not session or path is None:
        return gr.skip(), say("Choose a clip first.", bad=True), listing(session)
    keep_strokes(session, painted)
    info = reader_of(session["clip"]).info
    try:
        found = open_mask(path, (info.height, info.width))
    except MaskError as error:
        return gr.skip(), say(str(error), bad=True), listing(session)
    if not found.mask.any():
        return gr.skip(), say("This mask names no object: every pixel is background.", bad=True), listing(session)
    project_of(session).give(session["at"], found.mask)
    return (
        shown_frame(session),
        say(f"Mask taken for frame {session['at']}: {'; '.join(found.notes)}."),
        listing(session),
    )


def fill_box(session: Session, painted: Any, number: float, *corners: float) -> tuple[Any, str, str]:
    """Adds the object in a box to the chosen frame's mask."""
    if not session:
        return gr.skip(), say("Choose a clip first.", bad=True), listing(session)
    keep_strokes(session, painted)
    project, frame = project_of(session), reader_of(session["clip"]).frame(session["at"]).image
    left, top, right, bottom = (int(corner or 0) for corner in corners)
    try:
        found = mask_in_box(frame, (left, top, right, bottom), int(number))
    except MaskError as error:
        return gr.skip(), say(str(error), bad=True), listing(session)
    before = project.mask(session["at"])
    project.give(session["at"], found if before is None else merge_input_mask(before, found))
    share = f"{(found > 0).mean():.1%}"
    return shown_frame(session), say(f"Object {int(number)} takes {share} of frame {session['at']}."), listing(session)


def take_project_file(session: Session, painted: Any, path: str | None) -> tuple[Any, ...]:
    """Brings back masks, names and settings of a project file."""
    keep_strokes(session, painted)
    nothing = (gr.skip(),) * 9
    if not session or path is None:
        return say("Choose the project's clip first: it is not in the project file.", bad=True), *nothing
    try:
        file = read_project_file(path)
        project_of(session).load(file)
    except MaskError as error:
        return say(str(error), bad=True), *nothing
    count = len(file.masks)
    words = f"{count} mask{'' if count == 1 else 's'} and the settings of {file.clip} are back: run."
    return say(words), shown_frame(session), listing(session), *as_chosen(file.settings)


def listing(session: Session) -> str:
    """The masks given."""
    return given_masks(project_of(session).input_masks, project_of(session).names) if session else ""


def colors_for(mask: Any) -> list[tuple[int, int, int]]:
    """The brush's colours, and those of the objects beyond them that a mask names."""
    last = max(len(HEX), 0 if mask is None else int(mask.max()))
    return [color_of(label) for label in range(1, last + 1)]
