"""The input masks of a clip: arrays, mask images and run-length files, checked against the clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import VOID, MaskError, as_label_map, objects_in, resize_mask
from mamp.masks.mask_io import LABEL_RULES, MaskFile, check_aspect, open_mask, read_mask
from mamp.masks.rle import is_rle_file, read_rle_file


@dataclass(frozen=True)
class StoredMask:
    """The label map of a mask file that was read before, written with ``write_mask``, and how the file was read."""

    path: Path
    rule: str
    notes: tuple[str, ...]


MaskSource = NDArray[Any] | StoredMask | str | Path | Sequence[str | Path]


def read_input_masks(
    sources: Mapping[int, MaskSource] | str | Path, size: tuple[int, int], frames: int, pixel_aspect: float = 1.0
) -> Iterator[tuple[int, MaskFile]]:
    """Reads and checks the input masks of a clip, one at a time.

    Args:
        sources: By frame number, a label map (H, W) of the clip's size (see ``as_label_map``), a mask file, also one that
            was read before, or several files that each hold other objects. A JSON file alone has each object on its
            first frame; see ``read_rle_file``.
        size: Size of the clip (H, W).
        frames: Number of frames in the clip.
        pixel_aspect: Width of a pixel of the clip divided by its height.

    Yields:
        The frame number, and its mask at the clip's size with how it was read.

    Raises:
        MaskError: No mask is given, or one is unreadable, has another size, contains no object, or is for a frame that
            does not exist.
    """
    if isinstance(sources, str | Path):
        sources = dict.fromkeys(read_rle_file(sources).first_frames(), sources)
    if not sources:
        raise MaskError("Give a mask for at least one frame.")
    for number, source in sources.items():
        if not 0 <= number < frames or number != int(number):
            raise MaskError(f"A mask is given for frame {number}, but the clip has frames 0 to {frames - 1}.")
        if files := _files(source):
            mask_file = open_masks(files, size, pixel_aspect, int(number))
        else:
            stored = source if isinstance(source, StoredMask) else None
            mask = read_mask(stored.path) if stored else as_label_map(np.asarray(source), f"The mask of frame {number}")
            if mask.shape != size:
                sizes = f"{mask.shape[1]}x{mask.shape[0]}, but the clip is {size[1]}x{size[0]}"
                raise MaskError(f"The mask of frame {number} is {sizes}.")
            mask_file = MaskFile(mask, stored.rule, stored.notes) if stored else MaskFile(mask, "an array")
        if not mask_file.mask.any():
            raise MaskError(f"The mask of frame {number} contains no object.")
        yield int(number), mask_file


def paths_of(sources: Mapping[int, MaskSource] | str | Path) -> list[Path]:
    """The files among the sources of input masks."""
    if isinstance(sources, str | Path):
        return [Path(sources)]
    return [path for source in sources.values() for path in _files(source)]


def _files(source: MaskSource) -> list[Path]:
    """The mask files of a frame; none if the source is an array."""
    if isinstance(source, str | Path):
        return [Path(source)]
    return [Path(path) for path in source if isinstance(path, str | Path)] if isinstance(source, list | tuple) else []


def open_masks(
    paths: Sequence[str | Path], size: tuple[int, int], pixel_aspect: float = 1.0, frame: int = 0
) -> MaskFile:
    """Reads the mask of one frame from one or more files: mask images (see ``open_mask``) or JSON with run lengths.

    Objects of several files get new labels if two files use the same one. A pixel in two files belongs to the later one.

    Args:
        paths: The files, at least one.
        size: Size of the clip (H, W).
        pixel_aspect: Width of a pixel of the clip divided by its height.
        frame: Number of the frame, for JSON files with several.

    Raises:
        MaskError: A file cannot be read, does not fit, or contains no object beside others; or there are more than 255
            objects.
    """
    files = [_open_file(Path(path), size, pixel_aspect, frame) for path in paths]
    if len(files) == 1:
        return files[0]
    used: set[int] = set()
    merged = np.zeros(size, np.uint8)
    notes = []
    for path, file in zip(paths, files, strict=True):
        objects, name = objects_in(file.mask), Path(path).name
        if not objects:
            raise MaskError(f"The mask {name} contains no object.", "mask_empty", name=name)
        table = np.arange(256, dtype=np.uint8)
        if used & set(objects):
            free = [label for label in range(1, 256) if label not in used]
            if len(free) < len(objects):
                raise MaskError("The masks of one frame contain more than 255 objects.")
            table[objects] = free[: len(objects)]
        labels = [int(label) for label in table[objects]]
        used |= set(labels)
        merged = np.where(file.mask > 0, table[file.mask], merged)
        numbers = ", ".join(map(str, labels))
        notes.append(f"{name}: object{'' if len(labels) == 1 else 's'} {numbers}, read as {file.rule}")
        notes += [f"{name}: {note}" for note in file.notes]
    hidden = used - set(objects_in(merged))
    if hidden:
        notes.append(f"entirely covered by a later file: object {', '.join(map(str, sorted(hidden)))}")
    return MaskFile(merged, f"{len(files)} files", tuple(notes))


def _open_file(path: Path, size: tuple[int, int], pixel_aspect: float, frame: int) -> MaskFile:
    if not is_rle_file(path):
        return _without_void(open_mask(path, size, pixel_aspect))
    mask = read_rle_file(path).mask(frame, size)
    check_aspect(mask, size, pixel_aspect, path.name)
    notes = () if mask.shape == size else (f"scaled from {mask.shape[1]}x{mask.shape[0]}",)
    return MaskFile(resize_mask(mask, size), "COCO run lengths", notes)


def _without_void(file: MaskFile) -> MaskFile:
    """Label 255 beside others is no object in datasets: pixels that nobody labeled, mostly outlines."""
    if file.rule not in LABEL_RULES or not {VOID} < set(file.areas):
        return file
    mask = np.where(file.mask == VOID, 0, file.mask).astype(np.uint8)
    return MaskFile(mask, file.rule, (*file.notes, f"label {VOID} is unlabeled (void)"))
