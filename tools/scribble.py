"""Measures masks from scribbles, boxes, clicks and corrections: python -m tools.scribble DAVIS [DAVIS ...].

A simulated person marks the objects on the first frame of each sequence, all as one: by a scribble of up to three
strokes along the skeleton, by a box or by a click. Each correction is one stroke along the skeleton of the largest
error. Ours is compared with GrabCut alone and with the strokes taken literally. DAVIS is a folder with
``JPEGImages/480p`` and ``Annotations/480p``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

from mamp import StrokeSegmenter, frame_with_motion
from mamp.evaluation.davis_metrics import region_similarity
from mamp.evaluation.vos_datasets import find_sequences
from mamp.interactive.strokes import OUTSIDE, Strokes, click_strokes

Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom
Method = Callable[[Strokes, Box | None, Image | None], Image]

CORRECTIONS = 5
THICKNESS = 4  # [pixels] of a stroke
TIP = 0.1  # of a stroke: people do not draw to the tips
SPACING = 7  # [pixels] between strokes
SHORTEST = 10  # [pixels] of a second or third stroke


def main() -> None:
    """Prints mean J after the first marks and after each correction, and the seconds of an answer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("roots", type=Path, nargs="+", metavar="DAVIS")
    parser.add_argument("--each", action="store_true", help="also print J of each sequence")
    arguments = parser.parse_args()
    for root in arguments.roots:
        table: dict[tuple[str, str], Answers] = {}
        preparation = []
        for sequence in find_sequences(root):
            frame, truth = sequence.frame(0), sequence.mask(0)
            assert truth is not None
            start = time.perf_counter()
            following = (sequence.frame(t) for t in range(1, len(sequence)))
            segmenter = StrokeSegmenter(frame, frame_with_motion(frame, following))
            preparation.append(time.perf_counter() - start)
            for prompt in ("scribble", "box", "click"):
                for name, method in _methods(segmenter, frame).items():
                    answers = table.setdefault((prompt, name), Answers())
                    answers.add(correct(truth > 0, prompt, method))
                    if arguments.each:
                        print(f"{sequence.name:20} {prompt:9} {name:9} {answers.row(answers.scores[-1])}", flush=True)
        times = f"{np.median(preparation):.2f} s, at most {max(preparation):.2f} s"
        print(f"{root.name}: {len(preparation)} frames, prepared in {times}")
        headings = " ".join(f"{f'+{count}':>5}" for count in range(1, CORRECTIONS + 1))
        print(f"{'marks':9} {'method':9} first {headings}  median [s]  most [s]")
        for (prompt, name), answers in table.items():
            print(f"{prompt:9} {name:9} {answers}", flush=True)


@dataclass
class Answers:
    """J of each frame after the first marks and after each correction, and the seconds of all answers."""

    scores: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, answers: Iterator[tuple[float, float]]) -> None:
        """Adds J and seconds of the answers on one frame; after a perfect one there are no more."""
        scores, seconds = map(list, zip(*answers, strict=True))
        self.scores.append(scores + scores[-1:] * (CORRECTIONS + 1 - len(scores)))
        self.seconds += seconds

    @staticmethod
    def row(scores: list[float]) -> str:
        """One line of scores."""
        return " ".join(f"{score:5.3f}" for score in scores)

    def __str__(self) -> str:
        means: list[float] = np.mean(self.scores, axis=0).tolist()
        return f"{self.row(means)}  {np.median(self.seconds):10.2f}  {max(self.seconds):8.2f}"


def correct(truth: Bool, prompt: str, method: Method) -> Iterator[tuple[float, float]]:
    """Marks an object and corrects its mask.

    Args:
        truth: The true mask (H, W).
        prompt: "scribble", "box" or "click".
        method: Strokes (H, W), the box around the object and the previous mask (H, W) in, the new mask (H, W) out.

    Yields:
        J and seconds of each answer.
    """
    strokes = np.zeros(truth.shape, np.uint8)
    box = None
    if prompt == "box":
        rows, columns = np.nonzero(truth)
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    elif prompt == "click":
        y, x = np.unravel_index(_distance_to_edge(truth).argmax(), truth.shape)
        strokes = click_strokes((truth.shape[0], truth.shape[1]), (int(x), int(y)), 1)
    else:
        strokes[scribble(truth, 3)] = 1
    mask = None
    for _ in range(CORRECTIONS + 1):
        start = time.perf_counter()
        mask = method(strokes, box, mask)
        seconds = time.perf_counter() - start
        yield region_similarity(truth, mask > 0), seconds
        missing, extra = (_largest_part(error) for error in (truth & (mask == 0), ~truth & (mask > 0)))
        if not missing.any() and not extra.any():
            return
        if missing.sum() >= extra.sum():
            strokes[scribble(missing, 1)] = 1
        else:
            strokes[scribble(extra, 1)] = OUTSIDE


def scribble(region: Bool, count: int) -> Bool:
    """Up to ``count`` strokes within a region (H, W), each along the longest path of its skeleton that is left."""
    rows, columns = (slice(line.min(), line.max() + 1) for line in np.nonzero(region))
    part = region[rows, columns]
    canvas = np.zeros(part.shape, np.uint8)
    skeleton = skeletonize(np.pad(part, 1))[1:-1, 1:-1]  # type: ignore[no-untyped-call]  # the region ends at its sides, and at the frame's
    width = 2 * _distance_to_edge(part)
    for index in range(count):
        left = _largest_part(skeleton)
        path = _longest_path(left) if left.any() else []
        if not path or (index and len(path) < SHORTEST):
            break
        tip = int(TIP * len(path))
        path = path[tip : len(path) - tip]
        line = np.array([*path, path[-1]], np.int32)[:, None, ::-1]  # a single point alone is not drawn
        thickness = int(max(1, min(THICKNESS, np.median([width[point] for point in path]))))
        cv2.polylines(canvas, [line], False, 1, thickness)
        near = cv2.polylines(np.zeros(part.shape, np.uint8), [line], False, 1, 2 * SPACING + 1)
        skeleton &= near == 0
    drawn = np.zeros_like(region)
    drawn[rows, columns] = (canvas > 0) & part
    return drawn


def _longest_path(skeleton: Bool) -> list[tuple[int, int]]:
    """The (row, column) of the pixels between the two ends of a connected skeleton that are furthest apart."""
    end = tuple(np.argwhere(skeleton)[0])
    for _ in range(2):
        paths = MCP_Geometric(np.where(skeleton, 1.0, -1.0))
        lengths, _ = paths.find_costs([end])
        end = np.unravel_index(np.where(np.isfinite(lengths), lengths, -1).argmax(), skeleton.shape)
    return [(int(row), int(column)) for row, column in paths.traceback(end)]


def _distance_to_edge(region: Bool) -> NDArray[np.float32]:
    distance = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance[1:-1, 1:-1], np.float32)


def _largest_part(region: Bool) -> Bool:
    """The largest connected part of a region (H, W), connected across corners; nothing of nothing."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    if count == 1:
        return region
    return np.asarray(parts == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax())


def _methods(segmenter: StrokeSegmenter, frame: Image) -> dict[str, Method]:
    return {
        "ours": lambda strokes, box, previous: segmenter.segment(
            strokes, boxes=None if box is None or previous is not None else {1: box}, previous=previous
        ),
        "GrabCut": lambda strokes, box, _: grabcut(frame, strokes, box),
        "literally": lambda strokes, box, _: literally(strokes, box),
    }


def literally(strokes: Strokes, box: Box | None) -> Image:
    """The strokes themselves as mask (H, W), and the whole box."""
    mask = np.zeros_like(strokes)
    if box is not None:
        mask[box[1] : box[3], box[0] : box[2]] = 1
    return np.where(strokes == 0, mask, strokes == 1).astype(np.uint8)


def grabcut(frame: Image, strokes: Strokes, box: Box | None) -> Image:
    """GrabCut on colors alone, at half the size: background beyond the box, or beyond the strokes' extent and a half.

    Args:
        frame: RGB (H, W, 3).
        strokes: (H, W) uint8.
        box: The box around the object.

    Returns:
        Mask (H, W).
    """
    height, width = strokes.shape
    classes = np.full(strokes.shape, cv2.GC_BGD, np.uint8)
    if box is not None:
        classes[box[1] : box[3], box[0] : box[2]] = cv2.GC_PR_FGD
    elif (strokes == 1).any():
        rows, columns = np.nonzero(strokes == 1)
        # A click says nothing about the size of the object.
        y, x = (np.ptp(line) // 2 if np.ptp(line) > 15 else min(strokes.shape) // 4 for line in (rows, columns))
        top, left = max(0, rows.min() - y), max(0, columns.min() - x)
        classes[top : rows.max() + y + 1, left : columns.max() + x + 1] = cv2.GC_PR_BGD
        near = cv2.dilate((strokes == 1).astype(np.uint8), np.ones((25, 25), np.uint8))
        classes[near > 0] = cv2.GC_PR_FGD
    classes[strokes == 1] = cv2.GC_FGD
    classes[strokes == OUTSIDE] = cv2.GC_BGD
    small = cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    segmentation = cv2.resize(classes, (width // 2, height // 2), interpolation=cv2.INTER_NEAREST)
    if not np.isin(segmentation, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
        return literally(strokes, box)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small[..., ::-1].copy(), segmentation, (0, 0, 0, 0), *models, 5, cv2.GC_INIT_WITH_MASK)
    small_mask = np.isin(segmentation, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.resize(small_mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(strokes == 0, mask, strokes == 1).astype(np.uint8)


if __name__ == "__main__":
    main()
