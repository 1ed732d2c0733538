"""Fits the expected overlap (``mamp/runs/expected_overlap.py``) to sequences with true masks, and measures it.

It reads the masks of ``python -m mamp evaluate DAVIS --save MASKS``. The last lines printed are the constants, a
reliability table, and how many of the bad frames are found by the list of frames to review.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize

from mamp.evaluation.davis_metrics import region_similarity
from mamp.evaluation.stored_masks import mask_file
from mamp.evaluation.vos_datasets import VosSequence, find_sequences
from mamp.masks.mask_io import read_mask
from mamp.runs.expected_overlap import evidence, expected_overlaps
from mamp.runs.results import ObjectFrame
from mamp.runs.review import frames_to_review

_BAD = 0.5  # J below which a frame is bad
_LISTED = 10  # frames to review of each sequence
_NEAR = 2  # distance to a listed frame at which a bad frame counts as found [frames]
_BINS = (0.0, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)


@dataclass(frozen=True)
class Track:
    """An object of a sequence, from the first frame on.

    Attributes:
        name: Name of the sequence.
        object_frames: Its masks.
        overlap: True J of each frame.
    """

    name: str
    object_frames: list[ObjectFrame]
    overlap: list[float]


def read_tracks(sequences: Sequence[VosSequence], masks: Path) -> list[Track]:
    """The objects of the sequences whose masks are in a folder."""
    tracks = []
    for sequence in sequences:
        frames = [t for t in range(1, len(sequence)) if mask_file(masks, sequence, t).exists() and sequence.has_mask(t)]
        first = sequence.input_mask(0)
        if not frames or first is None:
            continue
        for label in sequence.objects:
            entries = [ObjectFrame(0, 0.0, label, int((first == label).sum()), 1.0)]
            overlap = [1.0]
            for t in frames:
                mask, truth = read_mask(mask_file(masks, sequence, t)), sequence.mask(t)
                assert truth is not None
                entries.append(ObjectFrame(t, t / 24, label, int((mask == label).sum()), 0.99))
                overlap.append(region_similarity(truth == label, mask == label))
            tracks.append(Track(sequence.name, entries, overlap))
    return tracks


def fit(tracks: Sequence[Track]) -> tuple[float, float, float]:
    """Intercept and weights of a logistic regression of J; every object counts the same, and no weight is negative."""
    rows, targets, weights = [], [], []
    for track in tracks:
        first = track.object_frames[0]
        # There is no expected overlap where an object was not found.
        later = zip(track.object_frames[1:], track.overlap[1:], strict=True)
        found = [(entry, J) for entry, J in later if entry.area]
        rows += [evidence(entry.area, first.area, entry.frame) for entry, _ in found]
        targets += [J for _, J in found]
        weights += [1 / len(found) for _ in found]
    A = np.c_[np.ones(len(rows)), -np.array(rows)]
    y, w = np.array(targets), np.array(weights)

    def loss(x: np.ndarray) -> float:
        score = A @ x
        return float((w * (np.logaddexp(0, score) - y * score)).sum())

    best = minimize(loss, np.array([2.0, 0.1, 0.1]), bounds=[(None, None), (0, None), (0, None)])
    intercept, area, time = best.x.tolist()
    return intercept, area, time


def report(name: str, tracks: Sequence[Track]) -> tuple[np.ndarray, np.ndarray]:
    """Prints the reliability table and the frames found; returns expected and true J of all frames but the first."""
    expected, true, found, by_chance, bad_frames, listed_bad, listed = [], [], 0, 0, 0, 0, 0
    for track in tracks:
        estimates = expected_overlaps(track.object_frames, {0})
        for entry, J in zip(track.object_frames[1:], track.overlap[1:], strict=True):
            if (entry.frame, entry.object) in estimates:
                expected.append(estimates[entry.frame, entry.object])
                true.append(J)
        bad = [entry.frame for entry, J in zip(track.object_frames, track.overlap, strict=True) if J < _BAD]
        flags = [flag.frame for flag in frames_to_review(track.object_frames, {0}, limit=_LISTED)]
        even = np.linspace(1, track.object_frames[-1].frame, _LISTED)
        bad_frames, listed = bad_frames + len(bad), listed + len(flags)
        found += sum(any(abs(t - flag) <= _NEAR for flag in flags) for t in bad)
        by_chance += sum(bool((abs(t - even) <= _NEAR).any()) for t in bad)
        listed_bad += len({*flags} & {*bad})
    p, y = np.array(expected), np.array(true)
    print(f"\n{name}: {len(tracks)} objects, {len(y)} frames, mean J {y.mean():.3f}, expected {p.mean():.3f}")
    print("expected J   frames  mean expected  mean J  below 0.5")
    for low, high in pairwise(_BINS):
        chosen = (p >= low) & (p < high)
        if chosen.any():
            print(
                f"{low:.2f} - {high:.2f}  {chosen.sum():7}  {p[chosen].mean():13.2f}  {y[chosen].mean():6.2f}  "
                f"{(y[chosen] < _BAD).mean():9.0%}"
            )
    print(
        f"frames with J below {_BAD}: {bad_frames}; within {_NEAR} frames of the first {_LISTED} listed: {found}; of "
        f"{_LISTED} evenly spaced frames: {by_chance}; {listed_bad} of {listed} listed frames are bad themselves"
    )
    return p, y


def draw(curves: Sequence[tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Draws the reliability curves: mean J over expected J, in groups of equal size; the first is blue."""
    side, margin = 420, 40
    image = np.full((side, side, 3), 255, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(margin + x * (side - 2 * margin)), round(side - margin - y * (side - 2 * margin))

    cv2.rectangle(image, at(0, 0), at(1, 1), (128, 128, 128))
    cv2.line(image, at(0, 0), at(1, 1), (200, 200, 200), 1, cv2.LINE_AA)
    for text, place in (
        ("expected J", (170, side - 10)),
        ("J", (10, side // 2)),
        ("1", at(1.01, 1)),
        ("0", at(-0.06, 0)),
    ):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    for (p, y), color in zip(curves, ((178, 114, 0), (0, 94, 213)), strict=False):
        groups = np.array_split(np.argsort(p), 10)
        points = [at(float(p[group].mean()), float(y[group].mean())) for group in groups]
        for a, b in pairwise(points):
            cv2.line(image, a, b, color, 2, cv2.LINE_AA)
        for point in points:
            cv2.circle(image, point, 4, color, cv2.FILLED, cv2.LINE_AA)
    cv2.imwrite(str(path), image)


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder of DAVIS to fit to")
    parser.add_argument("masks", type=Path, help="its masks: --save of evaluate")
    parser.add_argument("--test", type=Path, nargs=2, metavar=("ROOT", "MASKS"), help="other sequences to measure on")
    parser.add_argument("--curve", type=Path, help="PNG file for the reliability curve")
    args = parser.parse_args()
    tracks = read_tracks(find_sequences(args.root), args.masks)
    print("INTERCEPT, AREA_WEIGHT, TIME_WEIGHT = {:.2f}, {:.2f}, {:.2f}".format(*fit(tracks)))
    curves = [report(args.root.name, tracks)]
    if args.test:
        curves.append(report(args.test[0].name, read_tracks(find_sequences(args.test[0]), args.test[1])))
    if args.curve:
        draw(curves, args.curve)


if __name__ == "__main__":
    main()
