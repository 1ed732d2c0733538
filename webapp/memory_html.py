"""HTML of the memory of a frame: the frames in it with the places that voted, and where they are in time."""

from __future__ import annotations

import html
import math

from mamp.explanation.explanation import Explanation, MemoryTerm, MemoryView, Point
from webapp.frame_svg import Size, image_svg, label_color, outlined_path
from webapp.languages import count_message, message

_ZOOM = 2.0  # a memory frame is shown around the votes, at this magnification
_SIDE = 420 * _ZOOM  # longest side of its picture [pixels]
_DOT = 0.03  # radius of a vote with all the weight, relative to the longest side of the frame
_WIDTH, _MARGIN, _FLOOR, _HEIGHT = 360, 12, 56, 92  # layout of the timeline [pixels]
_BAR = 40  # height of a bar with all the votes
_NEAR = 26  # distance of two numbers on the timeline that would overlap [pixels]


def memory_html(explanation: Explanation) -> str:
    """The memory frames as a strip, each with its votes and with the motion that led there."""
    views = "".join(_figure(view, explanation) for view in explanation.memory)
    return f'<p class="why-note">{message("memory.note")}</p><div class="why-strip">{views}</div>'


def _figure(view: MemoryView, explanation: Explanation) -> str:
    """A memory frame around the places that voted, with the motion that led there."""
    size = (explanation.mask.shape[0], explanation.mask.shape[1])
    side = max(size)
    dots = "".join(
        f'<circle cx="{vote.place[0] + 0.5:.1f}" cy="{vote.place[1] + 0.5:.1f}" '
        f'r="{max(0.006, _DOT * math.sqrt(vote.weight)) * side:.1f}" fill="{label_color(vote.label)}"/>'
        for vote in sorted(view.votes, key=lambda vote: -vote.weight)
    )
    left, top, shown_width, shown_height = _shown_part(view.target, explanation.center, size)
    reach = view.reach
    square = (
        f'<rect x="{view.target[0] - reach[0]:.1f}" y="{view.target[1] - reach[1]:.1f}" '
        f'width="{2 * reach[0]:.1f}" height="{2 * reach[1]:.1f}"/>'
    )
    key = "memory.redetected" if view.redetected else "memory.caption"
    caption = message(key, frame=view.frame, share=f"{view.weight:.0%}", motion=_motion_text(view.motion))
    return (
        f'<figure><svg viewBox="{left:.1f} {top:.1f} {shown_width:.1f} {shown_height:.1f}" role="img" '
        f'aria-label="{html.escape(caption)}">{image_svg(view.image, size, _SIDE)}'
        f"{square}{_arrow(explanation.center, view.target, 0.012 * side)}{dots}</svg>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _motion_text(motion: Point | None) -> str:
    if motion is None:
        return message("memory.unused")
    length = math.hypot(*motion)
    return message("memory.still") if length < 1 else count_message("memory.moved", round(length))


def _shown_part(target: Point, center: Point, size: Size) -> tuple[float, float, float, float]:
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
    return outlined_path(line)


def timeline_html(explanation: Explanation, frames: int) -> str:
    """Which frames were in memory, on a line from the first frame of the clip to its last.

    Args:
        explanation: The explanation.
        frames: Number of frames of the clip.
    """
    step = (_WIDTH - 2 * _MARGIN) / max(1, frames - 1)

    def x(frame: int) -> float:
        return _MARGIN + step * frame

    parts = [f'<path class="axis" d="M{_MARGIN} {_FLOOR}H{_WIDTH - _MARGIN}"/>']
    for view in explanation.memory:
        term = view.term.name.lower()
        height = _BAR * view.weight
        share, shown = f"{view.weight:.0%}", message(f"memory.term.{term}")
        title = message("memory.bar", frame=view.frame, term=shown, share=share)
        parts.append(
            f'<g class="{term.replace("_", "-")}"><title>{title}</title>'
            f'<rect x="{x(view.frame) - 3:.1f}" y="{_FLOOR - height:.1f}" width="6" '
            f'height="{height:.1f}"/><circle cx="{x(view.frame):.1f}" cy="{_FLOOR}" r="5"/></g>'
        )
    asked = x(explanation.frame)
    parts.append(f'<path class="asked" d="M{asked:.1f} 8V{_FLOOR + 8}"/>')
    last_x = -math.inf
    for number in sorted({view.frame for view in explanation.memory} | {explanation.frame}, reverse=True):
        if abs(x(number) - last_x) >= _NEAR or number == explanation.frame:
            parts.append(f'<text x="{x(number):.1f}" y="{_FLOOR + 24}" text-anchor="middle">{number}</text>')
            last_x = x(number)
    numbers = ", ".join(str(number) for number in sorted({view.frame for view in explanation.memory}))
    label = message("memory.frames", frame=explanation.frame, numbers=numbers)
    bars = message("memory.bars", frame=explanation.frame, frames=frames)
    return (
        f'<p class="why-note">{html.escape(_terms_text(explanation))} {bars}</p>'
        f'<svg class="why-time" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _terms_text(explanation: Explanation) -> str:
    """The frames of each term, in words."""
    sentences = []
    for term in MemoryTerm:
        numbers = sorted({view.frame for view in explanation.memory if view.term is term})
        if numbers:
            *others, last = map(str, numbers)
            listed = message("memory.and", first=", ".join(others), last=last) if others else last
            sentences.append(count_message(f"memory.{term.name.lower()}", len(numbers), numbers=listed))
    return " ".join(sentences)
