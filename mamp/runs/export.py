"""What a finished run is turned into on request: cut-outs with a see-through background, and one mask picture an object."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import read_mask
from mamp.masks.overlay import cut_out
from mamp.runs.incremental import clip_sha256
from mamp.runs.results import Result
from mamp.video.reader import Frame, VideoReader
from mamp.video.writer import VideoWriter

Image = NDArray[np.uint8]

KINDS = {
    "webm": "cutout.webm",  # VP9 with alpha: browsers, OBS
    "mov": "cutout.mov",  # ProRes 4444: video editors
    "png": "cutout.zip",  # RGBA pictures: everything else
    "objects": "objects.zip",  # black and white pictures, a folder for each object
}


def export(
    run: str | Path,
    clip: str | Path,
    kind: str,
    *,
    objects: Collection[int] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Path]]:
    """Writes a product into the folder of a run; a stopped run gives that of the frames it has.

    Args:
        run: Folder of the run.
        clip: Its clip.
        kind: One of ``KINDS``.
        objects: Which to cut out, by label; all if not given.
        should_stop: Asked at every frame. What is not finished is removed.

    Yields:
        After each frame: how many are done, and where the file will be once the generator ends.

    Raises:
        MaskError: There is no run in the folder, its clip is another one, or it has no such object.
        VideoError: The clip cannot be read.
        ValueError: There is no such kind of product.
    """
    if kind not in KINDS:
        raise ValueError(f"a product is one of {', '.join(KINDS)}, not {kind}")
    result, reader = Result(Path(run)), VideoReader(clip)
    if result.receipt["clip_sha256"] != clip_sha256(reader.path):
        raise MaskError(f"{reader.path.name} is not the clip of this run, which is {result.receipt['clip']}.")
    known = result.receipt["objects"]
    if missing := sorted(set(objects or ()) - set(known)):
        raise MaskError(f"There is no object {missing[0]} in this run; there are {', '.join(map(str, known))}.")
    path = result.folder / KINDS[kind]
    finished = False
    try:
        with closing(_write(result, reader, path, kind, objects)) as frames:
            for done in frames:
                if should_stop():
                    return
                yield done, path
        finished = True
    finally:
        if not finished:
            path.unlink(missing_ok=True)


def _write(
    result: Result, reader: VideoReader, path: Path, kind: str, objects: Collection[int] | None
) -> Generator[int, None, None]:
    """Writes one product, frame by frame; yields how many are done."""
    if kind in ("webm", "mov"):
        with VideoWriter(path, reader, (reader.info.height, reader.info.width)) as video:
            for done, (frame, mask) in enumerate(_masked(result, reader), 1):
                video.write(cut_out(frame.image, mask, objects), frame.time, frame.duration)
                yield done
        return
    names = {int(label): name for label, name in result.receipt["names"].items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for done, (frame, mask) in enumerate(_masked(result, reader), 1):
            name = reader.name(frame.index)
            if kind == "png":
                archive.writestr(f"cutout/{name}.png", _png(cut_out(frame.image, mask, objects)))
            else:
                for label in result.receipt["objects"]:
                    shape = np.where(mask == label, 255, 0).astype(np.uint8)
                    archive.writestr(f"{folder_name(label, names.get(label, ''))}/{name}.png", _png(shape))
            yield done


def _masked(result: Result, reader: VideoReader) -> Iterator[tuple[Frame, Image]]:
    for frame in reader:
        path = result.masks_dir / f"{reader.name(frame.index)}.png"
        if path.exists():
            yield frame, read_mask(path)


def folder_name(label: int, name: str) -> str:
    """The folder of an object in an archive: its number, and of its name what every file system takes."""
    safe = re.sub(r"[^\w-]+", "-", name).strip("-")
    return f"{label}-{safe}" if safe else str(label)


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    Pictures.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
