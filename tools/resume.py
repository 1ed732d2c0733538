"""Property test of runs in parts: whatever the masks, the stops and the edits, results equal those of one unbroken run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.model.encoder import EncoderFunction
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from mamp.video.writer import VideoWriter

Mask = NDArray[np.uint8]
Masks = Mapping[int, Mask]

SIZE = (48, 72)  # (H, W) [pixels]
SIDE = 24  # of a rectangle [pixels]
_COLORS = ((220, 40, 30), (30, 60, 220), (240, 220, 40))


@dataclass(frozen=True)
class Schedule:
    """A random clip with its input masks, an edit of them, and the lengths of the parts.

    Attributes:
        frames: RGB (H, W, 3) uint8; textured rectangles move, and jump at shot changes.
        masks: Input masks (H, W) uint8 by frame number: first masks, corrections and late objects.
        edited: The same after an edit: a mask was added, changed or removed.
        parts: Frames after which each part of the run is stopped; the last part is not.
    """

    frames: list[NDArray[np.uint8]]
    masks: dict[int, Mask]
    edited: dict[int, Mask]
    parts: list[int]


def random_schedule(seed: int, length: int) -> Schedule:
    """A schedule of a number of frames that depends on the seed alone."""
    rng = np.random.default_rng(seed)
    frames, truth = _random_clip(rng, length)
    numbers = rng.choice(length, size=int(rng.integers(1, 8)), replace=False).tolist()
    masks = {int(t): _random_mask(rng, truth[t]) for t in numbers}
    edited = dict(masks)
    t = int(rng.integers(length))
    if t in edited and len(edited) > 1:
        del edited[t]
    else:
        edited[t] = _random_mask(rng, truth[t])
    return Schedule(frames, masks, edited, rng.integers(1, max(2, length // 2), size=5).tolist())


def faults(folder: Path, schedule: Schedule, settings: Settings, encoder: EncoderFunction) -> list[str]:
    """What differs between runs in parts, edited runs and unbroken runs; nothing if all is well.

    Args:
        folder: An empty folder.
        schedule: Clip, masks and stops.
        settings: Settings of all runs.
        encoder: Encoder of all runs.
    """
    clip = folder / "clip.mp4"
    with VideoWriter(clip, None, SIZE) as video:
        for t, frame in enumerate(schedule.frames):
            video.write(frame, Fraction(t, 25))

    def run(name: str, masks: Masks, *, previous: Path | None = None, frames: int | None = None) -> Path:
        done = itertools.count(1)
        updates = segment_video(
            clip,
            masks,
            folder / name,
            settings,
            previous=previous,
            encoder=encoder,
            outputs=("masks",),
            should_stop=lambda: frames is not None and next(done) >= frames,
        )
        for _ in updates:
            pass
        return folder / name

    unbroken = run("unbroken", schedule.masks)
    damaged = run("damaged", schedule.masks, frames=max(schedule.parts))
    for path in sorted(Result(damaged).masks_dir.iterdir())[schedule.parts[0] % 3 :: 3]:
        path.write_bytes(path.read_bytes()[:50])
    part = run("part", schedule.masks, frames=schedule.parts[0])
    stopped = part
    for number, frames in enumerate([*schedule.parts[1:], None], 1):
        part = run(f"part-{number}", schedule.masks, previous=part, frames=frames)
    edited = run("edited", schedule.edited)
    found = [f"in parts: {name}" for name in _different_files(unbroken, part)]
    mended = run("mended", schedule.masks, previous=damaged)
    found += [f"after damaged masks: {name}" for name in _different_files(unbroken, mended)]
    for name, previous in (("complete", part), ("stopped", stopped)):
        incremental = run(f"edited-{name}", schedule.edited, previous=previous)
        found += [f"after an edit of a {name} run: {file}" for file in _different_files(edited, incremental)]
    return found


def _different_files(one: Path, other: Path) -> list[str]:
    """The names of the result files that are not the same, byte for byte."""
    contents = []
    for result in (Result(one), Result(other)):
        files = [*sorted(result.masks_dir.iterdir()), result.objects_csv, result.masks_json]
        contents.append({path.name: path.read_bytes() for path in files})
    names = sorted(set(contents[0]) | set(contents[1]))
    return [name for name in names if contents[0].get(name) != contents[1].get(name)]


def _random_clip(rng: np.random.Generator, length: int) -> tuple[list[NDArray[np.uint8]], list[Mask]]:
    """Frames and true label maps of one to three rectangles; at shot changes the background and all positions differ."""
    height, width = SIZE
    changes = set(rng.choice(length, size=int(rng.integers(3)), replace=False).tolist())
    objects = int(rng.integers(1, 4))
    textures = rng.integers(-30, 31, (objects, SIDE, SIDE, 1))
    frames, truth = [], []
    for t in range(length):
        if t == 0 or t in changes:
            grain = rng.integers(40, 150, (height // 4, width // 4, 3), dtype=np.uint8)
            background = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
            positions = rng.uniform((0, 0), (height - SIDE, width - SIDE), (objects, 2))
            speeds = rng.uniform(-3, 3, (objects, 2))
        frame, labels = background.astype(np.int64), np.zeros(SIZE, np.uint8)
        for number in range(objects):
            top, left = (positions[number] + speeds[number] * np.sin(t / 4) * 4).round().astype(int)
            top, left = max(0, min(top, height - SIDE)), max(0, min(left, width - SIDE))
            box = slice(top, top + SIDE), slice(left, left + SIDE)
            frame[box] = np.array(_COLORS[number]) + textures[number]
            labels[box] = number + 1
        frames.append(frame.clip(0, 255).astype(np.uint8))
        truth.append(labels)
    return frames, truth


def _random_mask(rng: np.random.Generator, truth: Mask) -> Mask:
    """Some of the true objects, moved and cut, and now and then a label that no other frame has."""
    labels = [label for label in np.unique(truth).tolist() if label]
    chosen = rng.choice(labels, size=int(rng.integers(1, len(labels) + 1)), replace=False)
    mask = np.where(np.isin(truth, chosen), truth, 0).astype(np.uint8)
    if rng.random() < 0.5:
        mask = np.roll(mask, tuple(rng.integers(-6, 7, 2)), axis=(0, 1))
    if rng.random() < 0.3:
        top, left = (int(rng.integers(side - 20)) for side in SIZE)
        mask[top : top + 20, left : left + 20] = int(rng.choice((7, 255)))
    if not mask.any():
        mask[:20, :20] = 1
    return mask
