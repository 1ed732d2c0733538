"""Sequences with ground truth, in the folder layouts of DAVIS and YouTube-VOS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import VOID
from mamp.masks.mask_io import read_mask
from mamp.video.images import find_frames, read_image
from mamp.video.source import VideoError

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class VosObject:
    """An object of a sequence."""

    frames: tuple[str, ...]  # names of its frames; the first has its input mask
    category: str | None = None


class VosSequence:
    """Frames and masks of one sequence.

    Args:
        frames: Folder of frames.
        masks: Folder of masks of the same names.
        objects: Objects by label, as YouTube-VOS lists them. If not given, those of the first mask, as in DAVIS:
            1 to its highest label, on every frame from there on.
    """

    def __init__(self, frames: Path, masks: Path, objects: Mapping[int, VosObject] | None = None) -> None:
        self.name = frames.name
        self.listed = objects is not None
        self.folder = frames
        self._frames: list[Path] = []
        self._problem = f"{self.name} has no frames"
        if frames.is_dir():
            try:
                self._frames = find_frames(frames)[0]
            except VideoError as error:  # raised again when this sequence's turn comes: others can be measured
                self._problem = str(error)
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

    def evaluated_frames(self, count: int) -> list[int]:
        """The frames that need masks, of the first ``count``, in ascending order.

        Raises:
            ValueError: There are no frames, several series of them, or no object in the first mask.
        """
        if not self._frames:
            raise ValueError(self._problem)
        names = {name for vos_object in self.objects.values() for name in vos_object.frames}
        return [t for t in range(min(count, len(self))) if self.frame_name(t) in names]

    def frame_name(self, index: int) -> str:
        """The name of a frame, without suffix."""
        return self._frames[index].stem

    def frame(self, index: int) -> Frame:
        """RGB (H, W, 3) uint8."""
        return read_image(self._frames[index])

    def has_mask(self, index: int) -> bool:
        """Whether a frame has ground truth."""
        return self._mask_file(index).exists()

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """The ground-truth label map (H, W) uint8 with void (255) as background; ``None`` if there is none."""
        if not self.has_mask(index):
            return None
        mask = read_mask(self._mask_file(index))
        return np.where(mask == VOID, 0, mask).astype(np.uint8)

    def input_mask(self, index: int) -> NDArray[np.uint8] | None:
        """The mask (H, W) uint8 of the objects that start on this frame; ``None`` if none does."""
        name = self.frame_name(index)
        labels = [label for label, vos_object in self.objects.items() if vos_object.frames[0] == name]
        mask = self.mask(index) if labels else None
        if mask is None:
            return None
        started = np.where(np.isin(mask, labels), mask, 0).astype(np.uint8)
        return started if started.any() else None

    def _mask_file(self, index: int) -> Path:
        return self._masks / f"{self.frame_name(index)}.png"


def find_sequences(
    root: Path, *, dataset: str = "auto", split: str = "val", resolution: str = "480p"
) -> list[VosSequence]:
    """Finds the sequences of DAVIS or YouTube-VOS, in the order of their list, or all folders with frames and masks.

    Args:
        root: The folder.
        dataset: One of ``DATASETS``; "auto" detects the layout of the folder.
        split: List in ``ImageSets/`` of DAVIS; folder of YouTube-VOS, where "val" is "valid".
        resolution: Folder in ``JPEGImages/`` and ``Annotations/`` of DAVIS.

    Raises:
        FileNotFoundError: The folder has another layout.
    """
    if dataset not in DATASETS:
        raise ValueError(f"there is no data set {dataset}: choose from {', '.join(DATASETS)}")
    meta_file = next((path for path in _meta_files(root, split) if path.exists()), None)
    if dataset == "youtube-vos" or (dataset == "auto" and meta_file):
        if meta_file is None:
            raise FileNotFoundError(f"{root.name} has no meta.json of YouTube-VOS")
        return [
            VosSequence(meta_file.parent / "JPEGImages" / name, meta_file.parent / "Annotations" / name, objects)
            for name, objects in _listed_objects(meta_file).items()
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


def seen_categories(root: Path) -> set[str]:
    """The categories in the training set of YouTube-VOS; none if it is not in the folder."""
    path = root / "train" / "meta.json"
    if not path.exists():
        return set()
    return {
        vos_object.category
        for objects in _listed_objects(path).values()
        for vos_object in objects.values()
        if vos_object.category
    }


def _meta_files(root: Path, split: str) -> list[Path]:
    return [root / {"val": "valid"}.get(split, split) / "meta.json", root / "meta.json"]


def _listed_objects(path: Path) -> dict[str, dict[int, VosObject]]:
    """The objects of every sequence in a ``meta.json`` of YouTube-VOS."""
    try:
        videos = json.loads(path.read_text())["videos"]
        return {
            name: {
                int(label): VosObject(tuple(sorted(entry["frames"])), entry.get("category"))
                for label, entry in video["objects"].items()
            }
            for name, video in sorted(videos.items())
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is no list of YouTube-VOS") from error
