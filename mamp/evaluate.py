"""Measures J and F on sequences with masks, in the folders of DAVIS."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp import settings
from mamp.datasets import VosSequence, find_sequences
from mamp.encoder import PATCH, EncoderFunction
from mamp.masks import write_mask
from mamp.metrics import contour_accuracy, region_similarity, statistics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp evaluate``."""
    parser.add_argument("root", type=Path, help="folder with JPEGImages/ and Annotations/")
    parser.add_argument("--split", default="val", help="list in ImageSets/ (%(default)s)")
    parser.add_argument("--resolution", default="480p", help="folder in JPEGImages/ and Annotations/ (%(default)s)")
    parser.add_argument("--sequences", help="only these, with commas")
    parser.add_argument("--frames", type=int, help="only so many frames of each")
    parser.add_argument("--baseline", action="store_true", help="measure the encoder without weights in the same run")
    parser.add_argument("--save", type=Path, help="write the masks here, as <sequence>/<frame>.png")
    settings.add_arguments(parser, short_side=0)


def run(args: argparse.Namespace) -> int:
    """Evaluates, as the command line says; the last line printed is one JSON object."""
    sequences = find_sequences(args.root, split=args.split, resolution=args.resolution)
    if args.sequences:
        wanted = args.sequences.split(",")
        sequences = [sequence for sequence in sequences if sequence.name in wanted]
    if not sequences:
        raise ValueError(f"there are no sequences with masks in {args.root.name}")
    chosen = settings.from_arguments(args)
    encoders = {"encoder": chosen.encoder()}
    if args.baseline:
        encoders["patches"] = replace(chosen, weights=PATCH).encoder()
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    print(f"{'sequence':24}{'encoder':>10}{'frames':>8}{'J':>8}{'F':>8}{'J&F':>8}{'frames/s':>10}")
    for sequence in sequences:
        for name, encoder in encoders.items():
            began = time.monotonic()
            objects, frames = measure(sequence, encoder, args)
            rate = frames / (time.monotonic() - began)
            scores[name] += objects
            _row(sequence.name, name, frames, objects, f"{rate:10.2f}")
    summary = {}
    for name, objects in scores.items():
        _row("mean over objects", name, 0, objects, "")
        j, f = np.mean(objects, axis=0) * 100
        summary[name] = {"J": round(j, 2), "F": round(f, 2), "J&F": round((j + f) / 2, 2), "objects": len(objects)}
    print(json.dumps(summary))
    return 0


def measure(
    sequence: VosSequence, encoder: EncoderFunction, args: argparse.Namespace
) -> tuple[list[tuple[float, float]], int]:
    """Tracks one sequence from its first mask.

    Returns:
        Mean J and F of each object, first and last frame left out as in the official tool, and the number of frames.
    """
    chosen = settings.from_arguments(args)
    tracker = chosen.tracker(encoder, chosen.flow_function())
    count = min(len(sequence), args.frames or len(sequence))
    first = sequence.mask(0)
    assert first is not None
    labels = [int(label) for label in np.unique(first) if label]
    values: list[list[tuple[float, float]]] = [[] for _ in labels]
    for t in range(count):
        frame = _shrink(sequence.frame(t), args.short_side, cv2.INTER_AREA)
        given = _shrink(first, args.short_side, cv2.INTER_NEAREST_EXACT) if t == 0 else None
        result = tracker.step(frame, given, size=(first.shape[0], first.shape[1]))
        if args.save:
            (args.save / sequence.name).mkdir(parents=True, exist_ok=True)
            write_mask(args.save / sequence.name / f"{sequence.frame_name(t)}.png", result)
        truth = sequence.mask(t)
        if truth is None or t in (0, count - 1):
            continue
        for label, rows in zip(labels, values, strict=True):
            one, other = truth == label, result == label
            rows.append((region_similarity(one, other), contour_accuracy(one, other)))
    if not values or not values[0]:
        raise ValueError(f"{sequence.name} has too few frames with masks to measure on")
    table = [np.array(rows) for rows in values]
    return [(statistics(rows[:, 0])[0], statistics(rows[:, 1])[0]) for rows in table], count


def _shrink(image: NDArray[np.uint8], short_side: int, how: int) -> NDArray[np.uint8]:
    shorter = min(image.shape[:2])
    if not short_side or short_side >= shorter:
        return image
    scale = short_side / shorter
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _row(sequence: str, encoder: str, frames: int, objects: list[tuple[float, float]], rate: str) -> None:
    j, f = np.mean(objects, axis=0) * 100
    print(f"{sequence:24}{encoder:>10}{frames or '':>8}{j:8.1f}{f:8.1f}{(j + f) / 2:8.1f}{rate}", flush=True)
