"""Pairs of frames to train on, from any folder of clips, and the motion between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mamp.flow.optical_flow import dis_flow
from mamp.video import image_sequence as pictures

Frame = NDArray[np.uint8]
Flow = NDArray[np.float32]

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v"})

SHIFT = 0.15  # the second square of a pair moves by up to this share of its side
TURN, SCALE, STRETCH, SHEAR = 25.0, 0.3, 0.1, 0.15  # [degrees], two logarithms of factors, and a tangent
_THUMBNAIL = (32, 18)  # (W, H) at which frames are compared for shot cuts
_CUT = 25.0  # mean difference of two thumbnails, of 255, from which on it may be a cut ...
_CUT_RATIO = 3.0  # ... if it is also this much larger than is usual around it


class FramePairs(Dataset[dict[str, Tensor]]):
    """Pairs of frames close in time, from any folder of videos or of frame folders (Sec. 3.1: the training data).

    Item ``i`` is a function of ``seed`` and ``i`` alone, so a resumed run sees what an unbroken one would. One item is
    several pairs from one short window of one clip: decoding is what costs, cropping is nearly free.

    Args:
        root: Folder that is searched through.
        length: Number of items.
        crop: Side of the square frames [pixels], a multiple of 4.
        pairs: Pairs an item.
        max_gap: The longest time between the two frames of a pair [s].
        max_scale: The largest side of the square that is cut out and shrunk to ``crop``, as a multiple of it [>= 1].
        motion: Whether items hold the motion between the two frames as well.
        warped: Share of the pairs whose second frame is the first one turned, scaled, sheared and shifted at random
            [0, 1]: their motion is known exactly, where that of two frames is optical flow.
        seed: Of everything random.

    Raises:
        FileNotFoundError: There is no clip under ``root``.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        length: int,
        crop: int = 256,
        pairs: int = 1,
        max_gap: float = 0.4,
        max_scale: float = 2.0,
        motion: bool = False,
        warped: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.clips = find_clips(Path(root))
        if not self.clips:
            raise FileNotFoundError(f"there is no video and no folder of frames in {root}")
        self.length, self.crop, self.pairs = length, crop, pairs
        self.max_gap, self.max_scale, self.motion, self.warped, self.seed = max_gap, max_scale, motion, warped, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """The pairs of one window.

        Returns:
            ``frames``: RGB (pairs, 2, crop, crop, 3) uint8; with ``motion`` also ``flow`` (pairs, 2, 2, crop, crop)
            float32 [pixels], of the first frame to the second and back.
        """
        rng = np.random.default_rng((self.seed, index))
        while True:
            clip = self.clips[rng.integers(len(self.clips))]
            frames, fps = read_window(clip, start=float(rng.random()), seconds=3 * self.max_gap)
            shots = [shot for shot in split_shots(frames) if len(shot) > 1]
            if shots:
                pairs = [self._moved(self._pair(shots, fps, rng), rng) for _ in range(self.pairs)]
                item = {"frames": torch.from_numpy(np.stack([frames for frames, _ in pairs]))}
                if self.motion:
                    item["flow"] = torch.from_numpy(np.stack([flow for _, flow in pairs]))
                return item

    def _moved(self, pair: Frame, rng: np.random.Generator) -> tuple[Frame, Flow]:
        """A pair, or its first frame and that frame warped, and the motion there and back (2, 2, crop, crop)."""
        first, second = pair
        if self.warped and rng.random() < self.warped:
            second, there, back = warp_at_random(first, rng)
        elif self.motion:
            there, back = dis_flow(first, second), dis_flow(second, first)
        else:
            there = back = np.zeros((2, *first.shape[:2]), np.float32)
        return np.stack((first, second)), np.stack((there, back))

    def _pair(self, shots: list[list[Frame]], fps: float, rng: np.random.Generator) -> Frame:
        shot = shots[rng.integers(len(shots))]
        gap = int(rng.integers(1, 1 + min(len(shot) - 1, max(1, round(self.max_gap * fps)))))
        first = int(rng.integers(len(shot) - gap))
        pair = np.stack((shot[first], shot[first + gap]))
        if rng.random() < 0.5:
            pair = pair[:, :, ::-1]
        return self._crop(pair, rng)

    def _crop(self, pair: Frame, rng: np.random.Generator) -> Frame:
        """A square of each frame, at a random place and scale, the second one shifted a little against the first.

        Without the shift a feature could tell where it is from the distance to the border, and matching by place instead
        of by looks would be rewarded.
        """
        shorter = min(pair.shape[1:3])
        side = round(min(self.crop * float(rng.uniform(1, self.max_scale)), shorter))
        reach = round(side * SHIFT)
        shrink = cv2.INTER_AREA if side >= self.crop else cv2.INTER_LINEAR
        room = [length - side for length in pair.shape[1:3]]
        top, left = (int(rng.integers(free + 1)) for free in room)
        squares = []
        for frame in pair:
            square = frame[top : top + side, left : left + side]
            squares.append(cv2.resize(square, (self.crop, self.crop), interpolation=shrink))
            top, left = (
                int(np.clip(corner + rng.integers(-reach, reach + 1), 0, free))
                for corner, free in zip((top, left), room, strict=True)
            )
        return np.stack(squares)


def warp_at_random(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Flow, Flow]:
    """Turns, scales, shears and shifts a square frame.

    Args:
        frame: RGB (S, S, 3) uint8.
        rng: Decides how.

    Returns:
        The frame as it is then, black where it came from outside, and the displacement (2, S, S) float32 [pixels] of
        every pixel there and back.
    """
    side = len(frame)
    angle = np.deg2rad(rng.uniform(-TURN, TURN))
    scale, stretch = np.exp(rng.uniform(-SCALE, SCALE)), np.exp(rng.uniform(-STRETCH, STRETCH))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[scale, rng.uniform(-SHEAR, SHEAR)], [0, scale * stretch]])
    middle = np.full(2, (side - 1) / 2)
    offset = middle - linear @ middle + side * rng.uniform(-SHIFT, SHIFT, 2)
    points = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="xy"), axis=-1).astype(np.float64)
    there = points @ linear.T + offset - points
    back = (points - offset) @ np.linalg.inv(linear).T - points
    moved = cv2.warpAffine(frame, np.column_stack((linear, offset)), (side, side), flags=cv2.INTER_LINEAR)
    there, back = (np.ascontiguousarray(flow.transpose(2, 0, 1), np.float32) for flow in (there, back))
    return np.asarray(moved, np.uint8), there, back


def find_clips(root: Path) -> list[Path]:
    """Every video file under a folder, and every folder that holds frames, in the order of their names."""
    found = {path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES}
    found |= {path.parent for path in root.rglob("*") if path.suffix.lower() in pictures.SUFFIXES}
    return sorted(found)


def read_window(clip: Path, *, start: float, seconds: float) -> tuple[list[Frame], float]:
    """Reads some consecutive frames of a clip.

    Args:
        clip: A video file, or a folder of frames (taken as 12 a second).
        start: Where, as a share of the clip's length [0, 1); videos go back to the key frame before it.
        seconds: How long [s].

    Returns:
        RGB frames (H, W, 3) uint8, and the frames a second. A clip that cannot be read gives no frames.
    """
    if clip.is_dir():
        names = sorted(path for path in clip.iterdir() if path.suffix.lower() in pictures.SUFFIXES)
        count = max(2, round(seconds * FOLDER_FPS))
        first = int(start * max(1, len(names) - count + 1))
        images = (cv2.imread(str(name)) for name in names[first : first + count])
        rgb = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images if image is not None]
        return [np.asarray(image, np.uint8) for image in rgb], FOLDER_FPS
    try:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # the loader's workers are the threads
            fps = float(stream.average_rate or FOLDER_FPS)
            length = float(container.duration or 0) / av.time_base
            container.seek(int(start * max(0.0, length - seconds) * av.time_base))
            frames = []
            for frame in container.decode(stream):
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(frames) >= max(2, round(seconds * fps)):
                    break
            return frames, fps
    except (av.FFmpegError, IndexError):
        return [], FOLDER_FPS


FOLDER_FPS = 12.0


def split_shots(frames: list[Frame]) -> Iterator[list[Frame]]:
    """Splits frames where the picture changes at once, so that no pair reaches over a cut."""
    if not frames:
        return
    small = [cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32) for frame in frames]
    change = [float(np.abs(one - other).mean()) for one, other in itertools.pairwise(small)]
    usual = float(np.median(change)) if change else 0.0
    begin = 0
    for index, difference in enumerate(change, start=1):
        if difference > _CUT and difference > _CUT_RATIO * usual:
            yield frames[begin:index]
            begin = index
    yield frames[begin:]
