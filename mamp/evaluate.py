"""Measures J and F on sequences with masks, in the folders of DAVIS, as the official tool does."""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp import settings
from mamp.datasets import VosSequence, find_sequences
from mamp.encoder import PATCH, EncoderFunction
from mamp.masks import objects_in, read_mask, write_mask
from mamp.metrics import contour_accuracy, region_similarity, statistics

Mask = NDArray[np.uint8]
Scores = dict[int, tuple[float, ...]]  # of each object: mean, recall and decay of J, then those of F

GLOBAL_COLUMNS = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")
SEQUENCE_COLUMNS = ("Sequence", "J-Mean", "F-Mean")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp evaluate``."""
    parser.add_argument("root", type=Path, help="folder with JPEGImages/ and Annotations/")
    parser.add_argument("--split", default="val", help="list in ImageSets/ (%(default)s)")
    parser.add_argument("--resolution", default="480p", help="folder in JPEGImages/ and Annotations/ (%(default)s)")
    parser.add_argument("--sequences", help="only these, with commas")
    parser.add_argument("--frames", type=int, help="only so many frames of each")
    parser.add_argument("--baseline", action="store_true", help="measure the encoder without weights in the same run")
    parser.add_argument("--save", type=Path, help="write masks and the official CSVs here, as <sequence>/<frame>.png")
    parser.add_argument("--score", type=Path, help="track nothing: score the masks in this folder")
    settings.add_arguments(parser, short_side=0)


def run(args: argparse.Namespace) -> int:
    """Evaluates, as the command line says; the last line printed is one JSON object."""
    sequences = find_sequences(args.root, split=args.split, resolution=args.resolution)
    if args.sequences:
        wanted = args.sequences.split(",")
        sequences = [sequence for sequence in sequences if sequence.name in wanted]
    if not sequences:
        raise ValueError(f"there are no sequences with masks in {args.root.name}")
    if args.score and args.baseline:
        raise ValueError("--score tracks nothing, so there is no --baseline beside it")
    chosen = settings.from_arguments(args)
    encoders: dict[str, EncoderFunction | None] = (
        {args.score.name: None} if args.score else {"encoder": chosen.encoder()}
    )
    if args.baseline:
        encoders["patches"] = replace(chosen, weights=PATCH).encoder()
    scores: dict[str, dict[str, Scores]] = {name: {} for name in encoders}
    print(f"{'sequence':24}{'masks by':>10}{'frames':>8}{'J':>8}{'F':>8}{'J&F':>8}{'frames/s':>10}")
    for sequence in sequences:
        count = min(len(sequence), args.frames or len(sequence))
        for name, encoder in encoders.items():
            began = time.monotonic()
            if encoder is None:
                masks = stored(sequence, args.score, count)
            else:
                masks = tracked(sequence, encoder, chosen, count)
                if args.save and name == "encoder":
                    masks = kept(masks, sequence, args.save)
            scores[name][sequence.name] = measure(sequence, masks, count)
            rate = count / (time.monotonic() - began)
            _row(sequence.name, name, count, scores[name][sequence.name].values(), f"{rate:10.2f}")
    summary = {}
    for name, by_sequence in scores.items():
        objects = [values for sequence_scores in by_sequence.values() for values in sequence_scores.values()]
        _row("mean over objects", name, 0, objects, "")
        means = np.mean(objects, axis=0)
        whole = dict(zip(GLOBAL_COLUMNS, [(means[0] + means[3]) / 2, *means], strict=True))
        summary[name] = {column: round(100 * value, 2) for column, value in whole.items()} | {"objects": len(objects)}
        if folder := args.score or (args.save if name == "encoder" else None):
            write_tables(folder, args.split, whole, by_sequence)
    print(json.dumps(summary))
    return 0


def tracked(sequence: VosSequence, encoder: EncoderFunction, chosen: settings.Settings, count: int) -> Iterator[Mask]:
    """The masks (H, W) uint8 of the first ``count`` frames, tracked from the first mask."""
    tracker = chosen.tracker(encoder, chosen.flow_function())
    first = _first_mask(sequence)
    for t in range(count):
        frame = _resized(sequence.frame(t), chosen, cv2.INTER_AREA)
        given = _resized(first, chosen, cv2.INTER_NEAREST_EXACT) if t == 0 else None
        yield tracker.step(frame, given, size=(first.shape[0], first.shape[1]))


def stored(sequence: VosSequence, folder: Path, count: int) -> Iterator[Mask]:
    """The masks of the first ``count`` frames that lie in ``folder``.

    Raises:
        MaskError: One is missing or cannot be read.
        ValueError: One has another size or a label that the first mask has not.
    """
    first = _first_mask(sequence)
    for t in range(count):
        path = folder / sequence.name / f"{sequence.frame_name(t)}.png"
        mask = read_mask(path)
        if mask.shape != first.shape:
            raise ValueError(f"{sequence.name}/{path.name} is {mask.shape[1]}x{mask.shape[0]}, unlike the true masks")
        if (objects_in(mask) or [0])[-1] > objects_in(first)[-1]:
            raise ValueError(f"{sequence.name}/{path.name} has a label that the sequence's first mask has not")
        yield mask


def kept(masks: Iterable[Mask], sequence: VosSequence, folder: Path) -> Iterator[Mask]:
    """Writes masks as they come by."""
    (folder / sequence.name).mkdir(parents=True, exist_ok=True)
    for t, mask in enumerate(masks):
        write_mask(folder / sequence.name / f"{sequence.frame_name(t)}.png", mask)
        yield mask


def measure(sequence: VosSequence, masks: Iterable[Mask], count: int) -> Scores:
    """Scores the masks of one sequence: each object of the first mask, first and last frame left out."""
    labels = objects_in(_first_mask(sequence))
    values: dict[int, list[tuple[float, float]]] = {label: [] for label in labels}
    for t, mask in enumerate(masks):
        truth = sequence.mask(t)
        if truth is None or t in (0, count - 1):
            continue
        for label, rows in values.items():
            one, other = truth == label, mask == label
            rows.append((region_similarity(one, other), contour_accuracy(one, other)))
    if not all(values.values()):
        raise ValueError(f"{sequence.name} has too few frames with masks to measure on")
    tables = {label: np.array(rows) for label, rows in values.items()}
    return {label: (*statistics(table[:, 0]), *statistics(table[:, 1])) for label, table in tables.items()}


def write_tables(folder: Path, split: str, whole: dict[str, float], by_sequence: dict[str, Scores]) -> None:
    """Writes the two CSVs of the official DAVIS tool, with its names, columns and digits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"global_results-{split}.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(GLOBAL_COLUMNS)
        table.writerow(f"{whole[column]:.3f}" for column in GLOBAL_COLUMNS)
    with (folder / f"per-sequence_results-{split}.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SEQUENCE_COLUMNS)
        for name, scores in by_sequence.items():
            for label, values in scores.items():
                table.writerow([f"{name}_{label}", f"{values[0]:.3f}", f"{values[3]:.3f}"])


def _first_mask(sequence: VosSequence) -> Mask:
    first = sequence.mask(0)
    if first is None or not first.any():
        raise ValueError(f"{sequence.name} has no objects in its first frame")
    return first


def _resized(image: Mask, chosen: settings.Settings, how: int) -> Mask:
    height, width = chosen.processing_size((image.shape[0], image.shape[1]))
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _row(sequence: str, name: str, frames: int, objects: Iterable[tuple[float, ...]], rate: str) -> None:
    means = np.mean(list(objects), axis=0) * 100
    j, f = means[0], means[3]
    print(f"{sequence:24}{name:>10}{frames or '':>8}{j:8.1f}{f:8.1f}{(j + f) / 2:8.1f}{rate}", flush=True)
