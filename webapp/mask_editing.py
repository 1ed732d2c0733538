"""Masks of the chosen frame: painted, from a file, in a box, or of a project file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from mamp import OBJECT_COLOURS, MaskError
from mamp.masks.mask_io import correct_mask, mask_in_box, mask_to_strokes, open_mask, strokes_to_mask
from mamp.masks.overlay import colour_of
from webapp.html import given_masks, say
from webapp.project import read_project_file, same_frame
from webapp.session import Visit, project_of, reader_of
from webapp.settings_controls import as_chosen

HEX = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in OBJECT_COLOURS.tolist()]


def shown_frame(visit: Visit) -> Any:
    """The chosen frame for the editor; it comes from the server's copy, whatever the editor lost."""
    if not visit:
        return None
    path = Path(visit["folder"]) / f"frame-{visit['at']:06d}.png"
    if not path.exists():
        Image.fromarray(reader_of(visit["clip"]).frame(visit["at"]).image).save(path, compress_level=1)
    return {"background": str(path), "layers": [], "composite": None}


def lay_strokes(visit: Visit) -> Any:
    """Paints the frame's mask, once the editor holds the frame."""
    mask = project_of(visit).mask(visit["at"]) if visit else None
    if mask is None:
        return gr.skip()
    return {"background": None, "layers": [mask_to_strokes(mask, colours_for(mask))], "composite": None}


def keep_strokes(visit: Visit, painted: Any) -> None:
    """Takes over what is painted, if the editor holds the frame that it should."""
    if not visit or not painted or not painted["layers"] or painted["background"] is None:
        return
    project, frame = project_of(visit), reader_of(visit["clip"]).frame(visit["at"]).image
    if same_frame(painted["background"], frame):
        shown = project.mask(visit["at"])
        project.paint(visit["at"], strokes_to_mask(painted["layers"][0], colours_for(shown)))


def go_to(visit: Visit, painted: Any, index: float) -> tuple[Any, ...]:
    """Takes over what is painted, and shows another frame, with its mask if it has one."""
    if not visit:
        return visit, gr.skip(), gr.skip(), gr.skip()
    keep_strokes(visit, painted)
    visit["at"] = min(max(0, int(index)), visit["frames"] - 1)
    return visit, shown_frame(visit), gr.update(value=visit["at"]), listing(visit)


def go_to_given(visit: Visit, painted: Any, event: gr.EventData) -> tuple[Any, ...]:
    """Shows the frame of a given mask."""
    return go_to(visit, painted, event.frame)


def rename(visit: Visit, event: gr.EventData) -> None:
    """Names an object."""
    if visit:
        project_of(visit).rename({int(event.object): str(event.name)})


def clear_frame(visit: Visit) -> tuple[Any, str]:
    """Takes the frame's mask back, and puts the frame back that the editor's bin has thrown away too."""
    if visit:
        project_of(visit).give(visit["at"], np.zeros((1, 1), np.uint8))
    return shown_frame(visit), listing(visit)


def take_mask_file(visit: Visit, painted: Any, path: str | None) -> tuple[Any, str, str]:
    """Takes a mask file for the chosen frame."""
    if not visit or path is None:
        return gr.skip(), say("Choose a clip first.", bad=True), listing(visit)
    keep_strokes(visit, painted)
    info = reader_of(visit["clip"]).info
    try:
        found = open_mask(path, (info.height, info.width))
    except MaskError as error:
        return gr.skip(), say(str(error), bad=True), listing(visit)
    if not found.mask.any():
        return gr.skip(), say("This mask names no object: every pixel is background.", bad=True), listing(visit)
    project_of(visit).give(visit["at"], found.mask)
    return shown_frame(visit), say(f"Mask taken for frame {visit['at']}: {'; '.join(found.notes)}."), listing(visit)


def fill_box(visit: Visit, painted: Any, number: float, *corners: float) -> tuple[Any, str, str]:
    """Adds the object in a box to the chosen frame's mask."""
    if not visit:
        return gr.skip(), say("Choose a clip first.", bad=True), listing(visit)
    keep_strokes(visit, painted)
    project, frame = project_of(visit), reader_of(visit["clip"]).frame(visit["at"]).image
    left, top, right, bottom = (int(corner or 0) for corner in corners)
    try:
        found = mask_in_box(frame, (left, top, right, bottom), int(number))
    except MaskError as error:
        return gr.skip(), say(str(error), bad=True), listing(visit)
    before = project.mask(visit["at"])
    project.give(visit["at"], found if before is None else correct_mask(before, found))
    share = f"{(found > 0).mean():.1%}"
    return shown_frame(visit), say(f"Object {int(number)} takes {share} of frame {visit['at']}."), listing(visit)


def take_project_file(visit: Visit, painted: Any, path: str | None) -> tuple[Any, ...]:
    """Brings back masks, names and settings of a project file."""
    keep_strokes(visit, painted)
    nothing = (gr.skip(),) * 9
    if not visit or path is None:
        return say("Choose the project's clip first: it is not in the project file.", bad=True), *nothing
    try:
        file = read_project_file(path)
        project_of(visit).load(file)
    except MaskError as error:
        return say(str(error), bad=True), *nothing
    count = len(file.masks)
    words = f"{count} mask{'' if count == 1 else 's'} and the settings of {file.clip} are back: run."
    return say(words), shown_frame(visit), listing(visit), *as_chosen(file.settings)


def listing(visit: Visit) -> str:
    """The masks given."""
    return given_masks(project_of(visit).given, project_of(visit).names) if visit else ""


def colours_for(mask: Any) -> list[tuple[int, int, int]]:
    """The brush's colours, and those of the objects beyond them that a mask names."""
    last = max(len(HEX), 0 if mask is None else int(mask.max()))
    return [colour_of(label) for label in range(1, last + 1)]
