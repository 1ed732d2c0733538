"""Segments many clips. Any number of processes, on any number of machines, may work on the same list at once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mamp.batch.clip_list import ClipItem
from mamp.batch.clip_record import RECORD, error_of, read_record, write_record
from mamp.model.checkpoint import shared_encoder
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.video.reader import by_frame_index

_LOCKS = ".locks"
_WAIT_SECONDS = (0.1, 1.0)  # between looks at the clips of other processes: at first, and after a while


@dataclass(frozen=True)
class BatchUpdate:
    """Progress of a list of clips, after a frame or a clip.

    Attributes:
        name: Name of the clip.
        clips_done: Clips that need no more work, also those of other processes and failed ones.
        clips_total: Clips in the list.
        frames: Frames that this process has tracked or rendered.
        seconds: Time since the start of this process [s].
        share: Share of the frames of this clip that have a mask while it is segmented [0, 1]; 0 once it has ended.
        error: Message if the clip has just failed.
        finished: Whether the clip has just ended.
    """

    name: str
    clips_done: int
    clips_total: int
    frames: int
    seconds: float
    share: float = 0.0
    error: str | None = None
    finished: bool = False


def segment_many(
    items: Sequence[ClipItem],
    out: str | Path,
    *,
    attempt: str = "",
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[BatchUpdate]:
    """Segments the clips of a list, each into the folder of its name in ``out``.

    Clips that are done already are left as they are; a clip of a killed process is resumed, one with other masks is
    corrected. Processes that work on the same list share it: each locks the clip it works on. At the end a process waits
    for the clips of the others, and takes over those of a process that was killed. The locks are those of the operating
    system, on a network file system those of NFS; they end with the process.

    Args:
        items: The clips; see ``read_clip_list``.
        out: Folder of the results, on a file system that all processes share.
        attempt: Name that the processes of one start share: a clip that fails is tried once in each.
        device: Device of this process, as "cuda:1"; that of each clip's settings by default.
        should_stop: Called after every frame; true ends the work.

    Yields:
        The progress after each frame and each clip.
    """
    out = Path(out)
    (out / _LOCKS).mkdir(parents=True, exist_ok=True)
    began, frames = time.monotonic(), 0
    attempt = attempt or f"{os.getpid()}-{time.time()}"
    left, wait = list(items), _WAIT_SECONDS[0]
    while left and not should_stop():
        worked = False
        for item in list(left):
            with _locked(out, item) as is_ours:
                if not is_ours:
                    continue
                worked, error = True, None
                if not _is_done(out / item.name, item, attempt):
                    request: dict[str, Any] = {}
                    try:
                        request = _request(item)  # before the run: files may change meanwhile
                        for share in _segment(item, out / item.name, device, should_stop):
                            frames += 1
                            seconds = time.monotonic() - began
                            yield BatchUpdate(item.name, len(items) - len(left), len(items), frames, seconds, share)
                    except (ValueError, OSError) as failure:
                        error = str(failure)
                    if should_stop():
                        return
                    write_record(out / item.name, {"request": request, "attempt": attempt, "error": error})
                left.remove(item)
            yield BatchUpdate(
                item.name,
                len(items) - len(left),
                len(items),
                frames,
                time.monotonic() - began,
                error=error or error_of(out / item.name),
                finished=True,
            )
        if not worked:
            time.sleep(wait)
            wait = min(2 * wait, _WAIT_SECONDS[1])


@contextmanager
def _locked(out: Path, item: ClipItem) -> Iterator[bool]:
    """Whether this process has the clip; false if another one works on it."""
    lock = FileLock(out / _LOCKS / f"{item.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _segment(item: ClipItem, folder: Path, device: str | None, should_stop: Callable[[], bool]) -> Iterator[float]:
    """Segments one clip and yields the share that is done; earlier results are reused as far as they are valid."""
    if item.masks is None:
        raise ValueError(f"There is no mask for {item.clip.name}.")
    previous = folder.with_name(f".{folder.name}.previous")
    if (folder / "receipt.json").exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    elif (folder / RECORD).exists():  # killed before its first frame
        shutil.rmtree(folder)
    write_record(folder, {})
    usable = previous if (previous / "receipt.json").exists() else None
    masks = item.masks if isinstance(item.masks, Path) else by_frame_index(item.clip, item.masks)
    encoder = shared_encoder(item.settings.weights, device) if device else None
    updates = segment_video(
        item.clip, masks, folder, item.settings, previous=usable, should_stop=should_stop, encoder=encoder
    )
    for update in updates:
        if update.result is None:  # else it repeats the last frame
            yield update.done / update.frames_total
    shutil.rmtree(previous, ignore_errors=True)


def _request(item: ClipItem) -> dict[str, Any]:
    """What the results depend on: the settings, and the sizes and times of the files."""
    masks = item.masks if item.masks is not None else {}
    files = [masks] if isinstance(masks, Path) else [file for number in sorted(masks) for file in masks[number]]
    clip = sorted(item.clip.iterdir()) if item.clip.is_dir() else [item.clip]
    return {
        "files": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in [*clip, *files]],
        "settings": item.settings.to_dict(),
    }


def _is_done(folder: Path, item: ClipItem, attempt: str) -> bool:
    """Whether a clip needs no work: it is complete with these masks and settings, or has failed in this attempt."""
    record = read_record(folder)
    try:
        if record.get("request") != _request(item):
            return False
        if record.get("error") is not None:
            return bool(record.get("attempt") == attempt)
        return not Result(folder).stopped
    except (ValueError, OSError):
        return bool(record.get("error") is not None and record.get("attempt") == attempt)
