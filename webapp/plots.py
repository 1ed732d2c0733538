"""Plots of a run over time: area and expected overlap of each object."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mamp.runs.expected_overlap import expected_overlaps
from mamp.runs.results import ObjectFrame
from mamp.runs.review import tracks_by_object
from webapp.chart import Plot
from webapp.languages import decimal, message


def plots(object_frames: Sequence[ObjectFrame], size: tuple[int, int], input_frames: Collection[int]) -> list[Plot]:
    """Area and expected overlap of each object over time.

    Args:
        object_frames: All entries of a run, in the order of frames.
        size: Frame size (H, W) [pixels].
        input_frames: Numbers of the frames with an input mask.
    """
    if not object_frames:
        return []
    tracks = tracks_by_object(object_frames)
    largest = max(1, *(entry.area for entry in object_frames))
    areas = {label: [(entry.frame, entry.area / largest) for entry in track] for label, track in tracks.items()}
    overlaps: dict[int, list[tuple[int, float]]] = {}
    for (frame, label), overlap in expected_overlaps(object_frames, input_frames).items():
        overlaps.setdefault(label, []).append((frame, overlap))
    share = largest / (size[0] * size[1])
    area_plot = Plot(message("chart.area"), decimal(f"{share:.1%}"), areas)
    return [area_plot, Plot(message("chart.overlap"), "1", overlaps)] if overlaps else [area_plot]
