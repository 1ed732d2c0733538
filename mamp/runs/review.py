"""Frames to review, found by the expected overlap, by low confidence and by changes of area."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mamp.runs.expected_overlap import expected_overlaps
from mamp.runs.results import ObjectFrame

_LOW_CONFIDENCE = 0.6  # confidence below which a frame is flagged; clear objects are near 1
_LOW_OVERLAP = 0.77  # expected J below which a frame is listed
_AREA_RATIO = 2.5  # change of area from one frame to the next from which on a frame is flagged
_MIN_SPACING = 5  # distance of listed frames [frames]: neighbors show the same problem


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


def frames_to_review(
    object_frames: Sequence[ObjectFrame], input_frames: Collection[int], *, limit: int = 10
) -> list[Flag]:
    """The frames to review, most severe first, spaced apart.

    Args:
        object_frames: All entries of a run, in the order of frames.
        input_frames: Numbers of the frames with an input mask.
        limit: Maximum number of flags.
    """
    flags = []
    expected = expected_overlaps(object_frames, input_frames)
    for track in tracks_by_object(object_frames).values():
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
        for entry in track:
            overlap = expected.get((entry.frame, entry.object), 1.0)
            if overlap < _LOW_OVERLAP:
                reason = f"expected overlap with the true object {overlap:.2f}"
                flags.append(Flag(entry.frame, entry.object, reason, 1 - overlap))
    selected: list[Flag] = []
    for flag in sorted(flags, key=lambda flag: (-flag.severity, flag.frame)):
        if all(abs(flag.frame - other.frame) >= _MIN_SPACING for other in selected):
            selected.append(flag)
    return selected[:limit]


def tracks_by_object(object_frames: Sequence[ObjectFrame]) -> dict[int, list[ObjectFrame]]:
    """The entries of a run by object label."""
    tracks: dict[int, list[ObjectFrame]] = {}
    for entry in object_frames:
        tracks.setdefault(entry.object, []).append(entry)
    return tracks
