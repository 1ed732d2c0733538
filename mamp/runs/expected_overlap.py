"""The expected overlap of a mask with the true one, from what a run knows of it.

The margins of the scores do not show an error: they stay near 1 while a mask spreads over the background. Two things do:
the time since the input mask, as errors add up, and a change of area. ``tools/calibrate.py`` fits their weights to
sequences with true masks (docs/EVALUATION.md#expected-overlap).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from mamp.runs.results import ObjectFrame

# python -m tools.calibrate DAVIS MASKS
INTERCEPT, AREA_WEIGHT, TIME_WEIGHT = 3.11, 0.22, 0.35


def expected_overlap(area: int, input_area: int, distance: int) -> float:
    """The expected J of a mask (region similarity) [0, 1].

    Args:
        area: Area of the object's mask [pixels].
        input_area: Its area in the input mask [pixels].
        distance: Distance to that mask [frames]; at 0 the result is 1.
    """
    if distance == 0:
        return 1.0
    change, time = evidence(area, input_area, distance)
    return 1 / (1 + math.exp(AREA_WEIGHT * change + TIME_WEIGHT * time - INTERCEPT))


def evidence(area: int, input_area: int, distance: int) -> tuple[float, float]:
    """What speaks against a mask: the change of area and the distance to the input mask, both as logarithms."""
    return abs(math.log(max(area, 1) / max(input_area, 1))), math.log1p(distance)


def input_areas(object_frames: Iterable[ObjectFrame], input_frames: Collection[int]) -> dict[int, dict[int, int]]:
    """The areas of the objects in the input masks [pixels], by object and frame.

    Args:
        object_frames: The entries of the run.
        input_frames: Numbers of the frames with an input mask.
    """
    areas: dict[int, dict[int, int]] = {}
    for entry in object_frames:
        if entry.frame in input_frames and entry.area and entry.confidence == 1:
            areas.setdefault(entry.object, {})[entry.frame] = entry.area
    return areas


def expected_overlaps(
    object_frames: Iterable[ObjectFrame], input_frames: Collection[int]
) -> dict[tuple[int, int], float]:
    """The expected overlap of all masks of a run, by frame number and object.

    Each mask is compared with the nearest input mask that contains its object. There is no entry where an object was not
    found, as it may be absent.

    Args:
        object_frames: The entries of the run.
        input_frames: Numbers of the frames with an input mask.
    """
    entries = list(object_frames)
    given = input_areas(entries, input_frames)
    expected = {}
    for entry in entries:
        areas = given.get(entry.object)
        if areas and entry.area:
            nearest = min(areas, key=lambda frame: abs(frame - entry.frame))
            expected[entry.frame, entry.object] = expected_overlap(
                entry.area, areas[nearest], abs(entry.frame - nearest)
            )
    return expected
