"""True masks from a visitor: reading them by frame, and the scores of a result against them."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mamp.evaluation.davis_metrics import contour_accuracy, region_similarity
from mamp.masks.label_map import VOID, MaskError, objects_in
from mamp.masks.mask_io import read_mask
from mamp.runs.results import Result
from mamp.video.reader import VideoReader
from webapp.archive import ArchiveError, read_archive
from webapp.languages import message

_ENTRIES = re.compile(r"(?:[^/\0]+/)*[^/\0]+\.(?:png|PNG)")
_MAX_FILE_BYTES = 1 << 24


@dataclass
class TrueScores:
    """Scores of a result against true masks.

    Attributes:
        overlap: J by object and frame [0, 1].
        contour: F by object and frame [0, 1].
    """

    overlap: dict[int, dict[int, float]] = field(default_factory=dict)
    contour: dict[int, dict[int, float]] = field(default_factory=dict)

    def means(self, label: int) -> tuple[float, float]:
        """Mean J and F of an object as DAVIS counts them: without the first and the last frame, if there are others."""
        frames = sorted(self.overlap[label])
        frames = frames[1:-1] or frames
        J, F = (float(np.mean([values[label][t] for t in frames])) for values in (self.overlap, self.contour))
        return J, F


def read_true_masks(paths: Sequence[str | Path], reader: VideoReader, folder: Path) -> dict[int, Path]:
    """Finds the mask files of a clip's frames, by their names: those of its mask files, or the frame's number.

    Args:
        paths: PNG files, or zip files of them. Folders in a zip do not matter.
        reader: The clip.
        folder: An existing folder for the files of zips.

    Returns:
        Mask files by frame number.

    Raises:
        MaskError: A file is of another kind, damaged or too large, or no name is that of a frame, or two are.
    """
    names = {reader.name(index): index for index in range(reader.count())}
    found: dict[int, Path] = {}
    for name, path in _images(paths, folder):
        index = names.get(name)
        if index is None and name.isascii() and name.isdigit() and len(name) < 10:
            index = int(name)
        if index is None or index >= len(names):
            continue
        if index in found:
            raise MaskError(message("score.two_masks", frame=index))
        found[index] = path
    if not found:
        raise MaskError(message("score.no_names"))
    return dict(sorted(found.items()))


def _images(paths: Sequence[str | Path], folder: Path) -> Iterator[tuple[str, Path]]:
    """The image files and their names without the ending. Those of zips are unpacked under names of our own."""
    unpacked = itertools.count()
    for path in map(Path, paths):
        if path.suffix.lower() == ".png":
            yield path.stem, path
            continue
        if path.suffix.lower() != ".zip":
            raise MaskError(message("score.wrong_kind", name=path.name))
        try:
            entries = read_archive(path, _ENTRIES)
        except ArchiveError as error:
            raise MaskError(message("score.bad_zip", name=path.name, reason=error)) from error
        for name, data in entries.items():
            target = folder / f"{next(unpacked)}.png"
            target.write_bytes(data)
            yield PurePosixPath(name).stem, target


def score(
    result: Result, true_masks: Mapping[int, Path], reader: VideoReader, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[TrueScores]:
    """Scores a result frame by frame: region similarity J and contour accuracy F, as DAVIS defines them.

    An object is scored from the first frame on in which it has a true mask.

    Args:
        result: The run.
        true_masks: Mask files by frame number.
        reader: The clip.
        should_stop: Whether to stop; asked before each object, since one of a large frame takes seconds.

    Yields:
        The scores so far, after each frame that is scored whole.

    Raises:
        MaskError: A mask cannot be read or has another size than the clip.
    """
    scores = TrueScores()
    labels: set[int] = set()
    for index, path in true_masks.items():
        mask_file = result.masks_dir / f"{reader.name(index)}.png"
        if not mask_file.exists():
            continue
        mask, truth = read_mask(mask_file), _read_truth(path, index)
        if mask.shape != truth.shape:
            sizes = {"truth": f"{truth.shape[1]}x{truth.shape[0]}", "clip": f"{mask.shape[1]}x{mask.shape[0]}"}
            raise MaskError(message("score.misfit", frame=index, **sizes))
        labels |= set(objects_in(truth))
        by_label: dict[int, tuple[float, float]] = {}
        for label in sorted(labels):
            if should_stop():
                return
            expected, actual = truth == label, mask == label
            by_label[label] = region_similarity(expected, actual), contour_accuracy(expected, actual)
        for label, (J, F) in by_label.items():
            scores.overlap.setdefault(label, {})[index] = J
            scores.contour.setdefault(label, {})[index] = F
        yield scores


def _read_truth(path: Path, index: int) -> NDArray[np.uint8]:
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise MaskError(message("score.too_large", frame=index, size=_MAX_FILE_BYTES >> 20))
    try:
        truth = read_mask(path)
    except MaskError as error:
        raise MaskError(message("score.unreadable", frame=index)) from error
    return np.where(truth == VOID, 0, truth).astype(np.uint8)


def unpacking_folder(session_folder: str) -> tempfile.TemporaryDirectory[str]:
    """A folder for unpacked masks, removed after use."""
    return tempfile.TemporaryDirectory(prefix="true-", dir=session_folder)
