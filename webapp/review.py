"""Which frames of a run need a look: by how sure it is of each object, and by how the object's area changes."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mamp.masks.palette import color_of
from mamp.runs.results import ObjectFrame

_UNSURE = 0.6  # confidence below which a frame is worth a look; what is clear is near 1
_JUMP = 2.5  # factor by which an area has to change from one frame to the next to be worth a look
_APART = 5  # [frames] between two that are listed: neighbours show the same
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _GAP = 640, 96, 44, 24, 18, 34  # of the chart [pixels]


@dataclass(frozen=True)
class Flag:
    """A frame that needs a look.

    Attributes:
        frame: Its number.
        object: The label of the object in question.
        reason: In words, for the user.
        weight: How much it needs it [0, 1].
    """

    frame: int
    object: int
    reason: str
    weight: float


def frames_to_review(object_frames: Sequence[ObjectFrame], *, most: int = 5) -> list[Flag]:
    """The frames that most need a look, the worst first, no two of them close together.

    Args:
        object_frames: Of a whole run, in the order of frames.
        most: How many at most.
    """
    found = []
    for sights in _by_object(object_frames).values():
        for before, now in pairwise(sights):
            if now.frame != before.frame + 1:
                continue
            small, large = sorted((before.area, now.area))
            if before.area and not now.area:
                found.append(Flag(now.frame, now.object, "lost from here", 1.0))
            elif small and large > _JUMP * small:
                found.append(Flag(now.frame, now.object, f"area {before.area} to {now.area} pixels", 0.9))
        unsure = [sight for sight in sights if sight.area and sight.confidence < _UNSURE]
        found += [Flag(s.frame, s.object, f"confidence {s.confidence:.2f}", 1 - s.confidence) for s in unsure]
    listed: list[Flag] = []
    for doubt in sorted(found, key=lambda doubt: (-doubt.weight, doubt.frame)):
        if all(abs(doubt.frame - other.frame) >= _APART for other in listed):
            listed.append(doubt)
    return listed[:most]


def chart(object_frames: Sequence[ObjectFrame], size: tuple[int, int], names: Mapping[int, str]) -> str:
    """Area and confidence of each object over time, as an SVG.

    Its ``data-first``, ``data-last``, ``data-left`` and ``data-right`` say which frames lie where, so that a page can turn
    a click into a frame.

    Args:
        object_frames: Of a run, in the order of frames.
        size: Of the frames (H, W).
        names: Of the objects, by label.
    """
    if not object_frames:
        return ""
    first, last = object_frames[0].frame, max(object_frames[-1].frame, object_frames[0].frame + 1)
    right, bottom = _WIDTH - _RIGHT, 2 * _HEIGHT + _GAP + _TOP
    largest = max(1, *(sight.area for sight in object_frames)) / (size[0] * size[1])
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 22}" role="img" aria-label="Area and confidence of each object over time" '
        f'data-first="{first}" data-last="{last}" data-left="{_LEFT / _WIDTH}" data-right="{right / _WIDTH}">'
    ]
    for row, (title, top_value) in enumerate((("Area, share of the frame", f"{largest:.1%}"), ("Confidence", "1"))):
        top = _TOP + row * (_HEIGHT + _GAP)
        floor = top + _HEIGHT
        parts.append(
            f'<text x="{_LEFT}" y="{top - 6}">{title}</text><text x="{_LEFT - 6}" y="{top + 5}" text-anchor="end">'
            f'{top_value}</text><text x="{_LEFT - 6}" y="{floor + 4}" text-anchor="end">0</text>'
            f'<path class="axis" d="M{_LEFT} {top}V{floor}H{right}"/>'
        )
        for label, sights in _by_object(object_frames).items():
            shares = [s.area / (size[0] * size[1]) / largest if row == 0 else s.confidence for s in sights]
            across = [_LEFT + (s.frame - first) / (last - first) * (right - _LEFT) for s in sights]
            points = [f"{x:.1f} {floor - share * _HEIGHT:.1f}" for x, share in zip(across, shares, strict=True)]
            line = f"M{'L'.join(points)}" + ("h1" if len(points) == 1 else "")
            red, green, blue = color_of(label)
            end = floor - shares[-1] * _HEIGHT
            called = html.escape(names.get(label, f"object {label}"))
            parts.append(
                f'<g><title>{called}</title><path class="under" d="{line}"/><path d="{line}" '
                f'stroke="rgb({red},{green},{blue})"/><text x="{across[-1] + 4:.1f}" y="{end + 4:.1f}">{label}</text></g>'
            )
    parts.append(
        f'<text x="{_LEFT}" y="{bottom + 16}">frame {first}</text>'
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{last}</text></svg>'
    )
    return "".join(parts)


def _by_object(object_frames: Sequence[ObjectFrame]) -> dict[int, list[ObjectFrame]]:
    found: dict[int, list[ObjectFrame]] = {}
    for sight in object_frames:
        found.setdefault(sight.object, []).append(sight)
    return found
