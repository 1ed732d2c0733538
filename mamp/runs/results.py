"""What a run leaves behind: the names of its files, and how they are written and read."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mamp.files import atomic_path, write_atomically
from mamp.masks.label_map import MaskError
from mamp.masks.rle import describe_rle, unpack_rle


@dataclass(frozen=True)
class ObjectFrame:
    """One object on one frame: a row of ``objects.csv``.

    Attributes:
        frame: Number of the frame.
        time: When it is shown [s].
        object: The object's label.
        area: Of its mask [pixels of the clip].
        confidence: By how much of the vote it is ahead [0, 1]; see ``MaskTracker.confidence``.
    """

    frame: int
    time: float
    object: int
    area: int
    confidence: float


@dataclass(frozen=True)
class Result:
    """The folder of a run."""

    folder: Path

    @property
    def overlay(self) -> Path:
        """The clip with the objects laid over it, with its time stamps and sound."""
        return self.folder / "overlay.mp4"

    @property
    def masks_dir(self) -> Path:
        """A palette PNG for every frame."""
        return self.folder / "masks"

    @property
    def masks_zip(self) -> Path:
        """The same in one file."""
        return self.folder / "masks.zip"

    @property
    def masks_json(self) -> Path:
        """The same as run lengths, in the layout of YouTube-VIS."""
        return self.folder / "masks.json"

    @property
    def objects_csv(self) -> Path:
        """Area and confidence of each object on each frame."""
        return self.folder / "objects.csv"

    @property
    def receipt_json(self) -> Path:
        """What was read, done and written."""
        return self.folder / "receipt.json"

    @property
    def input_masks_dir(self) -> Path:
        """The input masks, by frame number."""
        return self.folder / "input_masks"

    @property
    def files(self) -> list[Path]:
        """What is worth taking away."""
        return [self.overlay, self.masks_zip, self.masks_json, self.objects_csv, self.receipt_json]

    @cached_property
    def receipt(self) -> dict[str, Any]:
        """The receipt.

        Raises:
            MaskError: No run has ended in this folder.
        """
        try:
            document: dict[str, Any] = json.loads(self.receipt_json.read_text())
        except (OSError, ValueError) as error:
            raise MaskError(f"There are no results of a run in {self.folder.name}.") from error
        return document

    @property
    def frames(self) -> int:
        """The number of frames that have a mask."""
        return int(self.receipt["masks_written"])

    @property
    def stopped(self) -> bool:
        """Whether the run ended before the clip did."""
        return bool(self.receipt["end"] != "complete")

    @property
    def object_frames(self) -> list[ObjectFrame]:
        """The rows of ``objects.csv``: in the order of frames, or as they came where the run was killed."""
        if not self.objects_csv.exists():
            return []
        with self.objects_csv.open(newline="") as file:
            return [
                ObjectFrame(
                    int(row["frame"]),
                    float(row["time"]),
                    int(row["object"]),
                    int(row["area"]),
                    float(row["confidence"]),
                )
                for row in csv.DictReader(file)
                if all(row.values())  # a killed run may end in half a row
            ]

    @property
    def input_masks(self) -> dict[int, Path]:
        """The input masks, by frame number."""
        return numbered(self.input_masks_dir)

    def clear(self) -> None:
        """Takes away what a former run has left, and never anything else.

        Raises:
            MaskError: There are masks that no run has written.
        """
        self.masks_dir.mkdir(parents=True, exist_ok=True)
        self.input_masks_dir.mkdir(exist_ok=True)
        old = [path for folder in (self.masks_dir, self.input_masks_dir) for path in folder.glob("*.png")]
        if old and not self.receipt_json.exists():
            raise MaskError(f"The folder {self.folder.name} holds masks that no run has written; choose another one.")
        if self.receipt_json.exists():
            halves = [
                path
                for folder in (self.folder, self.masks_dir, self.input_masks_dir)
                for path in folder.glob(".*.part")
            ]
            old += self.files + halves
        for path in old:
            path.unlink(missing_ok=True)

    def write_receipt(self, document: Mapping[str, Any]) -> None:
        """Writes ``receipt.json``, whole or not at all."""
        write_atomically(self.receipt_json, json.dumps(document, indent=2) + "\n")

    def write_object_frames(self, object_frames: Iterable[ObjectFrame], *, more: bool = False) -> None:
        """Writes ``objects.csv``, or ``more`` rows to what is written."""
        rows = (asdict(sighting) for sighting in object_frames)
        columns = list(ObjectFrame.__dataclass_fields__)
        if more:
            with self.objects_csv.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerows(rows)
        else:
            with atomic_path(self.objects_csv) as partial, partial.open("w", newline="") as file:
                table = csv.DictWriter(file, columns)
                table.writeheader()
                table.writerows(rows)

    def write_zip(self, masks: Iterable[Path]) -> None:
        """Writes ``masks.zip``."""
        with (
            atomic_path(self.masks_zip) as partial,
            zipfile.ZipFile(partial, "w") as file,
        ):  # PNGs are compressed already
            for path in masks:
                file.write(path, f"masks/{path.name}")

    def write_json(
        self,
        clip: str,
        size: tuple[int, int],
        frames: Mapping[str, bytes],
        names: Mapping[int, str],
    ) -> None:
        """Writes ``masks.json``, piece by piece: of a long clip it is too large to be held.

        Args:
            clip: Name of the clip.
            size: Of its frames (H, W).
            frames: By the frame's name, in order: the run lengths of the objects on it, as ``encode_rle`` gives them.
            names: Of the objects; others are called by their number.
        """
        height, width = size
        labels = sorted({label for packed in frames.values() for label in unpack_rle(packed)} | set(names))
        video = {"id": 1, "name": clip, "width": width, "height": height, "length": len(frames)}
        head = {
            "info": {"description": "Masks in the layout of YouTube-VIS: a run-length list with one entry a frame"},
            "videos": [{**video, "file_names": list(frames)}],
            "categories": [{"id": label, "name": names.get(label, f"object {label}")} for label in labels],
        }
        with atomic_path(self.masks_json) as partial, partial.open("w") as file:
            file.write(json.dumps(head)[:-1] + ', "annotations": [')
            for number, label in enumerate(labels, 1):
                about = {"id": number, "video_id": 1, "category_id": label, "iscrowd": 0}
                about |= {"height": height, "width": width, "length": len(frames)}
                file.write((", " if number > 1 else "") + json.dumps(about)[:-1])
                counts = [unpack_rle(packed).get(label) for packed in frames.values()]
                for name, part in (("segmentations", "segmentation"), ("bboxes", "bbox"), ("areas", "area")):
                    file.write(f', "{name}": [')
                    for index, run_lengths in enumerate(counts):
                        found = None if run_lengths is None else describe_rle(run_lengths, size)[part]
                        file.write((", " if index else "") + json.dumps(found))
                    file.write("]")
                file.write("}")
            file.write("]}")


def numbered(folder: Path) -> dict[int, Path]:
    """The masks in a folder that are named by the number of their frame."""
    return {int(path.stem): path for path in sorted(folder.glob("*.png"))}
