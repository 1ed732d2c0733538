"""Exports of a finished run: cut-outs, other backgrounds, a small animation, and a mask image for each object."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from mamp.files import atomic_zip, clear_resource_errors, same_file
from mamp.masks.background import CHROMA_GREEN, blur_background, color_background, gray_background
from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import read_mask
from mamp.masks.overlay import cut_out
from mamp.runs.animation import write_animation
from mamp.runs.finished import open_clip
from mamp.runs.results import Result
from mamp.video.reader import Frame, VideoReader
from mamp.video.writer import VideoWriter

Image = NDArray[np.uint8]

KINDS = {
    "webm": "cutout.webm",  # VP9 with alpha: browsers, OBS
    "mov": "cutout.mov",  # ProRes 4444: video editors
    "png": "cutout.zip",  # RGBA images: everything else
    "objects": "objects.zip",  # black and white images, a folder for each object
    "blur": "background-blurred.mp4",
    "gray": "background-gray.mp4",
    "color": "background-color.mp4",
    "webp": "overlay.webp",  # small animations
    "gif": "overlay.gif",
}
_ANIMATIONS = ("webp", "gif")


def export(
    run: str | Path,
    clip: str | Path,
    kind: str,
    *,
    objects: Collection[int] | None = None,
    color: tuple[int, int, int] = CHROMA_GREEN,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Path]]:
    """Writes an export into the folder of a run; that of a stopped run covers the frames with masks.

    Args:
        run: Result folder of the run.
        clip: The clip of the run.
        kind: One of ``KINDS``.
        objects: Labels of the objects to cut out or to keep in front of another background; all by default.
        color: Background of the kind "color", RGB [0, 255].
        should_stop: Called after every frame; true ends the export and deletes the unfinished file. An earlier export of
            this kind stays as it was.

    Yields:
        The number of frames done, and the path of the file once the generator ends.

    Raises:
        MaskError: The folder holds no run, the clip is another one or would be overwritten, or the run has no such
            object.
        VideoError: The clip cannot be read.
        ResourceError: The disk is full.
        ValueError: ``kind`` is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"an export is one of {', '.join(KINDS)}, not {kind}")
    result = Result(Path(run))
    reader = open_clip(result, clip)
    objects_in_run = result.receipt["objects"]
    if missing := sorted(set(objects or ()) - set(objects_in_run)):
        raise MaskError(
            f"There is no object {missing[0]} in this run; there are {', '.join(map(str, objects_in_run))}."
        )
    path = result.folder / KINDS[kind]
    if same_file([reader.path, *reader.files], [path]):
        raise MaskError(f"{reader.path.name} would be overwritten by the export; move it out of {result.folder.name}.")
    with clear_resource_errors(), closing(_write(result, reader, path, kind, objects, color)) as frames:
        for done in frames:
            if should_stop():
                return
            yield done, path


def _write(
    result: Result,
    reader: VideoReader,
    path: Path,
    kind: str,
    objects: Collection[int] | None,
    color: tuple[int, int, int],
) -> Generator[int, None, None]:
    """Writes one export frame by frame; yields the number of frames done."""
    if kind in _ANIMATIONS:
        yield from write_animation(result.overlay, path)
        return
    draw: dict[str, Callable[[Image, Image, Collection[int] | None], Image]] = {
        "webm": cut_out,
        "mov": cut_out,
        "blur": blur_background,
        "gray": gray_background,
        "color": partial(color_background, color=color),
    }
    if kind in draw:
        with VideoWriter(path, reader, (reader.info.height, reader.info.width)) as video:
            for done, (frame, mask) in enumerate(_frames_with_masks(result, reader), 1):
                video.write(draw[kind](frame.image, mask, objects), frame.time, frame.duration)
                yield done
        return
    names = {int(label): name for label, name in result.receipt["names"].items()}
    with atomic_zip(path) as archive:
        for done, (frame, mask) in enumerate(_frames_with_masks(result, reader), 1):
            name = reader.name(frame.index)
            if kind == "png":
                archive.writestr(f"cutout/{name}.png", _png(cut_out(frame.image, mask, objects)))
            else:
                for label in result.receipt["objects"]:
                    shape = np.where(mask == label, 255, 0).astype(np.uint8)
                    archive.writestr(f"{folder_name(label, names.get(label, ''))}/{name}.png", _png(shape))
            yield done


def _frames_with_masks(result: Result, reader: VideoReader) -> Iterator[tuple[Frame, Image]]:
    for frame in reader:
        path = result.masks_dir / f"{reader.name(frame.index)}.png"
        if path.exists():
            yield frame, read_mask(path)


def folder_name(label: int, name: str) -> str:
    """The folder of an object in the zip: its label, and the part of its name that is valid on every file system."""
    safe = re.sub(r"[^\w-]+", "-", name).strip("-")
    return f"{label}-{safe}" if safe else str(label)


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    PilImage.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
