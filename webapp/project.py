"""A clip, the masks given for it and the last run, as a folder: what a visitor comes back to between two requests."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import read_mask, write_mask
from mamp.runs.incremental import clip_sha256
from mamp.runs.results import Result, numbered
from mamp.settings import FLOWS, Settings
from mamp.tracker import MOTIONS, UPSAMPLINGS
from mamp.video.reader import VideoReader

Image = NDArray[np.uint8]

_SLIP = 3  # [pixels]; an editor that shows a mask gives it back with edges changed by less
_OTHER = 1.0  # mean difference [0, 255] from which on two pictures are not the same frame
_PREFIX = "mamp-session-"
_LONGEST_NAME = 60
_MAX_BYTES = 1 << 26  # of a project file, unpacked


@dataclass(frozen=True)
class ProjectFile:
    """What a project file holds.

    Attributes:
        clip: Name of the clip.
        clip_sha256: Its SHA-256: the clip itself is not in the file.
        masks: The given masks as PNG, by frame number.
        settings: Of the run.
        names: Of the objects, by label.
    """

    clip: str
    clip_sha256: str
    masks: dict[int, bytes]
    settings: Settings
    names: dict[int, str]


# What zipfile and json raise of a damaged, encrypted or foreign file.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
    *(KeyError, ValueError, TypeError, AttributeError),
)


def read_project_file(path: str | Path) -> ProjectFile:
    """Reads a project file.

    Raises:
        MaskError: It is none, or too large; the text is one sentence for the user.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise MaskError(f"{path.name} is too large for a project file.")
            document = json.loads(archive.read("project.json"))
            folder, key = ("given", "masks_given") if "masks_given" in document else ("input_masks", "input_masks")
            masks = {int(number): archive.read(f"{folder}/{int(number):06d}.png") for number in document[key]}
        settings = _settings(document["settings"])
        names = {int(label): str(name) for label, name in document["names"].items()}
        clip, fingerprint = str(document["clip"]), str(document["clip_sha256"])
        return ProjectFile(clip, fingerprint, masks, settings, names)
    except MaskError:
        raise
    except _UNREADABLE as error:
        raise MaskError(f"{path.name} is no project file of this program.") from error


# Version 0.1 had other names for some settings and their values.
_OLD_NAMES = {"edges": "upsampling", "discriminant": "discriminant_weight", "adjustment": "logit_adjustment"}
_OLD_UPSAMPLINGS = {"image": "guided", "votes": "bilinear"}


def _settings(document: Mapping[str, Any]) -> Settings:
    """Settings from JSON, each of its type; raises what reading raises where they are not."""
    document = {_OLD_NAMES.get(name, name): value for name, value in document.items()}
    flow, motion, upsampling, top_k, weights = (
        document[name] for name in ("flow", "motion", "upsampling", "top_k", "weights")
    )
    upsampling = _OLD_UPSAMPLINGS.get(upsampling, upsampling)
    if flow not in FLOWS or motion not in MOTIONS or upsampling not in UPSAMPLINGS:
        raise ValueError(f"there is no flow {flow}, motion {motion} or upsampling {upsampling}")
    return Settings(
        short_side=int(document["short_side"]),
        flow=flow,
        motion=motion,
        upsampling=upsampling,
        discriminant_weight=float(document.get("discriminant_weight", 0)),  # older files have none
        logit_adjustment=float(document.get("logit_adjustment", 0)),
        device=str(document["device"]),
        top_k=None if top_k is None else int(top_k),
        radius=int(document["radius"]),
        long_term=tuple(int(frame) for frame in document["long_term"]),
        short_term=tuple(int(age) for age in document["short_term"]),
        weights=None if weights is None else str(weights),
        raft_weights=str(document["raft_weights"]),
    )


class Project:
    """A folder with the masks given so far and the results of the last run.

    Args:
        folder: Made if it does not exist; nobody else writes into it.
        clip: A video file or a folder of frames, elsewhere.
    """

    def __init__(self, folder: str | Path, clip: str | Path) -> None:
        self.folder, self.clip = Path(folder), Path(clip)
        self._input_masks = self.folder / "input_masks"
        self._input_masks.mkdir(parents=True, exist_ok=True)

    @property
    def input_masks(self) -> dict[int, Path]:
        """The input masks by frame number."""
        return numbered(self._input_masks)

    @property
    def names(self) -> dict[int, str]:
        """The names of the objects that have one, by label."""
        note = self.folder / "names.json"
        return {int(label): name for label, name in json.loads(note.read_text()).items()} if note.exists() else {}

    def rename(self, names: Mapping[int, str]) -> None:
        """Gives objects names; an empty one takes the name back."""
        left = {label: name.strip()[:_LONGEST_NAME] for label, name in {**self.names, **names}.items() if name.strip()}
        (self.folder / "names.json").write_text(json.dumps(left))

    @property
    def result(self) -> Result | None:
        """What the last run has written; ``None`` before the first."""
        note = self.folder / "results.txt"
        return Result(self.folder / note.read_text()) if note.exists() else None

    @property
    def stop_note(self) -> Path:
        """A file that asks the run to stop, also from another process."""
        return self.folder / "stop"

    def new_results(self) -> Path:
        """An empty folder for a run; ``keep`` makes it the last one."""
        return Path(tempfile.mkdtemp(prefix="run-", dir=self.folder))

    def keep(self, results: Path) -> None:
        """Makes a run the last one, and removes those before it."""
        (self.folder / "results.txt").write_text(results.name)
        for other in self.folder.glob("run-*"):
            if other != results:
                shutil.rmtree(other, ignore_errors=True)

    def save(self, settings: Settings) -> Path:
        """Writes the project file: the given masks, the settings, the names, and which clip they are for."""
        path = self.folder / "project.zip"
        document = {
            "clip": self.clip.name,
            "clip_sha256": clip_sha256(self.clip),
            "input_masks": list(self.input_masks),
            "settings": asdict(settings),
            "names": self.names,
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("project.json", json.dumps(document, indent=2) + "\n")
            for mask in self.input_masks.values():
                archive.write(mask, f"input_masks/{mask.name}")
        return path

    def load(self, file: ProjectFile) -> None:
        """Takes the masks and names of a project file instead of those given so far.

        Raises:
            MaskError: It is for another clip, or one of its masks does not fit.
        """
        if file.clip_sha256 != clip_sha256(self.clip):
            raise MaskError(f"This project file is for another clip, {file.clip}.")
        reader = VideoReader(self.clip)
        size, total = (reader.info.height, reader.info.width), reader.count()
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for index, png in file.masks.items():
                path = Path(folder) / f"{index:06d}.png"
                path.write_bytes(png)
                if not 0 <= index < total or not read_mask(path, size).any():
                    raise MaskError(f"The project file's mask of frame {index} does not fit the clip.")
            for old in self.input_masks.values():
                old.unlink()
            for new in numbered(Path(folder)).values():
                write_mask(self._input_masks / new.name, read_mask(new, size))
        self.rename(dict.fromkeys(self.names, "") | file.names)

    def give(self, index: int, mask: Image) -> None:
        """Gives a mask (H, W) uint8 for a frame; an empty one takes back what was given."""
        path = self._input_masks / f"{index:06d}.png"
        if mask.any():
            write_mask(path, mask)
        else:
            path.unlink(missing_ok=True)

    def mask(self, index: int, reader: VideoReader | None = None) -> Image | None:
        """The mask of a frame (H, W) uint8: the given one, else that of the last run, else ``None``."""
        if index in self.input_masks:
            return read_mask(self.input_masks[index])
        if self.result is None:
            return None
        path = self.result.masks_dir / f"{(reader or VideoReader(self.clip)).name(index)}.png"
        return read_mask(path) if path.exists() else None

    def paint(self, index: int, mask: Image) -> bool:
        """Takes what an editor gives back for a frame; says whether that changed what is given.

        A mask that was only looked at is not given: an editor's answer counts where it differs from what it was shown by
        more than a line.
        """
        shown = self.mask(index)
        if not mask.any():  # also what an editor says that has not shown the mask yet
            return False
        if shown is not None:
            different = (mask != shown).astype(np.uint8)
            if not cv2.morphologyEx(different, cv2.MORPH_OPEN, np.ones((_SLIP, _SLIP), np.uint8)).any():
                return False
        self.give(index, mask)
        return True

    def remove(self) -> None:
        """Removes everything but the clip."""
        shutil.rmtree(self.folder, ignore_errors=True)


def new_project_folder(root: str | Path, *, keep_seconds: float) -> Path:
    """Makes an unguessable folder under ``root``, and removes those that were last used longer ago than ``keep_seconds``.

    Whoever owns a folder removes it when it is done; this is for tabs that were never closed and servers that were killed.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    for old in root.glob(f"{_PREFIX}*"):
        if time.time() - _last_used(old) > keep_seconds:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))


def remove_project_folders(root: str | Path, *, patience: float = 5.0) -> None:
    """Removes the folders that this process has made under ``root``: for a server's end.

    A run that goes on there fails at its next file; until then, ``patience`` [s] at most, removing is tried again.
    """
    deadline = time.monotonic() + patience
    while folders := list(Path(root).glob(f"{_PREFIX}{os.getpid()}-*")):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _last_used(folder: Path) -> float:
    """When something was last written into a folder or a run in it."""
    return max((path.stat().st_mtime for path in (folder, *folder.iterdir()) if path.exists()), default=0.0)


def same_frame(shown: Image, frame: Image) -> bool:
    """Whether an editor's background (H, W, 3 or 4) uint8 is a frame (H, W, 3): browsers change colours a little."""
    return shown.shape[:2] == frame.shape[:2] and float(np.abs(shown[..., :3].astype(int) - frame).mean()) < _OTHER
