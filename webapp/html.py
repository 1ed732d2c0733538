"""HTML of the page: status line, input masks, object names and the review of a run. Text is escaped."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from gradio.i18n import I18nData

from mamp.masks.label_map import objects_in
from mamp.masks.mask_io import read_mask
from mamp.masks.palette import color_of
from mamp.runs.results import Result
from mamp.runs.review import frames_to_review
from webapp.chart import Plot, chart_html
from webapp.languages import count_message, decimal, message
from webapp.mask_check import mask_problem
from webapp.plots import plots

_CHECKED = 10  # input masks of a result: a JSON file may have one for each frame


def status_html(text: str | I18nData, *, error: bool = False, progress: float | None = None, button: str = "") -> str:
    """The status line, with a progress bar if ``progress`` is given.

    Args:
        text: Plain text, or a label that the browser translates.
        error: Whether the text reports an error.
        progress: Fraction of the work that is done [0, 1].
        button: HTML of a button behind the text.
    """
    bar = f'<div class="bar"><div style="width:{progress:.1%}"></div></div>' if progress is not None else ""
    shown = html.escape(text) if isinstance(text, str) else text
    return f'<div class="status{" error" if error else ""}" role="status">{shown}{button and f" {button}"}{bar}</div>'


def bring_back_button(name: str, text: str) -> str:
    """A button that brings the clip and the masks of a session back."""
    return f'<button type="button" data-session="{name}">{text}</button>'


def session_to_bring_back(status: str) -> str:
    """The session that the button of a status line brings back; empty if there is none."""
    found = re.search(r'data-session="(\w+)"', status)
    return found[1] if found else ""


def scroll_to(part: str) -> dict[str, str]:
    """Tells the page to bring its "editor", "preview", "result" or "status" into view; each time anew."""
    return {"to": part, "request": secrets.token_hex(4)}


def duration_text(seconds: float) -> str:
    """A duration in the visitor's words: "20 seconds", "3 min", "3 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        key = "duration.both" if rest else "duration.minutes"
        return message(key, minutes=minutes, seconds=rest)
    return count_message("duration.seconds", rest)


def object_chip(label: int, text: str) -> str:
    """An object's color, followed by text that is HTML already."""
    red, green, blue = color_of(label)
    return f'<span class="chip"><i style="background:rgb({red},{green},{blue})"></i>{text}</span>'


def input_masks_html(masks: Mapping[int, Path], names: Mapping[int, str], removed: str = "") -> str:
    """The frames that have an input mask, with the objects and their areas, and one name field per object.

    Args:
        masks: Mask files by frame number.
        names: Object names by label.
        removed: What was removed and can be brought back, as plain text.
    """
    undo = ""
    if removed:
        button = f'<button type="button" data-undo>{message("masks.undo")}</button>'
        undo = f'<p class="legend" role="status">{removed} {button}</p>'
    if not masks:
        return undo
    rows, labels = [], set()
    for index, path in masks.items():
        mask = read_mask(path)
        areas = np.bincount(mask.ravel(), minlength=256) / mask.size
        objects = objects_in(mask)
        labels.update(objects)
        chips = "".join(
            object_chip(label, _object_text(label, areas[label]) + _remove_button(index, label)) for label in objects
        )
        button = f'<button type="button" data-frame="{index}">{message("masks.frame", frame=index)}</button>'
        rows.append(f"<li>{button} {_remove_button(index)} {chips}</li>")
    fields = "".join(
        f"<label>{object_chip(label, str(label))}<input data-object={label} maxlength=60 "
        f'placeholder="{message("masks.name")}" aria-label="{message("masks.name_of", label=label)}" '
        f'value="{html.escape(names.get(label, ""))}"></label>'
        for label in sorted(labels)
    )
    items = f'<ul class="rows" aria-label="{message("masks.list")}">{"".join(rows)}</ul>'
    return f'{items}{undo}<div class="names">{fields}</div>'


def _object_text(label: int, area: float) -> str:
    return message("masks.object", label=label, area=decimal(f"{area:.1%}"))


def _remove_button(frame: int, label: int = 0) -> str:
    """A button that removes an object from an input mask, or the whole mask for label 0."""
    name = message("masks.remove_object" if label else "masks.remove", label=label, frame=frame)
    return (
        f'<button type="button" class="remove" data-removed-frame="{frame}" data-removed-object="{label}" '
        f'aria-label="{name}" title="{name}">×</button>'
    )


def review_html(
    result: Result, names: Mapping[int, str], times: Sequence[float], more_plots: Sequence[Plot] = ()
) -> str:
    """The frames to review and the chart of a run; ``data-frame`` holds the frame number of a button.

    Args:
        result: The run.
        names: Object names by label.
        times: Display time of each frame of the clip, from its start [s].
        more_plots: Plots below those of the run.
    """
    object_frames = result.object_frames
    width, height = result.receipt["size"]
    rows = "".join(
        f'<li><button type="button" data-frame="{flag.frame}">{message("masks.frame", frame=flag.frame)}'
        f"</button> {object_chip(flag.object, html.escape(_display_name(flag.object, names)))} "
        f"{message(f'review.{flag.kind}', **{name: decimal(value) for name, value in flag.values.items()})}</li>"
        for flag in frames_to_review(object_frames, result.input_masks)
    )
    rows = _odd_input_masks(result) + rows
    title, none = message("review.flags"), message("review.no_flags")
    flags = f'<ul class="rows" aria-label="{title}">{rows}</ul>' if rows else f"<p>{none}</p>"
    all_plots = [*plots(object_frames, (height, width), result.input_masks), *more_plots]
    chart = chart_html(all_plots, times, names, first_new=first_new_frame(result)) if object_frames else ""
    note = f'<p class="why-note">{message("review.overlap_note")}</p>' if chart else ""
    return f"<h3>{title}</h3>{flags}{chart}{note}"


def first_new_frame(result: Result) -> int:
    """The first frame whose mask was not copied from the previous run; 0 if all were copied, or none.

    Also 0 for a run that goes on from one that was stopped before it had tracked backwards to the first frame.
    """
    reused: int = result.receipt["masks_reused"]
    begins_at_first_frame = reused > min(result.input_masks, default=0)  # backwards is tracked first
    return reused if begins_at_first_frame and reused < result.frames else 0


def _odd_input_masks(result: Result) -> str:
    """List items of the first input masks that are hard to track: no later change tells of these."""
    problems = ((frame, mask_problem(read_mask(path))) for frame, path in islice(result.input_masks.items(), _CHECKED))
    return "".join(
        f'<li><button type="button" data-frame="{frame}">{message("masks.frame", frame=frame)}</button> {problem}</li>'
        for frame, problem in problems
        if problem
    )


def _display_name(label: int, names: Mapping[int, str]) -> str:
    name = names.get(label)
    return message("review.named_object", label=label, name=name) if name else message("review.object", label=label)
