"""Training data (Sec. 3.1): pairs of frames from any folder of clips, and the optical flow between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mamp.flow.optical_flow import dis_flow
from mamp.video.decoder import VIDEO_SUFFIXES
from mamp.video.images import SUFFIXES, find_frames, read_image
from mamp.video.source import VideoError

Frame = NDArray[np.uint8]
Flow = NDArray[np.float32]

FOLDER_FPS = 12.0  # assumed frame rate of a folder of frames
SHIFT = 0.15  # largest shift of the second crop of a pair, as a share of its side
ROTATION, LOG_SCALE, LOG_STRETCH, SHEAR = 25.0, 0.3, 0.1, 0.15  # largest of a random affine warp; rotation [degrees]
_THUMBNAIL = (32, 18)  # (W, H) at which frames are compared for shot changes
_SHOT_CHANGE = 25.0  # least mean difference of two thumbnails at a shot change [0, 255] ...
_SHOT_CHANGE_RATIO = 3.0  # ... and least ratio to the window's median difference
_WINDOWS = 10  # tried of each clip before an item is given up


class NoReadableClipError(ValueError):
    """No clip has a pair of frames that can be read; the message is one sentence for the user."""


class FramePairs(Dataset[dict[str, Tensor]]):
    """Pairs of frames close in time, from any folder of videos or frame folders.

    Item ``i`` depends on ``seed`` and ``i`` alone, so a resumed run gets the same items as an uninterrupted one. An item
    holds several pairs from one short window of one clip: decoding is expensive, cropping is nearly free.

    Args:
        root: Folder searched recursively for clips.
        length: Number of items.
        crop: Side of the square frames [pixels], a multiple of 4.
        pairs: Number of pairs in an item.
        max_gap: Longest time between the two frames of a pair [s].
        min_scale: Smallest side of the crops before they are resized to ``crop``, as a multiple of it: below 1, some are
            enlarged.
        max_scale: Largest side of the crops, likewise.
        with_flow: Whether items hold the flow between the two frames as well.
        synthetic_pair_ratio: Share of the pairs whose second frame is a random affine warp of the first [0, 1]. Their
            flow is exact, not estimated.
        seed: Random seed.

    Raises:
        FileNotFoundError: There is no clip under ``root``.
        NoReadableClipError: None of them can be read.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        length: int,
        crop: int = 256,
        pairs: int = 1,
        max_gap: float = 0.4,
        min_scale: float = 1.0,
        max_scale: float = 2.0,
        with_flow: bool = False,
        synthetic_pair_ratio: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.root, self.clips = Path(root), find_clips(Path(root))
        if not self.clips:
            raise FileNotFoundError(f"there is no video and no folder of frames in {root}")
        self.length, self.crop, self.pairs = length, crop, pairs
        self.max_gap, self.min_scale, self.max_scale, self.seed = max_gap, min_scale, max_scale, seed
        self.with_flow, self.synthetic_pair_ratio = with_flow, synthetic_pair_ratio
        self._unreadable = torch.zeros(len(self.clips), dtype=torch.bool)
        self._unreadable.share_memory_()  # type: ignore[no-untyped-call]  # the loader's processes set it
        self._window(np.random.default_rng(seed))

    @property
    def unreadable_clips(self) -> list[Path]:
        """The clips of which a window could not be read so far, by any process of the data loader."""
        return [self.clips[number] for number in self._unreadable.nonzero()[:, 0].tolist()]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Reads the pairs of one window.

        A clip that cannot be read is left out, see ``unreadable_clips``: another one takes its place.

        Returns:
            ``frames``: RGB (pairs, 2, crop, crop, 3) uint8. If ``with_flow``, also ``flow`` (pairs, 2, 2, crop, crop)
            float32 [pixels]: forward, then backward.

        Raises:
            NoReadableClipError: No clip can be read any more.
        """
        rng = np.random.default_rng((self.seed, index))
        shots, fps = self._window(rng)
        pairs = [self._with_flow(self._pair(shots, fps, rng), rng) for _ in range(self.pairs)]
        item = {"frames": torch.from_numpy(np.stack([frames for frames, _ in pairs]))}
        if self.with_flow:
            item["flow"] = torch.from_numpy(np.stack([flow for _, flow in pairs]))
        return item

    def _window(self, rng: np.random.Generator) -> tuple[list[list[Frame]], float]:
        """The shots of two or more frames in a random window of a random clip, and its frame rate [1/s]."""
        readable = list(range(len(self.clips)))
        for _ in range(_WINDOWS):
            remaining = readable.copy()
            while remaining:
                number = remaining.pop(int(rng.integers(len(remaining))))
                frames, fps = read_window(self.clips[number], start=float(rng.random()), seconds=3 * self.max_gap)
                if not frames:
                    self._unreadable[number] = True
                    readable.remove(number)
                if shots := [shot for shot in split_shots(frames) if len(shot) > 1]:
                    return shots, fps
        raise NoReadableClipError(self.none_left)

    @property
    def none_left(self) -> str:
        """The message of ``NoReadableClipError``."""
        return f"None of the {len(self.clips)} clips in {self.root} has two frames in a row that can be read."

    def _with_flow(self, pair: Frame, rng: np.random.Generator) -> tuple[Frame, Flow]:
        """A pair, real or synthetic, and its forward and backward flow (2, 2, crop, crop)."""
        first, second = pair
        if self.synthetic_pair_ratio and rng.random() < self.synthetic_pair_ratio:
            second, forward, backward = random_affine_warp(first, rng)
        elif self.with_flow:
            forward, backward = dis_flow(first, second), dis_flow(second, first)
        else:
            forward = backward = np.zeros((2, *first.shape[:2]), np.float32)
        return np.stack((first, second)), np.stack((forward, backward))

    def _pair(self, shots: list[list[Frame]], fps: float, rng: np.random.Generator) -> Frame:
        shot = shots[rng.integers(len(shots))]
        gap = int(rng.integers(1, 1 + min(len(shot) - 1, max(1, round(self.max_gap * fps)))))
        first = int(rng.integers(len(shot) - gap))
        pair = np.stack((shot[first], shot[first + gap]))
        if rng.random() < 0.5:
            pair = pair[:, :, ::-1]
        return self._crop(pair, rng)

    def _crop(self, pair: Frame, rng: np.random.Generator) -> Frame:
        """Square crops at a random position and scale; the second is shifted a little against the first.

        Without the shift, features that encode the distance to the border would match by position, not by appearance.
        """
        shorter = min(pair.shape[1:3])
        side = round(min(self.crop * float(rng.uniform(self.min_scale, self.max_scale)), shorter))
        max_shift = round(side * SHIFT)
        interpolation = cv2.INTER_AREA if side >= self.crop else cv2.INTER_LINEAR
        margins = [length - side for length in pair.shape[1:3]]
        top, left = (int(rng.integers(margin + 1)) for margin in margins)
        crops = []
        for frame in pair:
            crop = frame[top : top + side, left : left + side]
            crops.append(cv2.resize(crop, (self.crop, self.crop), interpolation=interpolation))
            top, left = (
                int(np.clip(corner + rng.integers(-max_shift, max_shift + 1), 0, margin))
                for corner, margin in zip((top, left), margins, strict=True)
            )
        return np.stack(crops)


def random_affine_warp(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Flow, Flow]:
    """Rotates, scales, shears and shifts a square frame at random.

    Args:
        frame: RGB (S, S, 3) uint8.
        rng: Random generator.

    Returns:
        The warped frame, black outside the original, and the forward and the backward flow (2, S, S) float32 [pixels].
    """
    side = len(frame)
    angle = np.deg2rad(rng.uniform(-ROTATION, ROTATION))
    scale, stretch = np.exp(rng.uniform(-LOG_SCALE, LOG_SCALE)), np.exp(rng.uniform(-LOG_STRETCH, LOG_STRETCH))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[scale, rng.uniform(-SHEAR, SHEAR)], [0, scale * stretch]])
    center = np.full(2, (side - 1) / 2)
    offset = center - linear @ center + side * rng.uniform(-SHIFT, SHIFT, 2)
    points = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="xy"), axis=-1).astype(np.float64)
    forward = points @ linear.T + offset - points
    backward = (points - offset) @ np.linalg.inv(linear).T - points
    warped = cv2.warpAffine(frame, np.column_stack((linear, offset)), (side, side), flags=cv2.INTER_LINEAR)
    forward, backward = (np.ascontiguousarray(flow.transpose(2, 0, 1), np.float32) for flow in (forward, backward))
    return np.asarray(warped, np.uint8), forward, backward


def find_clips(root: Path) -> list[Path]:
    """Video files and folders of frames under a folder, sorted by name."""
    files = list(root.rglob("*"))
    clips = {path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and path.suffix.lower() not in SUFFIXES}
    clips |= {path.parent for path in files if path.suffix.lower() in SUFFIXES}
    return sorted(clips)


def read_window(clip: Path, *, start: float, seconds: float) -> tuple[list[Frame], float]:
    """Reads consecutive frames of a clip.

    Args:
        clip: A video file, or a folder of frames, read as ``FOLDER_FPS`` frames a second.
        start: Start of the window as a share of the clip's length [0, 1); a video starts at the key frame before it.
        seconds: Length of the window [s].

    Returns:
        RGB frames (H, W, 3) uint8, up to the first that cannot be decoded, and the frame rate [1/s].
    """
    frames: list[Frame] = []
    if clip.is_dir():
        try:
            paths, _ = find_frames(clip)
        except (VideoError, OSError):
            return [], FOLDER_FPS
        count = max(2, round(seconds * FOLDER_FPS))
        first = int(start * max(1, len(paths) - count + 1))
        for path in paths[first : first + count]:
            with suppress(VideoError):
                frames.append(read_image(path))
        return frames, FOLDER_FPS
    fps = FOLDER_FPS
    with suppress(av.FFmpegError, OSError, ValueError, IndexError), av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # the data loader's workers run in parallel already
        fps = float(stream.average_rate or FOLDER_FPS)
        length = float(container.duration or 0) / av.time_base
        with suppress(av.FFmpegError):  # then the window is at the start
            container.seek(int(start * max(0.0, length - seconds) * av.time_base))
        for frame in container.decode(stream):
            frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(frames) >= max(2, round(seconds * fps)):
                break
    return frames, fps


def split_shots(frames: list[Frame]) -> Iterator[list[Frame]]:
    """Splits frames at shot changes and changes of size, so that no pair spans one."""
    if not frames:
        return
    thumbnails = [cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32) for frame in frames]
    differences = [float(np.abs(one - other).mean()) for one, other in itertools.pairwise(thumbnails)]
    median = float(np.median(differences)) if differences else 0.0
    start = 0
    for index, difference in enumerate(differences, start=1):
        other_size = frames[index].shape != frames[index - 1].shape
        if other_size or (difference > _SHOT_CHANGE and difference > _SHOT_CHANGE_RATIO * median):
            yield frames[start:index]
            start = index
    yield frames[start:]
