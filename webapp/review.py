"""Frames to review, found by low confidence and by changes of area; and the chart of both over time."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mamp.masks.palette import color_of
from mamp.runs.results import ObjectFrame

_LOW_CONFIDENCE = 0.6  # confidence below which a frame is flagged; clear objects are near 1
_AREA_RATIO = 2.5  # change of area from one frame to the next from which on a frame is flagged
_MIN_SPACING = 5  # distance of listed frames [frames]: neighbors show the same problem
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _GAP = 640, 96, 44, 24, 18, 34  # layout of the chart [pixels]


@dataclass(frozen=True)
class Flag:
    """A frame to review.

    Attributes:
        frame: Frame number.
        object: Label of the object.
        reason: Description for the user.
        severity: Priority of the review [0, 1].
    """

    frame: int
    object: int
    reason: str
    severity: float


def frames_to_review(object_frames: Sequence[ObjectFrame], *, limit: int = 5) -> list[Flag]:
    """The frames to review, most severe first, spaced apart.

    Args:
        object_frames: All entries of a run, in the order of frames.
        limit: Maximum number of flags.
    """
    flags = []
    for track in _by_object(object_frames).values():
        for previous, current in pairwise(track):
            if current.frame != previous.frame + 1:
                continue
            small, large = sorted((previous.area, current.area))
            if previous.area and not current.area:
                flags.append(Flag(current.frame, current.object, "lost from this frame on", 1.0))
            elif small and large > _AREA_RATIO * small:
                reason = f"area changes from {previous.area} to {current.area} pixels"
                flags.append(Flag(current.frame, current.object, reason, 0.9))
        uncertain = [entry for entry in track if entry.area and entry.confidence < _LOW_CONFIDENCE]
        flags += [Flag(e.frame, e.object, f"low confidence ({e.confidence:.2f})", 1 - e.confidence) for e in uncertain]
    selected: list[Flag] = []
    for flag in sorted(flags, key=lambda flag: (-flag.severity, flag.frame)):
        if all(abs(flag.frame - other.frame) >= _MIN_SPACING for other in selected):
            selected.append(flag)
    return selected[:limit]


def chart(object_frames: Sequence[ObjectFrame], size: tuple[int, int], names: Mapping[int, str]) -> str:
    """Area and confidence of each object over time, as an SVG.

    The attributes ``data-first``, ``data-last`` (frames) and ``data-left``, ``data-right`` (fractions of the width) map a
    click to a frame.

    Args:
        object_frames: All entries of a run, in the order of frames.
        size: Frame size (H, W).
        names: Object names by label.
    """
    if not object_frames:
        return ""
    first, last = object_frames[0].frame, max(object_frames[-1].frame, object_frames[0].frame + 1)
    right, bottom = _WIDTH - _RIGHT, 2 * _HEIGHT + _GAP + _TOP
    largest = max(1, *(entry.area for entry in object_frames)) / (size[0] * size[1])
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 22}" role="img" aria-label="Area and confidence of each object over time" '
        f'data-first="{first}" data-last="{last}" data-left="{_LEFT / _WIDTH}" data-right="{right / _WIDTH}">'
    ]
    for row, (title, top_value) in enumerate((("Area (fraction of the frame)", f"{largest:.1%}"), ("Confidence", "1"))):
        top = _TOP + row * (_HEIGHT + _GAP)
        floor = top + _HEIGHT
        parts.append(
            f'<text x="{_LEFT}" y="{top - 6}">{title}</text><text x="{_LEFT - 6}" y="{top + 5}" text-anchor="end">'
            f'{top_value}</text><text x="{_LEFT - 6}" y="{floor + 4}" text-anchor="end">0</text>'
            f'<path class="axis" d="M{_LEFT} {top}V{floor}H{right}"/>'
        )
        for label, track in _by_object(object_frames).items():
            heights = [e.area / (size[0] * size[1]) / largest if row == 0 else e.confidence for e in track]
            xs = [_LEFT + (e.frame - first) / (last - first) * (right - _LEFT) for e in track]
            points = [f"{x:.1f} {floor - height * _HEIGHT:.1f}" for x, height in zip(xs, heights, strict=True)]
            line = f"M{'L'.join(points)}" + ("h1" if len(points) == 1 else "")
            red, green, blue = color_of(label)
            end = floor - heights[-1] * _HEIGHT
            name = html.escape(names.get(label, f"object {label}"))
            parts.append(
                f'<g><title>{name}</title><path class="under" d="{line}"/><path d="{line}" '
                f'stroke="rgb({red},{green},{blue})"/><text x="{xs[-1] + 4:.1f}" y="{end + 4:.1f}">{label}</text></g>'
            )
    parts.append(
        f'<text x="{_LEFT}" y="{bottom + 16}">frame {first}</text>'
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{last}</text></svg>'
    )
    return "".join(parts)


def _by_object(object_frames: Sequence[ObjectFrame]) -> dict[int, list[ObjectFrame]]:
    tracks: dict[int, list[ObjectFrame]] = {}
    for entry in object_frames:
        tracks.setdefault(entry.object, []).append(entry)
    return tracks
