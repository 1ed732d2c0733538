"""The result folder of a run: names of its files, and how they are written and read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mamp.files import atomic_path, atomic_zip, same_file, write_atomically
from mamp.masks.label_map import MaskError
from mamp.masks.rle import describe_rle


@dataclass(frozen=True)
class ObjectFrame:
    """One object on one frame: a row of ``objects.csv``.

    Attributes:
        frame: Frame number.
        time: Display time of the frame [s].
        object: Object label.
        area: Mask area [pixels of the clip].
        confidence: Margin over the other labels [0, 1]; see ``MaskTracker.confidence``.
    """

    frame: int
    time: float
    object: int
    area: int
    confidence: float


@dataclass(frozen=True)
class Result:
    """The result folder of a run."""

    folder: Path

    @property
    def overlay(self) -> Path:
        """The clip with objects drawn over it, with its time stamps and audio."""
        return self.folder / "overlay.mp4"

    @property
    def masks_dir(self) -> Path:
        """Folder with a palette PNG for every frame."""
        return self.folder / "masks"

    @property
    def masks_zip(self) -> Path:
        """The masks in one zip file."""
        return self.folder / "masks.zip"

    @property
    def masks_json(self) -> Path:
        """The masks as RLE, in the layout of YouTube-VIS."""
        return self.folder / "masks.json"

    @property
    def objects_csv(self) -> Path:
        """Area and confidence of each object on each frame."""
        return self.folder / "objects.csv"

    @property
    def receipt_json(self) -> Path:
        """Settings, weights, counts and timings of the run."""
        return self.folder / "receipt.json"

    @property
    def input_masks_dir(self) -> Path:
        """The input masks, by frame number."""
        return self.folder / "input_masks"

    @property
    def memory_dir(self) -> Path:
        """Folder with memories of the tracker, from which a run can be resumed; see ``MemoryFiles``."""
        return self.folder / "memory"

    @property
    def files(self) -> list[Path]:
        """The files to download."""
        return [self.overlay, self.masks_zip, self.masks_json, self.objects_csv, self.receipt_json]

    @cached_property
    def receipt(self) -> dict[str, Any]:
        """The receipt.

        Raises:
            MaskError: The folder holds no receipt.
        """
        try:
            document: dict[str, Any] = json.loads(self.receipt_json.read_text())
        except (OSError, ValueError) as error:
            raise MaskError(f"There are no results of a run in {self.folder.name}.") from error
        return document

    @property
    def frames(self) -> int:
        """The number of frames with a mask."""
        return int(self.receipt["masks_written"])

    @property
    def stopped(self) -> bool:
        """Whether the run ended before the end of the clip."""
        return bool(self.receipt["end"] != "complete")

    @property
    def object_frames(self) -> list[ObjectFrame]:
        """The rows of ``objects.csv``, in order of frames; in order of tracking after a killed run."""
        if not self.objects_csv.exists():
            return []
        with self.objects_csv.open(newline="", errors="replace") as file:
            return [object_frame for row in csv.DictReader(file) if (object_frame := _object_frame(row))]

    @property
    def input_masks(self) -> dict[int, Path]:
        """The input masks, by frame number."""
        return numbered(self.input_masks_dir)

    def check_paths(self, mask_files: Iterable[Path], previous: Result | None = None) -> None:
        """Checks the paths of a run before anything is decoded, loaded or changed.

        Args:
            mask_files: The files of the input masks.
            previous: A previous run, to reuse its masks.

        Raises:
            MaskError: A mask file is missing, the results cannot be written into this folder, or ``previous`` is the same
                folder or holds no run.
        """
        missing = next((path for path in mask_files if not path.exists()), None)
        if missing is not None:
            raise MaskError(f"There is no file {missing.name}.")
        self._check_folder()
        if previous is not None:
            if previous.folder.resolve() == self.folder.resolve():
                raise MaskError("A previous run must be in another folder than the new one.")
            _ = previous.receipt

    def check_inputs(self, inputs: Iterable[Path]) -> None:
        """Checks that no input of a run is in the way of its files.

        Args:
            inputs: Files and folders that are read.

        Raises:
            MaskError: An input would be overwritten or deleted.
        """
        lost = same_file(
            inputs, [*self.files, *self._mask_folders, *self._masks, *self._memories, *self._partial_files]
        )
        if lost is not None:
            raise MaskError(f"{lost.name} would be overwritten by the results; choose another output folder.")

    def clear(self) -> None:
        """Deletes the files of a previous run, and no others.

        Raises:
            MaskError: The results cannot be written into this folder.
        """
        self._check_folder()
        for folder in self._mask_folders:
            folder.mkdir(parents=True, exist_ok=True)
        old = self._masks
        if self.receipt_json.exists():
            old += self.files + self._memories + self._partial_files
        for path in old:
            path.unlink(missing_ok=True)

    def _check_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise MaskError(f"{self.folder.name} is a file; choose another name for the folder of results.")
        if self._masks and not self.receipt_json.exists():
            raise MaskError(f"The folder {self.folder.name} holds masks that no run has written; choose another one.")

    @property
    def _mask_folders(self) -> list[Path]:
        return [self.masks_dir, self.input_masks_dir]

    @property
    def _masks(self) -> list[Path]:
        return [path for folder in self._mask_folders for path in folder.glob("*.png")]

    @property
    def _memories(self) -> list[Path]:
        return list(self.memory_dir.glob("*.npz"))

    @property
    def _partial_files(self) -> list[Path]:
        folders = (self.folder, self.memory_dir, *self._mask_folders)
        return [path for folder in folders for path in folder.glob(".*.part")]

    def write_receipt(self, document: Mapping[str, Any]) -> None:
        """Writes ``receipt.json`` atomically."""
        write_atomically(self.receipt_json, json.dumps(document, indent=2) + "\n")

    def write_object_frames(self, object_frames: Iterable[ObjectFrame], *, append: bool = False) -> None:
        """Writes ``objects.csv``, or appends rows to it."""
        rows = (asdict(object_frame) for object_frame in object_frames)
        columns = list(ObjectFrame.__dataclass_fields__)
        if append:
            with self.objects_csv.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerows(rows)
        else:
            with atomic_path(self.objects_csv) as partial, partial.open("w", newline="") as file:
                table = csv.DictWriter(file, columns)
                table.writeheader()
                table.writerows(rows)

    def write_zip(self, masks: Iterable[Path]) -> None:
        """Writes ``masks.zip``."""
        with atomic_zip(self.masks_zip) as archive:
            for path in masks:
                archive.write(path, f"masks/{path.name}")

    def write_json(
        self,
        clip: str,
        size: tuple[int, int],
        frames: Mapping[str, Mapping[int, bytes]],
        names: Mapping[int, str],
    ) -> None:
        """Writes ``masks.json``, one object at a time, so that memory holds the text of one object only.

        Args:
            clip: Name of the clip.
            size: Frame size (H, W) [pixels].
            frames: Run lengths of each frame from ``encode_rle``, by frame name, in order.
            names: Object names by label; other objects are named by their number.
        """
        height, width = size
        labels = sorted({label for run_lengths in frames.values() for label in run_lengths} | set(names))
        video = {"id": 1, "name": clip, "width": width, "height": height, "length": len(frames)}
        head = {
            "info": {"description": "Masks in the layout of YouTube-VIS: a run-length list with one entry a frame"},
            "videos": [{**video, "file_names": list(frames)}],
            "categories": [{"id": label, "name": names.get(label, f"object {label}")} for label in labels],
        }
        with atomic_path(self.masks_json) as partial, partial.open("w") as file:
            file.write(json.dumps(head)[:-1] + ', "annotations": [')
            for number, label in enumerate(labels, 1):
                annotation = {"id": number, "video_id": 1, "category_id": label, "iscrowd": 0}
                annotation |= {"height": height, "width": width, "length": len(frames)}
                file.write((", " if number > 1 else "") + json.dumps(annotation | _track(label, size, frames)))
            file.write("]}")


def _object_frame(row: Mapping[str, str]) -> ObjectFrame | None:
    """A row of ``objects.csv``; ``None`` if it is incomplete, as the last one after a killed run may be."""
    try:
        return ObjectFrame(
            int(row["frame"]), float(row["time"]), int(row["object"]), int(row["area"]), float(row["confidence"])
        )
    except (KeyError, TypeError, ValueError):
        return None


def _track(label: int, size: tuple[int, int], frames: Mapping[str, Mapping[int, bytes]]) -> dict[str, list[Any]]:
    """Segmentations, boxes and areas of an object on all frames; ``None`` on frames without it."""
    track: dict[str, list[Any]] = {"segmentations": [], "bboxes": [], "areas": []}
    for run_lengths in frames.values():
        described = describe_rle(run_lengths[label], size) if label in run_lengths else {}
        for name, key in (("segmentations", "segmentation"), ("bboxes", "bbox"), ("areas", "area")):
            track[name].append(described.get(key))
    return track


def numbered(folder: Path) -> dict[int, Path]:
    """The masks in a folder with numbers as names, by frame number."""
    return {int(path.stem): path for path in sorted(folder.glob("*.png"))}
