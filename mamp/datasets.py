"""Data: pairs of frames to train on, and sequences with masks to measure on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mamp.flow import dis_flow
from mamp.masks import read_mask

Frame = NDArray[np.uint8]
Flow = NDArray[np.float32]

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

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
    found |= {path.parent for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES}
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
        names = sorted(path for path in clip.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
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


@dataclass(frozen=True)
class VosObject:
    """An object of a sequence."""

    frames: tuple[str, ...]  # names of those on which it is looked for; its mask is given with the first of them
    category: str | None = None


class VosSequence:
    """Frames and masks of one sequence.

    Args:
        frames: Folder of frames.
        masks: Folder of masks of the same names.
        objects: By label, as YouTube-VOS lists them. If not given, they are those of the first mask, as in DAVIS: 1 to its
            highest label, looked for on every frame from there on.
    """

    def __init__(self, frames: Path, masks: Path, objects: Mapping[int, VosObject] | None = None) -> None:
        self.name = frames.name
        self.listed = objects is not None
        self._frames = sorted(path for path in frames.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        self._masks = masks
        self._objects = objects

    def __len__(self) -> int:
        return len(self._frames)

    @cached_property
    def objects(self) -> Mapping[int, VosObject]:
        """The objects, by label."""
        if self._objects is not None:
            return self._objects
        start = next((t for t in range(len(self)) if self.has_mask(t)), 0)
        first = self.mask(start)
        if first is None or not first.any():
            raise ValueError(f"{self.name} has no objects in its first mask")
        names = tuple(path.stem for path in self._frames[start:])
        return {label: VosObject(names) for label in range(1, int(first.max()) + 1)}

    def wanted(self, count: int) -> list[int]:
        """Which of the first ``count`` frames the data set wants masks of, ascending."""
        names = {name for found in self.objects.values() for name in found.frames}
        return [t for t in range(min(count, len(self))) if self.frame_name(t) in names]

    def frame_name(self, index: int) -> str:
        """The name of a frame, without suffix."""
        return self._frames[index].stem

    def frame(self, index: int) -> Frame:
        """RGB (H, W, 3) uint8."""
        image = cv2.imread(str(self._frames[index]))
        if image is None:
            raise ValueError(f"the frame {self._frames[index].name} of {self.name} cannot be read")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def has_mask(self, index: int) -> bool:
        """Whether a frame has a true mask."""
        return self._mask_file(index).exists()

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """The true label map (H, W) uint8 without what DAVIS calls void (255), or ``None`` where there is none."""
        if not self.has_mask(index):
            return None
        mask = read_mask(self._mask_file(index))
        return np.where(mask == VOID, 0, mask).astype(np.uint8)

    def given(self, index: int) -> NDArray[np.uint8] | None:
        """The objects whose mask is given with this frame (H, W) uint8, or ``None``."""
        name = self.frame_name(index)
        labels = [label for label, found in self.objects.items() if found.frames[0] == name]
        mask = self.mask(index) if labels else None
        if mask is None:
            return None
        given = np.where(np.isin(mask, labels), mask, 0).astype(np.uint8)
        return given if given.any() else None

    def _mask_file(self, index: int) -> Path:
        return self._masks / f"{self.frame_name(index)}.png"


def find_sequences(
    root: Path, *, dataset: str = "auto", split: str = "val", resolution: str = "480p"
) -> list[VosSequence]:
    """The sequences of a folder of DAVIS or YouTube-VOS, in the order of their list, or every folder with frames and masks.

    Args:
        root: The folder.
        dataset: One of ``DATASETS``; "auto" goes by what lies in the folder.
        split: List in ``ImageSets/`` of DAVIS; folder of YouTube-VOS, where "val" is "valid".
        resolution: Folder in ``JPEGImages/`` and ``Annotations/`` of DAVIS.

    Raises:
        FileNotFoundError: The folder is not laid out like that.
    """
    if dataset not in DATASETS:
        raise ValueError(f"there is no data set {dataset}: choose from {', '.join(DATASETS)}")
    listed = next((path for path in _meta_files(root, split) if path.exists()), None)
    if dataset == "youtube-vos" or (dataset == "auto" and listed):
        if listed is None:
            raise FileNotFoundError(f"{root.name} has no meta.json of YouTube-VOS")
        return [
            VosSequence(listed.parent / "JPEGImages" / name, listed.parent / "Annotations" / name, objects)
            for name, objects in _listed_objects(listed).items()
        ]
    frames, masks = root / "JPEGImages", root / "Annotations"
    if not frames.is_dir():
        raise FileNotFoundError(f"{root.name} has no folder JPEGImages")
    lists: list[Path] = []
    if dataset == "davis" or (dataset == "auto" and (frames / resolution).is_dir()):
        frames, masks = frames / resolution, masks / resolution
        if not frames.is_dir():
            raise FileNotFoundError(f"{root.name} has no folder JPEGImages/{resolution}")
        lists = sorted(root.glob(f"ImageSets/*/{split}.txt"))
    names = lists[-1].read_text().split() if lists else sorted(path.name for path in frames.iterdir())
    return [VosSequence(frames / name, masks / name) for name in names if any((masks / name).glob("*.png"))]


DATASETS = ("auto", "davis", "youtube-vos", "folder")
VOID = 255  # label of what DAVIS leaves undecided


def seen_categories(root: Path) -> set[str]:
    """The categories of YouTube-VOS that lie in its training set; none where that is not at hand."""
    path = root / "train" / "meta.json"
    if not path.exists():
        return set()
    return {
        found.category for objects in _listed_objects(path).values() for found in objects.values() if found.category
    }


def _meta_files(root: Path, split: str) -> list[Path]:
    return [root / {"val": "valid"}.get(split, split) / "meta.json", root / "meta.json"]


def _listed_objects(path: Path) -> dict[str, dict[int, VosObject]]:
    """The objects of every sequence in a ``meta.json`` of YouTube-VOS."""
    try:
        videos = json.loads(path.read_text())["videos"]
        return {
            name: {
                int(label): VosObject(tuple(sorted(found["frames"])), found.get("category"))
                for label, found in video["objects"].items()
            }
            for name, video in sorted(videos.items())
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is no list of YouTube-VOS") from error
