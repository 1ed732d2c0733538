"""Clip reading: upright RGB frames with display times, forwards, backwards and by number."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from mamp.video.decoder import VideoFile
from mamp.video.image_sequence import RATE, AnimatedWebp, ImageSequence
from mamp.video.source import RGB, Decoded, Source, VideoError, VideoInfo

__all__ = ["Frame", "VideoError", "VideoInfo", "VideoReader"]

MAX_RATE = Fraction(1000)  # [frames/s] of images without time stamps
_BLOCK_BYTES = 256 * 2**20  # decoded frames held at a time when a clip is read backwards
_SEEK_DISTANCE = 50  # [frames] from which on seeking is faster than decoding what is between
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RESTART = Fraction(1)  # [s]; a larger step back in time stamps is a restarted clock, not jitter


@dataclass(frozen=True)
class Frame:
    """A frame of a clip.

    Attributes:
        image: RGB (H, W, 3) uint8, upright.
        time: Display time from the start of the clip [s].
        index: Frame number, from 0.
        duration: Display duration [s].
    """

    image: RGB
    time: Fraction
    index: int
    duration: Fraction


@dataclass(frozen=True)
class _Index:
    """Time stamps of all frames, from one pass over the clip; no images."""

    ticks: list[int]
    pts: list[int | None]
    durations: list[int]

    @cached_property
    def position(self) -> dict[int, int]:
        """Frame number by time stamp; empty if time stamps are missing or repeated."""
        position = {stamp: index for index, stamp in enumerate(self.pts) if stamp is not None}
        return position if len(position) == len(self.pts) else {}


class VideoReader:
    """Reads a video file, a folder of frames or a TIFF with several pages, one frame at a time.

    It can be iterated any number of times. Frames are counted by decoding, never from the header. Time stamps are those
    of the file; missing and non-increasing ones are replaced.

    Args:
        path: Video file or folder.
        fps: Frame rate of images without time stamps, that is of a folder or a TIFF [frames/s].

    Attributes:
        info: Properties of the clip.

    Raises:
        FileNotFoundError: ``path`` does not exist.
        VideoError: It is not a clip, or has no frames; or ``fps`` is out of range.
    """

    def __init__(self, path: str | Path, fps: Fraction = RATE) -> None:
        if not 0 < fps <= MAX_RATE:
            raise VideoError(f"The frame rate is from 0 to {MAX_RATE} frames/s, not {float(fps):g}.")
        self.path = Path(path)
        self._source = _open_source(self.path, fps)
        self.info = self._source.info
        self._known: _Index | None = None

    @property
    def damage(self) -> str | None:
        """One sentence about damage in the part of the file read so far, or ``None``."""
        return self._source.damage

    @property
    def files(self) -> list[Path]:
        """The files that are read: the video, or the frames of a folder."""
        return self._source.files

    @property
    def notes(self) -> list[str]:
        """Sentences about how the clip is read, such as the images of a folder that are no frames."""
        return self._source.notes

    def numbered(self, number: int) -> int:
        """The index of the frame with a number in its name, as ``shot_1001.png``; the number itself if there is none.

        In a folder that counts from 1, or from 1001, people call its frames by their names.
        """
        numbers = zip(*(map(int, re.findall(r"\d+", self.name(index))) for index in range(self.count())), strict=False)
        counting = [column for column in numbers if len(set(column)) == self.count()]
        return counting[-1].index(number) if counting and number in counting[-1] else number

    def name(self, index: int) -> str:
        """The file stem of a frame's mask: that of the frame in a folder of frames, else its number in five digits."""
        return self._source.name(index)

    def count(self, limit: int | None = None) -> int:
        """The number of frames. The first call decodes the clip.

        Raises:
            VideoError: There are more than ``limit``; counting stops there.
        """
        return len(self._index(limit).ticks)

    def time(self, index: int) -> Fraction:
        """Display time of a frame from the start of the clip [s]."""
        return self._index().ticks[index] * self.info.time_base

    def __iter__(self) -> Iterator[Frame]:
        """Reads all frames.

        Raises:
            VideoError: An image of a folder is unreadable or has another size.
        """
        for index, (decoded, tick, duration) in enumerate(self._timed()):
            yield self._frame(decoded, index, tick, duration)

    def frame(self, index: int) -> Frame:
        """One frame by its number.

        Raises:
            IndexError: The frame does not exist.
        """
        return next(self._downwards(index, held=1))

    def frames(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Some frames in ascending order; those near each other are read at once.

        Raises:
            IndexError: A frame does not exist.
        """
        wanted = deque(sorted(set(indices)))
        while wanted:
            for frame in self.forwards(wanted[0]):
                if frame.index == wanted[0]:
                    yield frame
                    wanted.popleft()
                if not wanted or wanted[0] - frame.index > _SEEK_DISTANCE:
                    break

    def forwards(self, start: int) -> Iterator[Frame]:
        """Reads frames ``start``, ``start`` + 1, ... up to the last.

        Raises:
            IndexError: Frame ``start`` does not exist.
        """
        known = self._checked_index(start)
        for index, decoded in enumerate(self._decoded(start, len(known.ticks)), start):
            yield self._frame(decoded, index, known.ticks[index], known.durations[index])

    def backwards(self, start: int) -> Iterator[Frame]:
        """Reads frames ``start``, ``start`` - 1, ..., 0, with a bounded number of them in memory.

        Raises:
            IndexError: Frame ``start`` does not exist.
        """
        return self._downwards(start, held=max(_BLOCK_BYTES // (3 * self.info.width * self.info.height), 4))

    def _downwards(self, start: int, held: int) -> Iterator[Frame]:
        known = self._checked_index(start)
        for end in range(start + 1, 0, -held):
            block = list(self._decoded(max(end - held, 0), end))
            for index in range(end - 1, end - 1 - len(block), -1):
                yield self._frame(block.pop(), index, known.ticks[index], known.durations[index])

    def _checked_index(self, index: int) -> _Index:
        known = self._index()
        if not 0 <= index < len(known.ticks):
            raise IndexError(f"frame {index} of a clip with frames 0 to {len(known.ticks) - 1}")
        return known

    def _frame(self, decoded: Decoded, index: int, tick: int, duration: int) -> Frame:
        unit = self.info.time_base
        return Frame(image=decoded.image(), time=tick * unit, index=index, duration=duration * unit)

    def _timed(self) -> Iterator[tuple[Decoded, int, int]]:
        """Every frame with its time and duration [ticks]; the duration follows from the next frame."""
        usual = max(round(1 / (self.info.fps * self.info.time_base)), 1)
        restart = _RESTART / self.info.time_base
        held: Decoded | None = None
        shift = tick = 0
        for decoded in self._source.decode():
            if held is None:
                held, tick = decoded, max(decoded.pts or 0, 0)
                continue
            if decoded.pts is None:
                following = tick + usual
            else:
                if decoded.pts + shift < tick - restart:
                    shift = tick + usual - decoded.pts
                following = decoded.pts + shift
                if following <= tick:  # half a step, so that later frames keep their times
                    following = tick + max(usual // 2, 1)
            yield held, tick, following - tick
            held, tick = decoded, following
        if held is not None:
            yield held, tick, self._last_duration(tick, held, usual, moved=shift != 0)

    def _last_duration(self, tick: int, last: Decoded, usual: int, *, moved: bool) -> int:
        """Duration of the last frame [ticks]: up to the end in the file, if that is plausible."""
        end = self._source.end
        if end is not None and end > tick and not moved and self.damage is None:
            return end - tick
        return last.duration or usual

    def _index(self, limit: int | None = None) -> _Index:
        if self._known is None:
            counted = itertools.islice(self._timed(), None if limit is None else limit + 1)
            known = _Index([], [], [])
            for decoded, tick, duration in counted:
                known.ticks.append(tick)
                known.pts.append(decoded.pts)
                known.durations.append(duration)
            if limit is not None and len(known.ticks) > limit:
                text = f"{self.path.name} has more than {limit} frames. Please cut it."
                raise VideoError(text, "too_many_frames", name=self.path.name, limit=limit)
            self._known = known
        return self._known

    def _decoded(self, first: int, end: int) -> Iterator[Decoded]:
        """Frames ``first`` to ``end`` - 1, decoded from the previous key frame if seeking works, else from frame 0."""
        known = self._index()
        following = first
        for seek_pts in (known.pts[first], None) if known.position and first else (None,):
            for index, decoded in self._numbered(seek_pts):
                if index > following:
                    break
                if index == following:
                    yield decoded
                    following += 1
                if following == end:
                    return
        raise VideoError(f"{self.path.name} has changed while it was read.")

    def _numbered(self, seek_pts: int | None) -> Iterator[tuple[int, Decoded]]:
        """Decodes from a time stamp or from frame 0, with frame numbers, up to a time stamp that is not in the index."""
        known = self._index()
        index = -1
        for decoded in self._source.decode(seek_pts):
            if seek_pts is not None and index < 0:
                index = -1 if decoded.pts is None else known.position.get(decoded.pts, -1)
            else:
                index += 1
            if not 0 <= index < len(known.pts) or decoded.pts != known.pts[index]:
                return
            yield index, decoded


def by_frame_index(clip: str | Path, files: Mapping[int, Sequence[Path]]) -> dict[int, list[Path]]:
    """Files by the index of their frame, for files by the number that people give it; see ``VideoReader.numbered``.

    Args:
        clip: Video file or folder of frames.
        files: By frame number.

    Raises:
        VideoError: The folder has no frames.
    """
    reader = VideoReader(clip) if Path(clip).is_dir() else None  # in a video, the number is the index
    by_index: dict[int, list[Path]] = {}
    for number, named in files.items():
        by_index.setdefault(reader.numbered(number) if reader else number, []).extend(named)
    return by_index


def _open_source(path: Path, fps: Fraction) -> Source:
    if path.is_dir():
        return ImageSequence(path, fps)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path.name}.")
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return AnimatedWebp(path)
    if head[:4] in _TIFF:
        return ImageSequence(path, fps)
    return VideoFile(path)
