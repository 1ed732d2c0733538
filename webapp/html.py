"""Pieces of HTML that a page shows: status, masks given, objects, and the review of a run; words are escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mamp.masks.label_map import objects_in
from mamp.masks.mask_io import read_mask
from mamp.masks.palette import OBJECT_COLORS, color_of
from mamp.runs.results import Result
from webapp.review import chart, frames_to_review


def say(words: str, *, bad: bool = False, share: float | None = None) -> str:
    """A line of status, with a bar where something is going on.

    Args:
        words: For the user.
        bad: Whether they tell of something that went wrong.
        share: How much of it is done [0, 1].
    """
    bar = f'<div class="bar"><div style="width:{share:.1%}"></div></div>' if share is not None else ""
    return f'<div class="say{" bad" if bad else ""}" role="status">{html.escape(words)}{bar}</div>'


def minutes(seconds: float) -> str:
    """A time as minutes and seconds."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def chip(label: int, words: str = "") -> str:
    """An object's colour and number, and words; these are HTML already."""
    red, green, blue = color_of(label)
    return f'<span class="chip"><i style="background:rgb({red},{green},{blue})"></i>{label} {words}</span>'


def legend() -> str:
    """The brush's colours and their numbers."""
    chips = "".join(chip(label) for label in range(1, len(OBJECT_COLORS) + 1))
    return f'<div class="legend">One colour is one object: {chips}</div>'


def given_masks(given: Mapping[int, Path], names: Mapping[int, str]) -> str:
    """The masks given so far: each frame with its objects and their areas; and a field for the name of each object.

    Args:
        given: Mask files by frame number.
        names: Of the objects, by label.
    """
    if not given:
        return ""
    rows, labels = [], set()
    for index, path in given.items():
        mask = read_mask(path)
        areas = np.bincount(mask.ravel(), minlength=256) / mask.size
        objects = objects_in(mask)
        labels.update(objects)
        chips = "".join(chip(label, f"{areas[label]:.1%} of the frame") for label in objects)
        rows.append(f'<li><button type="button" data-frame="{index}">Frame {index}</button> {chips}</li>')
    fields = "".join(
        f"<label>{chip(label)}<input data-object={label} maxlength=60 placeholder='name, if you like' "
        f'aria-label="Name of object {label}" value="{html.escape(names.get(label, ""))}"></label>'
        for label in sorted(labels)
    )
    return f'<ul class="rows" aria-label="Masks given">{"".join(rows)}</ul><div class="names">{fields}</div>'


def review(result: Result, names: Mapping[int, str]) -> str:
    """The frames of a run that need a look, and its chart; buttons and clicks name frames by ``data-frame``."""
    object_frames = result.object_frames
    width, height = result.receipt["size"]
    listed = "".join(
        f'<li><button type="button" data-frame="{doubt.frame}">Frame {doubt.frame}</button> '
        f"{chip(doubt.object, html.escape(names.get(doubt.object, '')))} {doubt.reason}</li>"
        for doubt in frames_to_review(object_frames)
    )
    words = f'<ul class="rows" aria-label="Frames to check">{listed}</ul>' if listed else "<p>Nothing stands out.</p>"
    drawing = chart(object_frames, (height, width), names)
    return f'<h3>Frames most in need of a look</h3>{words}<div class="chart">{drawing}</div>'
