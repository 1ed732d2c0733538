"""The masks of a run so far: images on disk, and in memory the run lengths and confidences for its tables."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import read_mask, write_mask
from mamp.masks.rle import describe_rle, encode_rle
from mamp.runs.results import ObjectFrame, Result
from mamp.video.reader import VideoReader

Mask = NDArray[np.uint8]


class MaskStore(Collection[int]):
    """The frames with a mask, in the result folder of a run.

    A frame is in the store once its mask is on disk. Memory holds its run lengths and confidences, about a kilobyte.

    Args:
        result: The result folder.
        reader: The clip.
    """

    def __init__(self, result: Result, reader: VideoReader) -> None:
        self._result, self._reader = result, reader
        self._size, self._total = (reader.info.height, reader.info.width), reader.count()
        self._run_lengths: dict[int, dict[int, bytes]] = {}  # by frame and label
        self._confidence: dict[int, NDArray[np.float64]] = {}  # by object and frame; NaN: not tracked

    def __contains__(self, index: object) -> bool:
        return index in self._run_lengths

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._run_lengths))

    def __len__(self) -> int:
        return len(self._run_lengths)

    @property
    def last(self) -> int:
        """The last frame with a mask; -1 without masks."""
        return max(self._run_lengths, default=-1)

    def mask(self, index: int) -> Mask:
        """The label map (H, W) uint8 of a frame on disk.

        Raises:
            MaskError: There is none, or it is damaged.
        """
        if not self._path(index).exists():
            raise MaskError(f"The run has no mask of frame {index}.")
        return read_mask(self._path(index))

    def keep(self, index: int, mask: Mask, confidence: Mapping[int, float]) -> None:
        """Writes the mask of a frame, and its rows in ``objects.csv``.

        Args:
            index: Frame number.
            mask: Label map (H, W) uint8 of the clip's size.
            confidence: Confidence of the tracked objects by label; see ``MaskTracker.confidence``.
        """
        counts = encode_rle(mask)
        self._set_confidence(index, confidence)
        # Before the mask: a frame that a killed run leaves with a mask has its confidences too.
        self._result.write_object_frames(self._object_frames_on(index, counts), append=True)
        write_mask(self._path(index), mask)
        self._run_lengths[index] = counts

    def reuse_frames(self, previous: Result, frames: Collection[int]) -> None:
        """Copies masks and confidences of some frames from a previous run, but for those that are missing or damaged."""
        confidence: dict[int, dict[int, float]] = {}
        for row in previous.object_frames:
            confidence.setdefault(row.frame, {})[row.object] = row.confidence
        for index in sorted(confidence.keys() & set(frames)):
            source = previous.masks_dir / self._path(index).name
            with suppress(MaskError):
                mask = read_mask(source)
                if mask.shape == self._size:
                    shutil.copyfile(source, self._path(index))
                    self._run_lengths[index] = encode_rle(mask)
                    self._set_confidence(index, confidence[index])

    def write_object_frames(self) -> None:
        """Writes ``objects.csv`` in order of frames."""
        self._result.write_object_frames(
            object_frame for index in self for object_frame in self._object_frames_on(index, self._run_lengths[index])
        )

    def close(self, names: Mapping[int, str]) -> None:
        """Writes the files about all masks: ``objects.csv``, ``masks.zip`` and ``masks.json``.

        Args:
            names: Object names by label.
        """
        for index in set(range(self._total)) - set(self):  # written, but not stored: the run ended between
            self._path(index).unlink(missing_ok=True)
        self.write_object_frames()
        self._result.write_zip(self._path(index) for index in self)
        by_name = {self._reader.name(index): self._run_lengths[index] for index in self}
        self._result.write_json(self._reader.path.name, self._size, by_name, names)

    def _path(self, index: int) -> Path:
        return self._result.masks_dir / f"{self._reader.name(index)}.png"

    def _set_confidence(self, index: int, confidence: Mapping[int, float]) -> None:
        for label, value in confidence.items():
            if label not in self._confidence:
                self._confidence[label] = np.full(self._total, np.nan)
            self._confidence[label][index] = value

    def _object_frames_on(self, index: int, counts: Mapping[int, bytes]) -> Iterator[ObjectFrame]:
        confidence = {label: row[index] for label, row in self._confidence.items() if not np.isnan(row[index])}
        for label in sorted({*counts, *confidence}):
            area = describe_rle(counts[label], self._size)["area"] if label in counts else 0
            display_time = round(float(self._reader.time(index)), 6)
            yield ObjectFrame(index, display_time, label, area, round(float(confidence.get(label, 0.0)), 4))
