"""HTML of an explanation: a frame of the result to click on, and why a pixel of it got its label. Text is escaped."""

from __future__ import annotations

import base64
import html
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.explanation.explanation import Decision, Explanation, LabelScore, MemoryView, Point
from mamp.masks.palette import color_of
from webapp.html import object_chip

Image = NDArray[np.uint8]

ASK = "Click a place in the frame. Or use the arrow keys, and then Enter."
_FRAME_SIDE, _MEMORY_SIDE = 960, 420  # longest side of the pictures [pixels]
_ZOOM = 2.0  # a memory frame is shown around the votes, at this magnification
_DOT = 0.03  # radius of a vote with all the weight, relative to the longest side
_SCORES_SHOWN = 6
_DECISIONS = {
    Decision.INPUT_MASK: "the input mask",
    Decision.VOTES: "the votes of the memory",
    Decision.ADJUSTMENT: "the votes, adjusted for the number of cells of each label",
    Decision.REDETECTION: "the search of the whole frame for lost objects",
    Decision.UPSAMPLING: "the cells around it, since it lies at an edge",
    Decision.UNKNOWN: "something else: this machine computes another label",
}


def frame_html(picture: Image, size: tuple[int, int], frame: int, message: str = ASK) -> str:
    """A frame of the result in which a pixel can be chosen.

    Args:
        picture: The frame with its masks, RGB (H, W, 3) uint8 of any size.
        size: Frame size (H, W) [pixels of the clip].
        frame: Frame number.
        message: Plain text.
    """
    return _panel(picture, size, frame, None, f"<p>{html.escape(message)}</p>")


def explanation_html(explanation: Explanation, picture: Image) -> str:
    """An explanation.

    Args:
        explanation: Why a pixel got its label.
        picture: Its frame with the masks, RGB (H, W, 3) uint8 of any size.
    """
    size = (explanation.mask.shape[0], explanation.mask.shape[1])
    x, y = explanation.pixel
    label = next((score for score in explanation.scores if score.label == explanation.label), None)
    name = label.name if label else f"object {explanation.label}" if explanation.label else "background"
    chip = object_chip(explanation.label, html.escape(name)) if explanation.label else html.escape(name)
    head = f"<p>Pixel {x}, {y} is <strong>{chip}</strong>, decided by {_DECISIONS[explanation.decision]}.</p>"
    words = f"{head}<p>{html.escape(explanation.text)}</p>"
    if not explanation.memory:
        return _panel(picture, size, explanation.frame, explanation.pixel, words)
    views = "".join(_memory_figure(view, explanation, size) for view in explanation.memory)
    strip = (
        '<h4>The frames in memory</h4><p class="why-note">Dots are the places that voted, larger with more weight, in the '
        "color of the label they vote for; gray is the background. The arrow is the motion from the chosen place to that "
        "frame, and the square is the window that was searched (Sec. 3.2, motion-aware matching).</p>"
        f'<div class="why-strip" role="group" aria-label="Frames in memory" tabindex="0">{views}</div>'
    )
    return _panel(picture, size, explanation.frame, explanation.pixel, words + _scores_table(explanation)) + strip


def _panel(picture: Image, size: tuple[int, int], frame: int, pixel: tuple[int, int] | None, words: str) -> str:
    """The frame with a cross at a pixel, beside words that are HTML already."""
    height, width = size
    x, y = pixel or (width // 2, height // 2)
    arm = 0.03 * max(size)
    cross = f"M{-arm} 0H{arm}M0 {-arm}V{arm}"
    hidden = "" if pixel else ' style="display: none"'
    return (
        f'<div class="why"><div class="why-frame" tabindex="0" role="button" data-frame-shown="{frame}" '
        f'data-x="{x}" data-y="{y}" data-width="{width}" data-height="{height}" '
        f'aria-label="Frame {frame}: choose a place with the arrow keys, and press Enter">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{_image(picture, size, _FRAME_SIDE)}'
        f'<g class="why-cross" transform="translate({x + 0.5} {y + 0.5})"{hidden}>'
        f'<path class="under" d="{cross}"/><path d="{cross}"/></g></svg></div>'
        f'<div class="why-words" aria-live="polite"><h4>Frame {frame}</h4>{words}</div></div>'
    )


def _scores_table(explanation: Explanation) -> str:
    """Votes, score and discriminant of the labels with the highest scores."""
    best = sorted(explanation.scores, key=lambda score: -score.score)[:_SCORES_SHOWN]
    rows = "".join(_score_row(score) for score in best)
    with_discriminant = any(score.discriminant is not None for score in explanation.scores)
    notes = [
        "Votes: share of the weights of the most similar places (Eq. 2).",
        "Score: the votes after all later steps.",
    ]
    if with_discriminant:
        notes.append("Discriminant: 1 looks like the object, -1 like everything else (not in the paper).")
    return (
        '<table class="why-scores"><thead><tr><th scope="col">Label</th><th scope="col">Votes</th>'
        f'<th scope="col">Score</th><th scope="col">Discriminant</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="why-note">{" ".join(notes)}</p>'
    )


def _score_row(score: LabelScore) -> str:
    name = html.escape(score.name)
    chip = object_chip(score.label, name) if score.label else f'<span class="chip"><i class="none"></i>{name}</span>'
    discriminant = "" if score.discriminant is None else f"{score.discriminant:+.2f}"
    cells = "".join(f"<td>{text}</td>" for text in (f"{score.votes:.0%}", f"{score.score:.0%}", discriminant))
    return f'<tr><th scope="row">{chip}</th>{cells}</tr>'


def _memory_figure(view: MemoryView, explanation: Explanation, size: tuple[int, int]) -> str:
    """A memory frame around the places that voted, with the motion that led there."""
    side = max(size)
    dots = "".join(
        f'<circle cx="{vote.place[0] + 0.5:.1f}" cy="{vote.place[1] + 0.5:.1f}" '
        f'r="{max(0.006, _DOT * math.sqrt(vote.weight)) * side:.1f}" fill="{_color(vote.label)}"/>'
        for vote in sorted(view.votes, key=lambda vote: -vote.weight)
    )
    left, top, shown_width, shown_height = _shown_part(view.target, explanation.center, size)
    reach = view.reach
    square = (
        f'<rect x="{view.target[0] - reach[0]:.1f}" y="{view.target[1] - reach[1]:.1f}" '
        f'width="{2 * reach[0]:.1f}" height="{2 * reach[1]:.1f}"/>'
    )
    source = ", object detected again" if view.redetected else ""
    caption = f"Frame {view.frame}{source}: {view.weight:.0%} of the votes, {_motion_text(view.motion)}"
    return (
        f'<figure><svg viewBox="{left:.1f} {top:.1f} {shown_width:.1f} {shown_height:.1f}" role="img" '
        f'aria-label="{html.escape(caption)}">{_image(view.image, size, _MEMORY_SIDE * _ZOOM)}'
        f"{square}{_arrow(explanation.center, view.target, 0.012 * side)}{dots}</svg>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _motion_text(motion: Point | None) -> str:
    if motion is None:
        return "no motion used"
    length = math.hypot(*motion)
    return "no motion" if length < 1 else f"motion {length:.0f} {'pixel' if round(length) == 1 else 'pixels'}"


def _shown_part(target: Point, center: Point, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, width and height of the part of a memory frame that is shown: around the arrow, inside the frame."""
    height, width = size
    spans = [abs(a - b) for a, b in zip(target, center, strict=True)]
    zoom = max(1.0, min(_ZOOM, *(side / (span + side / 4) for side, span in zip((width, height), spans, strict=True))))
    shown = (width / zoom, height / zoom)
    corner = [
        min(max((a + b) / 2 - part / 2, 0), side - part)
        for a, b, part, side in zip(target, center, shown, (width, height), strict=True)
    ]
    return corner[0], corner[1], shown[0], shown[1]


def _arrow(start: Point, end: Point, head: float) -> str:
    """An arrow between two points, with a head of a size; all in pixels of the clip."""
    (x, y), (to_x, to_y) = ((point[0] + 0.5, point[1] + 0.5) for point in (start, end))
    if math.hypot(to_x - x, to_y - y) < 1:
        return ""
    angle = math.atan2(to_y - y, to_x - x)
    barbs = [(to_x - head * math.cos(angle + turn), to_y - head * math.sin(angle + turn)) for turn in (-0.5, 0.5)]
    line = f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"
    line += "".join(f"M{barb[0]:.1f} {barb[1]:.1f}L{to_x:.1f} {to_y:.1f}" for barb in barbs)
    return f'<path class="under" d="{line}"/><path d="{line}"/>'


def _image(picture: Image, size: tuple[int, int], longest: float) -> str:
    """A picture over the whole frame, as JPEG in the page."""
    scale = min(1.0, longest / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert done
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return f'<image href="{source}" width="{size[1]}" height="{size[0]}" preserveAspectRatio="none"/>'


def _color(label: int) -> str:
    return "rgb({},{},{})".format(*color_of(label)) if label else "rgb(128,128,128)"
