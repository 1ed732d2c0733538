"""A clip, the masks given for it and the last run, as a folder: what a visitor comes back to between two requests."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks import read_mask, write_mask
from mamp.video import VideoReader

Image = NDArray[np.uint8]

_SLIP = 3  # [pixels]; an editor that shows a mask gives it back with edges changed by less


class Project:
    """A folder with the masks given so far and the results of the last run.

    Args:
        folder: Made if it does not exist; nobody else writes into it.
        clip: A video file or a folder of frames, elsewhere.
    """

    def __init__(self, folder: str | Path, clip: str | Path) -> None:
        self.folder, self.clip = Path(folder), Path(clip)
        self._given = self.folder / "given"
        self._given.mkdir(parents=True, exist_ok=True)

    @property
    def given(self) -> dict[int, Path]:
        """The given masks by frame number."""
        return {int(path.stem): path for path in sorted(self._given.glob("*.png"))}

    @property
    def results(self) -> Path | None:
        """Where the last run has written; ``None`` before the first."""
        note = self.folder / "results.txt"
        return self.folder / note.read_text() if note.exists() else None

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

    def give(self, index: int, mask: Image) -> None:
        """Gives a mask (H, W) uint8 for a frame; an empty one takes back what was given."""
        path = self._given / f"{index:06d}.png"
        if mask.any():
            write_mask(path, mask)
        else:
            path.unlink(missing_ok=True)

    def mask(self, index: int, reader: VideoReader | None = None) -> Image | None:
        """The mask of a frame (H, W) uint8: the given one, else that of the last run, else ``None``."""
        if index in self.given:
            return read_mask(self.given[index])
        if self.results is None:
            return None
        path = self.results / "masks" / f"{(reader or VideoReader(self.clip)).name(index)}.png"
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
