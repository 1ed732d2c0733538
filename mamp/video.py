"""Clips in and out: frames as people see them, with the times at which they are shown, and an mp4 that keeps both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame

from mamp.pictures import RATE, AnimatedPicture, PictureFolder
from mamp.sound import Sound
from mamp.sources import RGB, Decoded, MediaFile, Source, VideoError, VideoInfo, open_container

__all__ = ["Frame", "VideoError", "VideoInfo", "VideoReader", "VideoWriter"]

_BLOCK_BYTES = 256 * 2**20  # of decoded frames held at a time when a clip is read backwards
_RESTART = Fraction(1)  # [s] a time stamp this far back is a clock that starts again, not a slip
_RATES = (Fraction(1), Fraction(240))  # [frames/s] that the encoder is told; a file may claim anything
_COARSEST = 10_000  # [ticks/s]
_FINEST = 1_000_000  # [ticks/s] a finer time base overflows the 32 bits that an mp4 has for the length of a frame
_WRITER_TIME_BASE = Fraction(1, 90_000)  # [s] when there is no clip to take one from
_X264 = {"crf": "18", "preset": "veryfast", "bf": "0", "g": "60"}  # without B-frames an mp4's times are the frames' own


@dataclass(frozen=True)
class Frame:
    """A frame of a clip.

    Attributes:
        image: RGB (H, W, 3) uint8, upright.
        time: When it is shown, from the start of the clip [s].
        index: Its number, from 0.
        duration: How long it is shown [s].
    """

    image: RGB
    time: Fraction
    index: int
    duration: Fraction


@dataclass(frozen=True)
class _Index:
    """What one pass over a clip finds out: a few numbers a frame, never pictures."""

    ticks: list[int]
    pts: list[int | None]
    durations: list[int]
    position: dict[int, int]  # of each time stamp; empty if they cannot tell frames apart


class VideoReader:
    """Reads a video file (mp4, mov, mkv, webm, avi, gif, webp) or a folder of frames, one frame at a time.

    It can be iterated over any number of times. Frames are counted by decoding them, never taken from the header. Time
    stamps are those of the file; missing ones and ones that do not go forward are replaced.

    Args:
        path: File or folder.

    Attributes:
        info: What the clip is.

    Raises:
        FileNotFoundError: There is nothing at ``path``.
        VideoError: It is no clip, or has no frames.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._source = _open_source(self.path)
        self.info = self._source.info
        self._known: _Index | None = None

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, as far as it has been read: one sentence, or ``None``."""
        return self._source.damage

    def name(self, index: int) -> str:
        """The name of a frame's mask: that of the frame's own file in a folder, else its number in five digits."""
        return self._source.name(index)

    def count(self) -> int:
        """The number of frames, by decoding them all the first time."""
        return len(self._index().ticks)

    def time(self, index: int) -> Fraction:
        """When a frame is shown, from the start of the clip [s]."""
        return self._index().ticks[index] * self.info.time_base

    def __iter__(self) -> Iterator[Frame]:
        """Reads from the beginning.

        Raises:
            VideoError: A picture of a folder cannot be read or has another size.
        """
        for index, (decoded, tick, duration) in enumerate(self._timed()):
            yield self._frame(decoded, index, tick, duration)

    def frame(self, index: int) -> Frame:
        """One frame by its number.

        Raises:
            IndexError: There is no such frame.
        """
        return next(self._downwards(index, held=1))

    def backwards(self, start: int) -> Iterator[Frame]:
        """Reads frames ``start``, ``start`` - 1, ..., 0, a bounded number of them held at a time.

        Raises:
            IndexError: There is no frame ``start``.
        """
        return self._downwards(start, held=max(_BLOCK_BYTES // (3 * self.info.width * self.info.height), 4))

    def _downwards(self, start: int, held: int) -> Iterator[Frame]:
        known = self._index()
        if not 0 <= start < len(known.ticks):
            raise IndexError(f"frame {start} of a clip with frames 0 to {len(known.ticks) - 1}")
        for end in range(start + 1, 0, -held):
            block = self._block(max(end - held, 0), end)
            for index in range(end - 1, end - 1 - len(block), -1):
                yield self._frame(block.pop(), index, known.ticks[index], known.durations[index])

    def _frame(self, decoded: Decoded, index: int, tick: int, duration: int) -> Frame:
        unit = self.info.time_base
        return Frame(image=decoded.picture(), time=tick * unit, index=index, duration=duration * unit)

    def _timed(self) -> Iterator[tuple[Decoded, int, int]]:
        """Every frame with its time and its duration [ticks], which is known when the next frame is."""
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
                if following <= tick:  # half a step leaves the frames after it where they are
                    following = tick + max(usual // 2, 1)
            yield held, tick, following - tick
            held, tick = decoded, following
        if held is not None:
            yield held, tick, self._last_duration(tick, held, usual, moved=shift != 0)

    def _last_duration(self, tick: int, last: Decoded, usual: int, *, moved: bool) -> int:
        """How long the last frame is shown: up to the end that the file claims, if nothing speaks against it."""
        end = self._source.end
        if end is not None and end > tick and not moved and self.damage is None:
            return end - tick
        return last.duration or usual

    def _index(self) -> _Index:
        if self._known is None:
            timed = [(decoded.pts, tick, duration) for decoded, tick, duration in self._timed()]
            pts = [entry[0] for entry in timed]
            position = {stamp: index for index, stamp in enumerate(pts) if stamp is not None}
            self._known = _Index(
                ticks=[entry[1] for entry in timed],
                pts=pts,
                durations=[entry[2] for entry in timed],
                position=position if len(position) == len(pts) else {},
            )
        return self._known

    def _block(self, first: int, end: int) -> list[Decoded]:
        """Frames ``first`` to ``end`` - 1, from the key frame before them if seeking leads there, else from frame 0."""
        known = self._index()
        for near in (known.pts[first], None) if known.position and first else (None,):
            block = self._decode_block(known, first, end, near)
            if len(block) == end - first:
                return block
        raise VideoError(f"{self.path.name} has changed while it was read.")

    def _decode_block(self, known: _Index, first: int, end: int, near: int | None) -> list[Decoded]:
        """Frames ``first`` to ``end`` - 1, or fewer where decoding did not lead through the frames it should."""
        block: list[Decoded] = []
        index = -1
        for decoded in self._source.decode(near):
            if near is not None and index < 0:
                index = known.position.get(decoded.pts, end) if decoded.pts is not None else end
                if index > first:
                    break
            else:
                index += 1
            if index >= end or decoded.pts != known.pts[index]:
                break
            if index >= first:
                block.append(decoded)
            if index == end - 1:
                break
        return block


class VideoWriter:
    """Writes an mp4 that browsers play: H.264, yuv420p, an even size, its index in front.

    It is written under another name and gets its own when it is closed, also after an error: what was written so far
    can be played.

    Args:
        path: Of the mp4.
        like: The clip whose time base and sound it gets. Its sound is carried up to the end of the last frame, and to
            the sound's own end if all frames of ``like`` were written.
        size: Of the frames (H, W) [pixels]. An odd side gets one more row or column, a copy of the last.

    Raises:
        VideoError: No such video can be written.
    """

    def __init__(self, path: str | Path, like: VideoReader | None, size: tuple[int, int]) -> None:
        self.path = Path(path)
        self._like = like
        self._size = size
        self._written = 0
        self._closed = False
        self._last: tuple[int, int] | None = None  # time stamp and duration of the last frame [ticks]
        unit = like.info.time_base if like else _WRITER_TIME_BASE
        self._unit = unit if unit.denominator <= _FINEST else _WRITER_TIME_BASE
        self._partial = self.path.with_name(f".{self.path.name}.part")
        with ExitStack() as opened:
            opened.callback(self._partial.unlink, missing_ok=True)
            try:
                self._open(opened)
            except (av.FFmpegError, ValueError) as error:
                raise VideoError(f"A video of {size[1]}x{size[0]} cannot be written.") from error
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        info = self._like.info if self._like else None
        height, width = (side + side % 2 for side in self._size)
        scale = self._unit.denominator
        while scale < _COARSEST:  # the length of the sound is rounded to it
            scale *= 2
        options = {"movflags": "+faststart", "movie_timescale": str(scale)}
        name = f"file:{self._partial.absolute()}"
        self._output = opened.enter_context(av.open(name, "w", format="mp4", options=options))
        self._video = self._output.add_stream(
            "libx264",
            rate=min(max(info.fps, _RATES[0]), _RATES[1]) if info else RATE,
            options=_X264,
            width=width,
            height=height,
            time_base=self._unit,
        )
        encoder = self._video.codec_context
        encoder.color_range, encoder.colorspace, encoder.color_primaries, encoder.color_trc = 1, 1, 1, 1  # BT.709
        if info and info.pixel_aspect != 1:
            encoder.sample_aspect_ratio = info.pixel_aspect
        self._sound: Sound | None = None
        if info and info.has_audio and self._like:
            source = opened.enter_context(open_container(self._like.path))
            self._sound = Sound(source, info.start, self._output)
        self._output.start_encoding()

    @property
    def sound(self) -> str | None:
        """What is done with the sound, in words; ``None`` if there is none."""
        return self._sound.description if self._sound else None

    def write(self, image: RGB, time: Fraction, duration: Fraction | None = None) -> None:
        """Writes the next frame.

        Args:
            image: RGB (H, W, 3) uint8.
            time: When it is shown [s]; later than the frame before it.
            duration: How long it is shown [s]; it counts for the last frame only, others last until the next one.

        Raises:
            ValueError: The frame has another size, or its time does not go forward.
        """
        height, width = self._size
        if image.shape != (height, width, 3):
            raise ValueError(f"the frame is {image.shape[1]}x{image.shape[0]}, but the video is {width}x{height}")
        pts = round(time / self._unit)
        if self._last is not None and pts <= self._last[0]:
            raise ValueError(f"the frame's time, {float(time):.3f} s, is not after that of the frame before it")
        held = duration or 1 / self._video.codec_context.framerate
        ticks = max(round(held / self._unit), 1)
        self._last = (pts, ticks)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = pts, self._unit
        if self._sound:
            self._sound.carry((pts + ticks) * self._unit)
        self._mux(frame)
        self._written += 1

    def _mux(self, frame: VideoFrame | None) -> None:
        assert self._last is not None
        for packet in self._video.encode(frame):
            # An mp4 takes each frame's length from the next one's time; only the last one's is asked for.
            packet.duration = self._last[1]
            self._output.mux_one(packet)

    def close(self) -> None:
        """Finishes the file and gives it its name; without a frame there is no file."""
        if self._closed:
            return
        self._closed = True
        with self._opened:
            if self._last is None:
                return
            self._mux(None)
            if self._sound and self._like and self._written == self._like.count():
                self._sound.carry(None)
            self._output.close()
            os.replace(self._partial, self.path)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_source(path: Path) -> Source:
    if path.is_dir():
        return PictureFolder(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path.name}.")
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return AnimatedPicture(path)
    return MediaFile(path)
