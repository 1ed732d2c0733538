"""A project: a folder with the input masks of a clip and the results of the last run; and its project file."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.files import atomic_zip
from mamp.masks.input_masks import StoredMask, read_input_masks
from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import MaskFile, read_mask, write_mask
from mamp.masks.rle import is_rle_file, read_rle_file
from mamp.runs.incremental import clip_sha256
from mamp.runs.results import Result, numbered
from mamp.settings import Settings
from mamp.video.reader import VideoReader
from webapp.archive import ArchiveError, read_archive
from webapp.languages import message

Image = NDArray[np.uint8]

PROJECT_FILE = "project.zip"
_MAX_NAME_LENGTH = 60
_MAX_MASK_JSON_BYTES = 1 << 24  # of run lengths; Python's objects take twenty times the memory of their text
_MAX_JSON_BYTES = 1 << 20  # of the project file's text


@dataclass(frozen=True)
class ProjectFile:
    """Content of a project file.

    Attributes:
        clip: Name of the clip.
        clip_sha256: SHA-256 of the clip, which is not in the file.
        masks: Input masks by frame number, as PNG files.
        settings: Settings of the run.
        names: Object names by label.
    """

    clip: str
    clip_sha256: str
    masks: dict[int, bytes]
    settings: Settings
    names: dict[int, str]


_ENTRIES = re.compile(r"project\.json|(?:input_masks|given)/\d{6,9}\.png")


def read_project_file(path: str | Path) -> ProjectFile:
    """Reads a project file.

    Raises:
        MaskError: The file is no project file or too large; the message is one sentence for the user.
    """
    path = Path(path)
    try:
        entries = read_archive(path, _ENTRIES)
        if len(entries["project.json"]) > _MAX_JSON_BYTES:
            raise ArchiveError("project.json is too large", too_large=True)
        document = json.loads(entries["project.json"])
        folder, key = ("given", "masks_given") if "masks_given" in document else ("input_masks", "input_masks")
        masks = {int(number): entries[f"{folder}/{int(number):06d}.png"] for number in document[key]}
        settings = _settings(document["settings"])
        names = {int(label): str(name) for label, name in document["names"].items()}
        if not all(0 < label < 256 for label in names):
            raise ArchiveError("the names are not those of objects")
        return ProjectFile(str(document["clip"]), str(document["clip_sha256"]), masks, settings, names)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ArchiveError) and error.too_large:
            raise MaskError(message("project.too_large", name=path.name)) from error
        raise MaskError(message("project.unknown", name=path.name)) from error


# Names and values of version 0.1.
_OLD_SETTINGS = {"edges": "upsampling", "discriminant": "discriminant_weight", "adjustment": "logit_adjustment"}
_OLD_UPSAMPLINGS = {"image": "guided", "votes": "bilinear"}


def _settings(document: Mapping[str, Any]) -> Settings:
    """The settings of a project file, also of one that version 0.1 wrote."""
    values: dict[str, Any] = {
        "discriminant_weight": 0,
        "logit_adjustment": 0,
    }  # what was in force before a file could name them
    values |= {_OLD_SETTINGS.get(name, name): value for name, value in document.items()}
    values["upsampling"] = _OLD_UPSAMPLINGS.get(values["upsampling"], values["upsampling"])
    return Settings.from_dict(values)


class Project:
    """A folder with the input masks and the results of the last run.

    Args:
        folder: An existing folder, written by this project only.
        clip: Video file or folder of frames.
    """

    def __init__(self, folder: str | Path, clip: str | Path) -> None:
        self.folder, self.clip = Path(folder), Path(clip)
        self._input_masks = self.folder / "input_masks"

    @property
    def input_masks(self) -> dict[int, Path]:
        """Input mask files by frame number."""
        return numbered(self._input_masks)

    @property
    def names(self) -> dict[int, str]:
        """Names by label, of the objects that have one."""
        file = self.folder / "names.json"
        return {int(label): name for label, name in json.loads(file.read_text()).items()} if file.exists() else {}

    def rename(self, names: Mapping[int, str]) -> None:
        """Sets object names by label; an empty name removes the current one."""
        left = {
            label: name.strip()[:_MAX_NAME_LENGTH] for label, name in {**self.names, **names}.items() if name.strip()
        }
        (self.folder / "names.json").write_text(json.dumps(left))

    @property
    def result(self) -> Result | None:
        """Result of the last run; ``None`` before the first."""
        pointer = self.folder / "results.txt"
        return Result(self.folder / pointer.read_text()) if pointer.exists() else None

    @property
    def file(self) -> Path:
        """The project file, which ``save`` writes."""
        return self.folder / PROJECT_FILE

    @property
    def stop_file(self) -> Path:
        """File that makes the run stop, even in another process, once it exists."""
        return self.folder / "stop"

    def should_stop(self) -> bool:
        """Whether a run has to stop: it was asked to, or the project was removed."""
        return self.stop_file.exists() or not self.folder.exists()

    def new_results_folder(self) -> Path:
        """Creates an empty folder for a run; see ``set_latest_results``."""
        return Path(tempfile.mkdtemp(prefix="run-", dir=self.folder))

    def set_latest_results(self, results: Path) -> None:
        """Makes a folder the result of the last run, and removes the folders of other runs."""
        (self.folder / "results.txt").write_text(results.name)
        for other in self.folder.glob("run-*"):
            if other != results:
                shutil.rmtree(other, ignore_errors=True)

    def save(self, settings: Settings) -> Path:
        """Writes the project file: input masks, settings, object names, and the name and hash of the clip."""
        document = {
            "clip": self.clip.name,
            "clip_sha256": clip_sha256(self.clip),
            "input_masks": list(self.input_masks),
            "settings": settings.to_dict(),
            "names": self.names,
        }
        with atomic_zip(self.file) as archive:
            archive.writestr("project.json", json.dumps(document, indent=2) + "\n")
            for mask in self.input_masks.values():
                archive.write(mask, f"input_masks/{mask.name}")
        return self.file

    def load(self, file: ProjectFile) -> None:
        """Replaces masks and names by those of a project file.

        Raises:
            MaskError: The project file is for another clip, or one of its masks does not fit the clip.
        """
        if file.clip_sha256 != clip_sha256(self.clip):
            raise MaskError(message("project.other_clip", clip=file.clip))
        reader = VideoReader(self.clip)
        size, total = (reader.info.height, reader.info.width), reader.count()
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for index, png in file.masks.items():
                path = Path(folder) / f"{index:06d}.png"
                path.write_bytes(png)
                if not 0 <= index < total or not read_mask(path, size).any():
                    raise MaskError(message("project.mask_misfit", frame=index))
            for old in self.input_masks.values():
                old.unlink()
            (self.folder / "origins.json").unlink(missing_ok=True)
            self._input_masks.mkdir(exist_ok=True)
            for new in numbered(Path(folder)).values():
                write_mask(self._input_masks / new.name, read_mask(new, size))
        self.rename(dict.fromkeys(self.names, "") | file.names)

    def read_mask_files(self, paths: Sequence[str | Path], index: int) -> dict[int, MaskFile]:
        """Reads mask files for a frame: its mask by frame number; JSON of a clip has masks of other frames as well.

        Raises:
            MaskError: A file cannot be read, does not fit the clip, or contains no object.
        """
        reader = VideoReader(self.clip)
        info, files = reader.info, [Path(path) for path in paths]
        rle_files = [path for path in files if is_rle_file(path)]
        for path in rle_files:
            if path.stat().st_size > _MAX_MASK_JSON_BYTES:
                raise MaskError(message("masks.file_too_large", name=path.name, size=_MAX_MASK_JSON_BYTES >> 20))
        several = rle_files == files and len(files) == 1 and len(read_rle_file(files[0]).frames) > 1
        sources = files[0] if several else {index: files}
        return dict(read_input_masks(sources, (info.height, info.width), reader.count(), float(info.pixel_aspect)))

    def set_mask(self, index: int, mask: Image | MaskFile) -> None:
        """Sets the input mask of a frame, (H, W) uint8 or as it was read from a file; an empty mask removes it."""
        file = mask if isinstance(mask, MaskFile) else MaskFile(mask, "painted")
        path = self._input_masks / f"{index:06d}.png"
        origins = self._origins
        origins.pop(str(index), None)
        if file.mask.any():
            self._input_masks.mkdir(exist_ok=True)
            write_mask(path, file.mask)
            origins[str(index)] = {"rule": file.rule, "notes": file.notes}
        else:
            path.unlink(missing_ok=True)
        (self.folder / "origins.json").write_text(json.dumps(origins))

    @property
    def mask_sources(self) -> dict[int, Path | StoredMask]:
        """Input masks by frame number, with how they were read if that is known."""
        origins = self._origins
        return {
            index: StoredMask(path, origins[str(index)]["rule"], tuple(origins[str(index)]["notes"]))
            if str(index) in origins
            else path
            for index, path in self.input_masks.items()
        }

    @property
    def _origins(self) -> dict[str, Any]:
        """How each input mask was read, by frame number."""
        file = self.folder / "origins.json"
        origins: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return origins

    def input_mask(self, index: int) -> Image | None:
        """Input mask of a frame (H, W) uint8; ``None`` if it has none."""
        path = self.input_masks.get(index)
        return None if path is None else read_mask(path)

    def tracked_mask(self, index: int, reader: VideoReader | None = None) -> Image | None:
        """The last run's mask of a frame (H, W) uint8; ``None`` if there is none."""
        if self.result is None:
            return None
        path = self.result.masks_dir / f"{(reader or VideoReader(self.clip)).name(index)}.png"
        return read_mask(path) if path.exists() else None

    def mask(self, index: int, reader: VideoReader | None = None) -> Image | None:
        """Mask of a frame (H, W) uint8: the input mask, else the last run's mask, else ``None``."""
        mask = self.input_mask(index)
        return self.tracked_mask(index, reader) if mask is None else mask

    def remove(self) -> None:
        """Removes the project folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
