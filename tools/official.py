"""Compares J and F, and their speed, with the official tool: python -m tools.official CHECKOUT DAVIS.

CHECKOUT is a clone of github.com/davisvideochallenge/davis2017-evaluation, which needs ``pip install scikit-image``; DAVIS
holds ``Annotations/480p``. The evaluated masks are the ground truth, shifted and dilated by a few pixels.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mamp.evaluation.davis_metrics import Bool, contour_accuracy, region_similarity

SHIFT, WIDTH, FRAMES = (3, 5), 5, 40


def main() -> None:
    """Prints milliseconds per mask of both, their ratio and their largest difference, for each sequence."""
    checkout, davis = map(Path, sys.argv[1:])
    sys.path.insert(0, str(checkout))
    official = importlib.import_module("davis2017.metrics")
    print(f"{'sequence':20}  official      ours  times faster  difference")
    total = np.zeros(2)
    for folder in sorted((davis / "Annotations/480p").iterdir()):
        truths = [np.asarray(Image.open(path)) > 0 for path in sorted(folder.glob("*.png"))[:FRAMES]]
        pairs = [(truth, _damaged(truth)) for truth in truths]
        theirs, their_seconds = _timed(lambda a, b: (official.db_eval_iou(a, b), official.f_measure(b, a)), pairs)
        ours, our_seconds = _timed(lambda a, b: (region_similarity(a, b), contour_accuracy(a, b)), pairs)
        total += their_seconds, our_seconds
        _print_row(folder.name, their_seconds, our_seconds, np.abs(theirs - ours).max())
    _print_row("all", *total)


def _print_row(name: str, theirs: float, ours: float, difference: float | None = None) -> None:
    last_column = "" if difference is None else f"{difference:12.0e}"
    print(f"{name:20}  {theirs * 1e3:5.2f} ms  {ours * 1e3:5.2f} ms  {theirs / ours:12.1f}{last_column}")


def _damaged(truth: Bool) -> Bool:
    shifted = np.roll(truth, SHIFT, (0, 1)).view(np.uint8)
    return cv2.dilate(shifted, np.ones((WIDTH, WIDTH), np.uint8)) > 0


def _timed(
    score: Callable[[Bool, Bool], tuple[float, float]], pairs: list[tuple[Bool, Bool]]
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], float]:
    """The scores (T, 2), and seconds per pair in the faster of two rounds."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        scores = [score(truth, result) for truth, result in pairs]
        seconds.append((time.perf_counter() - start) / len(pairs))
    return np.array(scores), min(seconds)


if __name__ == "__main__":
    main()
