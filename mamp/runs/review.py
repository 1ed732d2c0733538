"""Frames to review, found by the expected overlap, by low confidence and by changes of area."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mamp.runs.expected_overlap import expected_overlaps, input_areas
from mamp.runs.results import ObjectFrame

REASONS = {
    "lost": "lost from this frame on",
    "absent": "not found in frames {first} to {last}",
    "absent_once": "not found in this frame",
    "area": "area changes from {before} to {after} pixels",
    "confidence": "low confidence ({confidence})",
    "overlap": "expected overlap with the true object {overlap}",
}

_LOW_CONFIDENCE = 0.6  # confidence below which a frame is flagged; clear objects are near 1
_LOW_OVERLAP = 0.82  # expected J below which a frame is listed
_AREA_RATIO = 2.5  # change of area from one frame to the next from which on a frame is flagged
_MIN_SPACING = 5  # distance of listed frames [frames]: neighbors show the same problem


@dataclass(frozen=True)
class Flag:
    """A frame to review.

    Attributes:
        frame: Frame number.
        object: Label of the object.
        kind: What stands out, one of ``REASONS``.
        values: The numbers of its reason, as text, by name.
        severity: Priority of the review [0, 1].
    """

    frame: int
    object: int
    kind: str
    values: dict[str, str]
    severity: float

    @property
    def reason(self) -> str:
        """What stands out, for the user."""
        return REASONS[self.kind].format(**self.values)


def frames_to_review(
    object_frames: Sequence[ObjectFrame], input_frames: Collection[int], *, limit: int = 10
) -> list[Flag]:
    """The frames to review, most severe first, spaced apart; not for objects of the frame's own input mask.

    Args:
        object_frames: All entries of a run, in the order of frames.
        input_frames: Numbers of the frames with an input mask.
        limit: Maximum number of flags.
    """
    flags = []
    given = input_areas(object_frames, input_frames)
    expected = expected_overlaps(object_frames, input_frames)
    for track in tracks_by_object(object_frames).values():
        shown = [entry.frame for entry in track if entry.area]
        for previous, current in pairwise(track):
            if current.frame != previous.frame + 1:
                continue
            small, large = sorted((previous.area, current.area))
            if previous.area and not current.area:
                flags.append(_absence(current, next((frame for frame in shown if frame > current.frame), None)))
            elif small and large > _AREA_RATIO * small:
                areas = {"before": str(previous.area), "after": str(current.area)}
                flags.append(Flag(current.frame, current.object, "area", areas, 0.9))
        uncertain = [entry for entry in track if entry.area and entry.confidence < _LOW_CONFIDENCE]
        for e in uncertain:
            confidence = {"confidence": f"{e.confidence:.2f}"}
            flags.append(Flag(e.frame, e.object, "confidence", confidence, 1 - e.confidence))
        for entry in track:
            overlap = expected.get((entry.frame, entry.object), 1.0)
            if overlap < _LOW_OVERLAP:
                flags.append(Flag(entry.frame, entry.object, "overlap", {"overlap": f"{overlap:.2f}"}, 1 - overlap))
    selected: list[Flag] = []
    for flag in sorted(flags, key=lambda flag: (-flag.severity, flag.frame)):
        is_input = flag.frame in given.get(flag.object, {})
        if not is_input and all(abs(flag.frame - other.frame) >= _MIN_SPACING for other in selected):
            selected.append(flag)
    return selected[:limit]


def _absence(entry: ObjectFrame, found_again: int | None) -> Flag:
    """The flag of the first frame without an object, which may be found again in a later one."""
    if found_again is None:
        return Flag(entry.frame, entry.object, "lost", {}, 1.0)
    if found_again == entry.frame + 1:
        return Flag(entry.frame, entry.object, "absent_once", {}, 1.0)
    span = {"first": str(entry.frame), "last": str(found_again - 1)}
    return Flag(entry.frame, entry.object, "absent", span, 1.0)


def tracks_by_object(object_frames: Sequence[ObjectFrame]) -> dict[int, list[ObjectFrame]]:
    """The entries of a run by object label."""
    tracks: dict[int, list[ObjectFrame]] = {}
    for entry in object_frames:
        tracks.setdefault(entry.object, []).append(entry)
    return tracks
