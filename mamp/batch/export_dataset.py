"""Exports of the results of many clips as one data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mamp.batch.clip_list import EXPORTS, ClipItem
from mamp.batch.clip_record import error_of
from mamp.batch.exports.coco import write_coco, write_youtube_vis
from mamp.batch.exports.cvat import write_cvat
from mamp.batch.exports.fiftyone import write_fiftyone
from mamp.batch.exports.label_studio import write_label_studio
from mamp.batch.exports.tracked_clip import TrackedClip, read_tracked_clip
from mamp.masks.label_map import MaskError
from mamp.runs.results import Result


@dataclass(frozen=True)
class Format:
    """A format of data sets.

    Attributes:
        file: Name of its file or folder in ``exports``.
        write: Writes it.
        of_videos: Whether clips must be video files.
    """

    file: str
    write: Callable[[Iterable[TrackedClip], Path], None]
    of_videos: bool = False


FORMATS = {
    "youtube-vis": Format("youtube-vis.json", write_youtube_vis),
    "coco": Format("coco.json", write_coco),
    "cvat": Format("cvat", write_cvat),
    "label-studio": Format("label-studio", write_label_studio, of_videos=True),
    "fiftyone": Format("fiftyone", write_fiftyone, of_videos=True),
}


def check_formats(items: Sequence[ClipItem], formats: Collection[str]) -> None:
    """Checks that clips can be exported, before they are segmented.

    Raises:
        ValueError: A format is unknown, or needs videos where a clip is a folder of frames.
    """
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"A format of exports is one of {', '.join(FORMATS)}, not {name}.")
        folder = next((item.clip for item in items if item.clip.is_dir()), None)
        if FORMATS[name].of_videos and folder is not None:
            raise ValueError(f"The format {name} needs video files, but {folder.name} is a folder of frames.")


def export_dataset(items: Sequence[ClipItem], out: str | Path, formats: Collection[str]) -> list[Path]:
    """Writes the results of ``segment_many`` as data sets into the folder ``exports`` of ``out``.

    Clips without complete results are left out. Memory holds the masks of one clip at a time.

    Args:
        items: The clips.
        out: Folder of the results.
        formats: Any of ``FORMATS``.

    Returns:
        The file or folder of each format.

    Raises:
        ValueError: See ``check_formats``; or the disk is full.
    """
    check_formats(items, formats)
    folder = Path(out) / EXPORTS
    paths = []
    for name in formats:
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / FORMATS[name].file)
        FORMATS[name].write(_complete_clips(items, Path(out)), paths[-1])
    return paths


def _complete_clips(items: Iterable[ClipItem], out: Path) -> Iterator[TrackedClip]:
    for item in items:
        result = Result(out / item.name)
        try:
            complete = not result.stopped and error_of(result.folder) is None
        except MaskError:  # it has not been segmented
            continue
        if complete:
            yield read_tracked_clip(item, result)
