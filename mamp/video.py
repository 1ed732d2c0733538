"""Video in and out, on PyAV: streaming, upright, with the input's time stamps and sound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
FORMATS = "mov,matroska,avi,gif,webp_pipe,mpeg,mpegts,ogg,flv"  # no playlists: they name other files
FOLDER_FPS = 24
_AUDIO_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_REVERSED_BLOCK = 32  # frames held at a time when going backwards


class VideoError(ValueError):
    """A clip that cannot be read; its text is one sentence for the user."""


@dataclass(frozen=True)
class VideoInfo:
    """What a clip is, before its frames are decoded."""

    width: int  # upright [pixels]
    height: int
    fps: Fraction  # on average
    time_base: Fraction  # of the time stamps [s]
    rotation: int  # that was undone [degrees]
    codec: str
    pixel_format: str
    has_audio: bool


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int
    image: Picture  # RGB (H, W, 3), upright
    time: Fraction  # of presentation [s]
    duration: Fraction | None  # [s], if the file says


class VideoReader:
    """Reads a clip frame by frame, as often as wanted; holds one frame at a time.

    Args:
        path: A video file, or a folder of frames in the order of the numbers in their names.

    Raises:
        VideoError: There is no such file, or it is no video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage: str | None = None  # why decoding stopped early, if it did
        self._count: int | None = None
        self._images: list[Path] = []
        if self.path.is_dir():
            images = (image for image in self.path.iterdir() if image.suffix.lower() in IMAGE_SUFFIXES)
            self._images = sorted(images, key=_natural)
            if not self._images:
                raise VideoError(f"The folder {self.path.name} holds no frames.")
        elif not self.path.is_file():
            raise VideoError(f"There is no file {self.path.name}.")
        first = next(iter(self), None)
        if first is None:
            raise VideoError(f"{self.path.name} holds no frame that can be decoded.")
        self.info = self._describe(first)

    def __iter__(self) -> Iterator[Frame]:
        last: Fraction | None = None
        for index, (image, time, duration) in enumerate(self._decode()):
            if last is not None and time <= last:
                time = last + 1 / self._fps  # missing or backward time stamps
            last = time
            yield Frame(index, image, time, duration)

    def name(self, index: int) -> str:
        """What the mask of a frame is called, without suffix: like the frame's file, or its number."""
        return self._images[index].stem if self._images else f"{index:05d}"

    def count(self) -> int:
        """The number of frames, by decoding them: what a header says is often wrong."""
        if self._count is None:
            self._count = len(self._images) or sum(1 for _ in self._decode(pictures=False))
        return self._count

    def frame(self, index: int) -> Frame:
        """One frame by its number.

        Raises:
            IndexError: The clip has no such frame.
        """
        for frame in self:
            if frame.index == index:
                return frame
        raise IndexError(f"the clip has no frame {index}")

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames ``start``, ``start`` - 1, ..., 0; decodes from the beginning for every block of frames."""
        for end in range(start, -1, -_REVERSED_BLOCK):
            begin = max(0, end - _REVERSED_BLOCK + 1)
            block = []
            for frame in self:
                if frame.index > end:
                    break
                if frame.index >= begin:
                    block.append(frame)
            yield from reversed(block)

    def _decode(self, *, pictures: bool = True) -> Iterator[tuple[Picture, Fraction, Fraction | None]]:
        self._fps = Fraction(FOLDER_FPS)
        if self._images:
            for index, path in enumerate(self._images):
                yield _read_image(path), Fraction(index, FOLDER_FPS), None
            return
        try:
            container = _open(self.path)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path.name} cannot be read as a video.") from error
        with container:
            if not container.streams.video:
                raise VideoError(f"{self.path.name} holds no video.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            self._fps = stream.average_rate or stream.guessed_rate or Fraction(FOLDER_FPS)
            index = 0
            try:
                for frame in container.decode(stream):
                    time = frame.pts * frame.time_base if frame.pts is not None else Fraction(index) / self._fps
                    held = frame.duration * frame.time_base if frame.duration and frame.time_base else None
                    yield (_upright(frame) if pictures else np.empty((0, 0, 3), np.uint8)), Fraction(time), held
                    index += 1
            except (av.FFmpegError, OSError):
                self.damage = f"decoding stopped after frame {index - 1}: the file is damaged there"

    def _describe(self, first: Frame) -> VideoInfo:
        height, width = first.image.shape[:2]
        if self._images:
            codec = self._images[0].suffix[1:].lower()
            return VideoInfo(width, height, self._fps, 1 / self._fps, 0, codec, "rgb24", False)
        with _open(self.path) as container:
            stream = container.streams.video[0]
            rotation = next((int(frame.rotation) for frame in container.decode(stream)), 0)
            return VideoInfo(
                width=width,
                height=height,
                fps=self._fps,
                time_base=Fraction(stream.time_base or 1 / self._fps),
                rotation=rotation,
                codec=stream.codec_context.name,
                pixel_format=str(stream.codec_context.pix_fmt),
                has_audio=bool(container.streams.audio),
            )


class VideoWriter:
    """Writes H.264 in an mp4 that every browser plays: yuv420p, even size, faststart, time stamps and sound kept.

    A context manager. The file gets its name when it is closed; then it is playable, however many frames were written.

    Args:
        path: The mp4.
        like: The clip whose size, time stamps and sound it takes.
    """

    def __init__(self, path: str | Path, like: VideoReader) -> None:
        self.path = Path(path)
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        info = like.info
        self._stream: Any = self._container.add_stream(
            "libx264", rate=info.fps, options={"crf": "18", "preset": "fast"}
        )
        self._stream.width, self._stream.height = info.width + info.width % 2, info.height + info.height % 2
        self._stream.pix_fmt = "yuv420p"
        # Fine enough for any input: 1/90000 is what MPEG counts in.
        self._base = info.time_base if info.time_base <= Fraction(1, 1000) else Fraction(1, 90_000)
        self._stream.codec_context.time_base = self._base
        self._like = like
        self._end = Fraction(0)
        self._last = -1
        self._audio = _AudioCopy(like.path, self._container) if info.has_audio else None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, frame: Frame, picture: Picture) -> None:
        """Writes ``picture`` (H, W, 3) uint8 at the time of ``frame``."""
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        image.time_base = self._base
        image.pts = max(round(frame.time / self._base), self._last + 1)
        self._last = image.pts
        held = frame.duration or 1 / self._like.info.fps
        image.duration = max(1, round(held / self._base))
        self._end = frame.time + held
        for packet in self._stream.encode(image):
            self._container.mux(packet)
        if self._audio:
            self._audio.copy_until(self._end)

    def close(self) -> None:
        """Finishes the file."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        if self._audio:
            self._audio.close(self._end)
        self._container.close()
        self._partial.replace(self.path)


class _AudioCopy:
    """Brings the sound of a clip into another container, in step with its frames."""

    def __init__(self, source: Path, target: Any) -> None:
        self._source = _open(source)
        self._target = target
        stream = self._source.streams.audio[0]
        self._decoded = stream.codec_context.name not in _AUDIO_IN_MP4
        if self._decoded:
            self._out = target.add_stream("aac", rate=stream.codec_context.sample_rate)
            self._out.layout = stream.codec_context.layout
        else:
            self._out = target.add_stream_from_template(stream)
        self._packets = self._source.demux(stream)
        self._waiting: Any = None
        self._stream = stream

    def copy_until(self, time: Fraction) -> None:
        """Copies what begins before ``time`` [s]."""
        while True:
            packet = self._waiting or self._next()
            self._waiting = None
            if packet is None:
                return
            if packet.pts * packet.time_base >= time:
                self._waiting = packet
                return
            if self._decoded:
                for frame in packet.decode():
                    self._target.mux(self._out.encode(frame))
            else:
                packet.stream = self._out
                self._target.mux(packet)

    def close(self, time: Fraction) -> None:
        """Copies the rest up to ``time`` [s] and flushes."""
        self.copy_until(time)
        if self._decoded:
            self._target.mux(self._out.encode(None))
        self._source.close()

    def _next(self) -> Any:
        try:
            return next((packet for packet in self._packets if packet.pts is not None), None)
        except av.FFmpegError:
            return None  # a damaged end


def _open(path: Path) -> Any:
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return av.open(str(path.resolve()), options=options)


def _upright(frame: Any) -> Picture:
    image: Picture = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _read_image(path: Path) -> Picture:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except OSError as error:
        raise VideoError(f"The frame {path.name} cannot be read as an image.") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts frame10 behind frame9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]
