"""HTML of an explanation: a frame of the result to click on, and why a pixel of it got its label. Text is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import replace

from mamp.explanation.explanation import Explanation, LabelScore
from mamp.explanation.wording import describe
from webapp.frame_svg import Image, Size, image_svg, outlined_path
from webapp.html import object_chip
from webapp.languages import decimal, message, messages
from webapp.memory_html import memory_html, timeline_html
from webapp.motion_html import motion_html

_FRAME_SIDE = 960  # longest side of the picture [pixels]
_SCORES_SHOWN = 6


def frame_html(picture: Image, size: Size, frame: int, text: str = "") -> str:
    """A frame of the result in which a pixel can be chosen.

    Args:
        picture: The frame with its masks, RGB (H, W, 3) uint8 of any size.
        size: Frame size (H, W) [pixels of the clip].
        frame: Frame number.
        text: Plain text; by default how to choose a pixel.
    """
    how = f'{message("why.ask")} <span class="keys-hint">{message("why.ask_keys")}</span>'
    return _panel(picture, size, frame, None, f"<p>{html.escape(text) or how}</p>")


def explanation_html(explanation: Explanation, picture: Image, frames: int, names: Mapping[int, str]) -> str:
    """An explanation, in the visitor's language.

    Args:
        explanation: Why a pixel got its label.
        picture: Its frame with the masks, RGB (H, W, 3) uint8 of any size.
        frames: Number of frames of the clip.
        names: Object names by label, of the objects that have one.
    """
    scores = [replace(score, name=_name(score.label, names)) for score in explanation.scores]
    explanation = replace(explanation, scores=scores)
    text = describe(explanation, messages("explanation"), decimal_mark=decimal("."))
    size = (explanation.mask.shape[0], explanation.mask.shape[1])
    x, y = explanation.pixel
    name = _name(explanation.label, names)
    chip = object_chip(explanation.label, html.escape(name)) if explanation.label else html.escape(name)
    reason = message(f"why.by.{explanation.decision.name.lower()}")
    head = message("why.pixel", x=x, y=y, name=f"<strong>{chip}</strong>", reason=reason)
    words = f"<p>{head}</p><p>{html.escape(text)}</p>"
    if not explanation.memory:
        return _panel(picture, size, explanation.frame, explanation.pixel, words)
    parts = (
        (message("why.memory"), memory_html(explanation), " open"),
        (message("why.motion"), motion_html(explanation), ""),
        (message("why.time"), timeline_html(explanation, frames), ""),
    )
    details = "".join(
        f'<details class="why-part"{state}><summary>{title}</summary>{content}</details>'
        for title, content, state in parts
    )
    return _panel(picture, size, explanation.frame, explanation.pixel, words + _scores_table(explanation)) + details


def _panel(picture: Image, size: Size, frame: int, pixel: tuple[int, int] | None, words: str) -> str:
    """The frame with a cross at a pixel, beside words that are HTML already."""
    height, width = size
    x, y = pixel or (width // 2, height // 2)
    arm = 0.03 * max(size)
    cross = outlined_path(f"M{-arm} 0H{arm}M0 {-arm}V{arm}")
    hidden = "" if pixel else ' style="display: none"'
    return (
        f'<div class="why"><div class="why-frame" tabindex="0" role="button" data-frame-shown="{frame}" '
        f'data-x="{x}" data-y="{y}" data-width="{width}" data-height="{height}" '
        f'aria-label="{message("why.choose", frame=frame)}">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{image_svg(picture, size, _FRAME_SIDE)}'
        f'<g class="why-cross" transform="translate({x + 0.5} {y + 0.5})"{hidden}>'
        f"{cross}</g></svg></div>"
        f'<div class="why-words" aria-live="polite"><h4>{message("why.frame", frame=frame)}</h4>{words}</div></div>'
    )


def _scores_table(explanation: Explanation) -> str:
    """Votes, score and discriminant of the labels with the highest scores."""
    best = sorted(explanation.scores, key=lambda score: -score.score)[:_SCORES_SHOWN]
    rows = "".join(_score_row(score) for score in best)
    with_discriminant = any(score.discriminant is not None for score in explanation.scores)
    columns = ("votes", "score", "discriminant")
    heads = "".join(f'<th scope="col">{message(f"why.{column}")}</th>' for column in ("label", *columns))
    notes = " ".join(message(f"why.{column}_note") for column in (columns if with_discriminant else columns[:2]))
    return (
        f'<table class="why-scores"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="why-note">{notes}</p>'
    )


def _name(label: int, names: Mapping[int, str]) -> str:
    return names.get(label) or (message("why.object", label=label) if label else message("why.background"))


def _score_row(score: LabelScore) -> str:
    name = html.escape(score.name)
    chip = object_chip(score.label, name) if score.label else f'<span class="chip"><i class="none"></i>{name}</span>'
    discriminant = "" if score.discriminant is None else decimal(f"{score.discriminant:+.2f}")
    cells = "".join(f"<td>{text}</td>" for text in (f"{score.votes:.0%}", f"{score.score:.0%}", discriminant))
    return f'<tr><th scope="row">{chip}</th>{cells}</tr>'
