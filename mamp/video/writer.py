"""Clips out: an mp4 that plays everywhere, or a see-through webm or mov, with the time stamps and the sound of the clip."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mamp.video.audio import AudioTrackCopier
from mamp.video.decoder import RGB, VideoError, open_container
from mamp.video.image_sequence import RATE
from mamp.video.reader import VideoReader

_RATES = (Fraction(1), Fraction(240))  # [frames/s] that the encoder is told; a file may claim anything
_COARSEST = 10_000  # [ticks/s]
_FINEST = 1_000_000  # [ticks/s] a finer time base overflows the 32 bits that an mp4 has for the length of a frame
_START = Fraction(0)
_WRITER_TIME_BASE = Fraction(1, 90_000)  # [s] when there is no clip to take one from


@dataclass(frozen=True)
class _Codec:
    """How frames are written into a container."""

    name: str
    pixel_format: str
    options: dict[str, str]
    channels: int = 3


_CODECS = {
    # Without B-frames an mp4's times are the frames' own.
    ".mp4": _Codec("libx264", "yuv420p", {"crf": "18", "preset": "veryfast", "bf": "0", "g": "60"}),
    # Alternate reference frames and alpha do not go together.
    ".webm": _Codec(
        "libvpx-vp9",
        "yuva420p",
        {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0"},
        4,
    ),
    ".mov": _Codec("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}, 4),
}


class VideoWriter:
    """Writes a video.

    Its kind goes by its name: ``.mp4`` is what browsers play (H.264, yuv420p, an even size, its index in front); ``.webm``
    (VP9) and ``.mov`` (ProRes 4444) are see-through, for browsers and for video editors. It is written under another name
    and gets its own when it is closed, also after an error: what was written so far can be played.

    Args:
        path: Ends in .mp4, .webm or .mov.
        like: The clip whose time base and sound it gets. Its sound is carried up to the end of the last frame, and to
            the sound's own end if all frames of ``like`` were written.
        size: Of the frames (H, W) [pixels]. An odd side gets one more row or column, a copy of the last.
        begin: Where in ``like`` the video begins [s]; its own time counts from there.

    Raises:
        VideoError: No such video can be written.
    """

    def __init__(
        self, path: str | Path, like: VideoReader | None, size: tuple[int, int], *, begin: Fraction = Fraction(0)
    ) -> None:
        self.path = Path(path)
        self._like, self._begin = like, begin
        self._size = size
        self._codec = _CODECS[self.path.suffix]
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
        container = self.path.suffix[1:]
        options = {} if container == "webm" else {"movflags": "+faststart", "movie_timescale": str(scale)}
        name = f"file:{self._partial.absolute()}"
        self._output = opened.enter_context(av.open(name, "w", format=container, options=options))
        stream = self._output.add_stream(
            self._codec.name,
            rate=min(max(info.fps, _RATES[0]), _RATES[1]) if info else RATE,
            options=self._codec.options,
            width=width,
            height=height,
            time_base=self._unit,
        )
        assert isinstance(stream, VideoStream)
        self._video = stream
        encoder = stream.codec_context
        encoder.pix_fmt = self._codec.pixel_format
        encoder.color_range, encoder.colorspace, encoder.color_primaries, encoder.color_trc = 1, 1, 1, 1  # BT.709
        if info and info.pixel_aspect != 1:
            encoder.sample_aspect_ratio = info.pixel_aspect
        self._sound: AudioTrackCopier | None = None
        if info and info.has_audio and self._like:
            source = opened.enter_context(open_container(self._like.path))
            self._sound = AudioTrackCopier(source, info.start + self._begin, self._output)
        self._output.start_encoding()

    @property
    def sound(self) -> str | None:
        """What is done with the sound, in words; ``None`` if there is none."""
        return self._sound.description if self._sound else None

    def write(self, image: RGB, time: Fraction, duration: Fraction | None = None) -> None:
        """Writes the next frame.

        Args:
            image: RGB (H, W, 3) uint8; RGBA (H, W, 4) uint8 for what is see-through.
            time: When it is shown [s]; later than the frame before it.
            duration: How long it is shown [s]; it counts for the last frame only, others last until the next one.

        Raises:
            ValueError: The frame has another size, or its time does not go forward.
        """
        height, width = self._size
        if image.shape != (height, width, self._codec.channels):
            sizes = f"{image.shape[1]}x{image.shape[0]}, but the video is {width}x{height}"
            raise ValueError(f"the frame is {sizes} with {self._codec.channels} channels")
        pts = round(time / self._unit)
        if self._last is not None and pts <= self._last[0]:
            raise ValueError(f"the frame's time, {float(time):.3f} s, is not after that of the frame before it")
        held = duration or 1 / self._video.codec_context.framerate
        ticks = max(round(held / self._unit), 1)
        self._last = (pts, ticks)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        rgb = VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="rgb24" if self._codec.channels == 3 else "rgba"
        )
        frame = rgb.reformat(format=self._codec.pixel_format, dst_colorspace="ITU709", dst_color_range="MPEG")
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


def cut_clip(reader: VideoReader, first: int, last: int, path: str | Path) -> None:
    """Writes a part of a clip, with its time stamps and its sound.

    Args:
        reader: The clip.
        first: Number of the part's first frame.
        last: Number of its last one.
        path: Of the mp4.

    Raises:
        VideoError: There is no such part.
    """
    if not 0 <= first <= last < reader.count():
        raise VideoError(f"The clip has frames 0 to {reader.count() - 1}; frames {first} to {last} are no part of it.")
    begin = reader.time(first)
    size = (reader.info.height, reader.info.width)
    with VideoWriter(path, reader, size, begin=begin) as video:
        for frame in reader:
            if frame.index > last:
                break
            if frame.index >= first:
                video.write(frame.image, frame.time - begin, frame.duration)
