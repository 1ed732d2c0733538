"""Scores of masks by object, averaged and written as the official tools do."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamp.evaluation.davis_metrics import contour_accuracy, region_similarity, statistics
from mamp.evaluation.vos_datasets import VosSequence
from mamp.files import atomic_path

Mask = NDArray[np.uint8]
Scores = dict[int, tuple[float, ...]]  # by object: mean, recall and decay of J, then of F
BySequence = Mapping[str, Scores]

GLOBAL_COLUMNS = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")
SEQUENCE_COLUMNS = ("Sequence", "J-Mean", "F-Mean")
SEEN_COLUMNS = ("Overall", "J-Seen", "F-Seen", "J-Unseen", "F-Unseen", "Gen-Gap")


def scored_frames(sequence: VosSequence, count: int) -> dict[int, list[int]]:
    """The frames that each object is evaluated on, by label.

    DAVIS excludes the first and the last frame with a mask, YouTube-VOS the frame with an object's input mask. Where
    YouTube-VOS does not publish the masks, there are no such frames.
    """
    annotated = [t for t in sequence.evaluated_frames(count) if sequence.has_mask(t)]
    if not sequence.listed:
        return dict.fromkeys(sequence.objects, annotated[1:-1])
    if annotated != sequence.evaluated_frames(count):
        return {label: [] for label in sequence.objects}
    return {
        label: [t for t in annotated if sequence.frame_name(t) in vos_object.frames[1:]]
        for label, vos_object in sequence.objects.items()
    }


def measure(sequence: VosSequence, masks: Iterable[tuple[int, Mask]], count: int) -> Scores:
    """Scores masks of one sequence.

    Args:
        sequence: The ground truth.
        masks: Frame numbers and masks (H, W) uint8.
        count: Number of frames of the sequence to use.

    Returns:
        Scores by object; none where the ground truth is not published.

    Raises:
        ValueError: The sequence has too few frames with ground truth.
    """
    frames = scored_frames(sequence, count)
    values: dict[int, list[tuple[float, float]]] = {label: [] for label in frames}
    for t, mask in masks:
        labels = [label for label, evaluated in frames.items() if t in evaluated]
        truth = sequence.mask(t) if labels else None
        if truth is None:
            continue
        for label in labels:
            expected, actual = truth == label, mask == label
            values[label].append((region_similarity(expected, actual), contour_accuracy(expected, actual)))
    if not sequence.listed and not all(values.values()):
        raise ValueError(f"{sequence.name} has too few frames with masks to measure on")
    tables = {label: np.array(rows) for label, rows in values.items() if rows}
    return {label: (*statistics(table[:, 0]), *statistics(table[:, 1])) for label, table in tables.items()}


def objects_of(by_sequence: BySequence) -> list[tuple[float, ...]]:
    """The scores of every object of every sequence."""
    return [values for scores in by_sequence.values() for values in scores.values()]


def j_and_f(objects: Iterable[tuple[float, ...]]) -> tuple[float, float, float]:
    """Mean J, mean F, and the mean of the two, over objects."""
    means = np.mean(list(objects), axis=0)
    return float(means[0]), float(means[3]), float(means[0] + means[3]) / 2


def global_table(by_sequence: BySequence) -> dict[str, float]:
    """The global scores of DAVIS, over all objects [0, 1]."""
    means = np.mean(objects_of(by_sequence), axis=0)
    return dict(zip(GLOBAL_COLUMNS, [(means[0] + means[3]) / 2, *means.tolist()], strict=True))


def seen_table(
    by_sequence: BySequence, categories: Mapping[str, Mapping[int, str | None]], seen: set[str]
) -> dict[str, float]:
    """The scores of YouTube-VOS, for seen and unseen categories [0, 1]; empty if either has no objects.

    The generalization gap is the mean of J and F of seen objects minus that of unseen objects (Table 3).
    """
    parts: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    for name, scores in by_sequence.items():
        for label, values in scores.items():
            parts[categories[name][label] in seen].append(values)
    if not all(parts.values()):
        return {}
    (j_seen, f_seen, mean_seen), (j_unseen, f_unseen, mean_unseen) = j_and_f(parts[True]), j_and_f(parts[False])
    row = ((mean_seen + mean_unseen) / 2, j_seen, f_seen, j_unseen, f_unseen, mean_seen - mean_unseen)
    return dict(zip(SEEN_COLUMNS, row, strict=True))


def write_tables(folder: Path, split: str, global_scores: Mapping[str, float], by_sequence: BySequence) -> None:
    """Writes the two CSVs of the official DAVIS tool, with its names, columns and digits."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [list(global_scores), [f"{value:.3f}" for value in global_scores.values()]]
    _write_csv(folder / f"global_results-{split}.csv", rows)
    rows = [list(SEQUENCE_COLUMNS)]
    for name, scores in by_sequence.items():
        rows += [[f"{name}_{label}", f"{values[0]:.3f}", f"{values[3]:.3f}"] for label, values in scores.items()]
    _write_csv(folder / f"per-sequence_results-{split}.csv", rows)


def _write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with atomic_path(path) as partial, partial.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
