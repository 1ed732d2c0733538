"""The masks that a run has made so far: on disk as they come, in memory as what its tables are made of."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamp.masks.mask_io import read_mask, write_mask
from mamp.masks.rle import describe_rle, encode_rle, unpack_rle
from mamp.runs.results import ObjectFrame, Result
from mamp.video.reader import VideoReader

Mask = NDArray[np.uint8]


class MaskStore(Collection[int]):
    """The frames that have a mask, in the folder of a run.

    A frame is in it once its mask is on disk. What is held of it are run lengths and confidences, about a kilobyte.

    Args:
        result: The folder.
        reader: The clip.
    """

    def __init__(self, result: Result, reader: VideoReader) -> None:
        self._result, self._reader = result, reader
        self._size, self._total = (reader.info.height, reader.info.width), reader.count()
        self._objects: dict[int, bytes] = {}  # run lengths of a frame's objects, packed
        self._confidence: dict[int, NDArray[np.float64]] = {}  # of an object by frame; NaN: not asked for

    def __contains__(self, index: object) -> bool:
        return index in self._objects

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._objects))

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def last(self) -> int:
        """The last frame that has a mask; -1 where none has."""
        return max(self._objects, default=-1)

    def mask(self, index: int) -> Mask:
        """The label map (H, W) uint8 of a frame that has one."""
        return read_mask(self._path(index))

    def keep(self, index: int, mask: Mask, confidence: Mapping[int, float]) -> None:
        """Writes the mask of a frame, and its rows of ``objects.csv``.

        Args:
            index: The frame.
            mask: Its label map (H, W) uint8, of the clip's size.
            confidence: By label, of the objects that were looked for; see ``MaskTracker.confidence``.
        """
        write_mask(self._path(index), mask)
        self._objects[index] = encode_rle(mask)
        self._note(index, confidence)
        self._result.write_object_frames(self._object_frames_on(index), more=True)

    def reuse_frames(self, previous: Result, frames: Collection[int]) -> None:
        """Copies the masks of some frames of an earlier run, and what it says of them."""
        for index in sorted(frames):
            source = previous.masks_dir / self._path(index).name
            self._objects[index] = encode_rle(read_mask(source))
            shutil.copyfile(source, self._path(index))
        for sighting in previous.object_frames:
            if sighting.frame in frames:
                self._note(sighting.frame, {sighting.object: sighting.confidence})

    def write_object_frames(self) -> None:
        """Writes ``objects.csv`` in the order of frames."""
        self._result.write_object_frames(sighting for index in self for sighting in self._object_frames_on(index))

    def close(self, names: Mapping[int, str]) -> None:
        """Writes what is made of all masks: ``objects.csv``, ``masks.zip`` and ``masks.json``.

        Args:
            names: Of the objects, by label.
        """
        for index in set(range(self._total)) - set(self):  # a run may end between writing a mask and taking note of it
            self._path(index).unlink(missing_ok=True)
        self.write_object_frames()
        self._result.write_zip(self._path(index) for index in self)
        by_name = {self._reader.name(index): self._objects[index] for index in self}
        self._result.write_json(self._reader.path.name, self._size, by_name, names)

    def _path(self, index: int) -> Path:
        return self._result.masks_dir / f"{self._reader.name(index)}.png"

    def _note(self, index: int, confidence: Mapping[int, float]) -> None:
        for label, value in confidence.items():
            if label not in self._confidence:
                self._confidence[label] = np.full(self._total, np.nan)
            self._confidence[label][index] = value

    def _object_frames_on(self, index: int) -> Iterator[ObjectFrame]:
        found = unpack_rle(self._objects[index])
        confidence = {label: row[index] for label, row in self._confidence.items() if not np.isnan(row[index])}
        for label in sorted({*found, *confidence}):
            area = describe_rle(found[label], self._size)["area"] if label in found else 0
            time_shown = round(float(self._reader.time(index)), 6)
            yield ObjectFrame(index, time_shown, label, area, round(float(confidence.get(label, 0.0)), 4))
