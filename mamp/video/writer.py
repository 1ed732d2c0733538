"""Video writing: mp4 for every player, or transparent webm or mov, with the time stamps and audio of a clip."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mamp.files import same_file
from mamp.video.audio import AudioTrackCopier
from mamp.video.decoder import open_container
from mamp.video.image_sequence import RATE
from mamp.video.reader import VideoReader
from mamp.video.source import RGB, VideoError

_RATES = (Fraction(1), Fraction(240))  # [frames/s] range passed to the encoder; headers are not trusted
_MIN_TIMESCALE = 10_000  # [ticks/s]
_MAX_TIMESCALE = 1_000_000  # [ticks/s]; a finer time base overflows the 32 bits of a frame duration in mp4
_ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
_EXTENSION = 16  # [pixels] that colors continue under the transparent part
_WRITER_TIME_BASE = Fraction(1, 90_000)  # [s] without a source clip


@dataclass(frozen=True)
class _Codec:
    """Encoder settings of a container."""

    name: str
    pixel_format: str
    options: dict[str, str]
    channels: int = 3


_CODECS = {
    # Without B-frames, time stamps in an mp4 equal those of the frames.
    ".mp4": _Codec("libx264", "yuv420p", {"crf": "18", "preset": "veryfast", "bf": "0", "g": "60"}),
    # Alternate reference frames are incompatible with alpha.
    ".webm": _Codec(
        "libvpx-vp9",
        "yuva420p",
        {"crf": "15", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0"},
        4,
    ),
    ".mov": _Codec("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}, 4),
}


class VideoWriter:
    """Writes a video.

    The suffix selects the format: ``.mp4`` plays in browsers (H.264, yuv420p, even size, index in front); ``.webm`` (VP9)
    and ``.mov`` (ProRes 4444) are transparent, for browsers and video editors. The file has a temporary name until it is
    closed. As a context manager it deletes an unfinished file on an error; ``close`` instead keeps a playable video of the
    frames so far.

    Args:
        path: Ends in .mp4, .webm or .mov.
        source: Clip that provides time base and audio. Audio is copied up to the end of the last frame, and to its own
            end if all frames of ``source`` were written.
        size: Frame size (H, W) [pixels]. Odd sides are padded with a copy of the last row or column.
        begin: Time in ``source`` at which the video begins [s].

    Attributes:
        frames_in_file: Number of frames in the finished file; 0 until it is closed.

    Raises:
        VideoError: The video cannot be written.
    """

    def __init__(
        self, path: str | Path, source: VideoReader | None, size: tuple[int, int], *, begin: Fraction = Fraction(0)
    ) -> None:
        self.path = Path(path)
        self._source, self._begin = source, begin
        self._size = size
        self._codec = _CODECS[self.path.suffix]
        self._written = self._muxed = self.frames_in_file = 0
        self._closed = False
        self._last: tuple[int, int] | None = None  # time stamp and duration of the last frame [ticks]
        unit = source.info.time_base if source else _WRITER_TIME_BASE
        self._unit = unit if unit.denominator <= _MAX_TIMESCALE else _WRITER_TIME_BASE
        self._partial = self.path.with_name(f".{self.path.name}.part")
        with ExitStack() as opened:
            opened.callback(self._partial.unlink, missing_ok=True)
            try:
                self._open(opened)
            except (av.FFmpegError, ValueError) as error:
                raise VideoError(f"A video of {size[1]}x{size[0]} cannot be written.") from error
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        info = self._source.info if self._source else None
        height, width = (side + side % 2 for side in self._size)
        scale = self._unit.denominator
        while scale < _MIN_TIMESCALE:  # the duration of the audio is rounded to it
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
        self._audio: AudioTrackCopier | None = None
        if info and info.has_audio and self._source:
            audio_source = opened.enter_context(open_container(self._source.path))
            self._audio = AudioTrackCopier(audio_source, info.start + self._begin, self._output)
        self._output.start_encoding()

    @property
    def audio(self) -> str | None:
        """Codec and treatment of the audio; ``None`` without audio."""
        return self._audio.description if self._audio else None

    def write(self, image: RGB, time: Fraction, duration: Fraction | None = None) -> None:
        """Writes the next frame.

        Args:
            image: RGB (H, W, 3) uint8; RGBA (H, W, 4) uint8 for transparent formats.
            time: Display time [s], after that of the previous frame.
            duration: Display duration [s]; used for the last frame only, others last until the next.

        Raises:
            ValueError: The frame has another size, or its time is not after that of the previous frame.
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
        if self._codec.pixel_format == "yuva420p":
            image = _extend_colors(image)
        rgb = VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="rgb24" if self._codec.channels == 3 else "rgba"
        )
        frame = rgb.reformat(
            format=self._codec.pixel_format, dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=_ACCURATE
        )
        frame.pts, frame.time_base = pts, self._unit
        if self._audio:
            self._audio.write_until((pts + ticks) * self._unit)
        self._mux(frame)
        self._written += 1

    def _mux(self, frame: VideoFrame | None) -> None:
        assert self._last is not None
        for packet in self._video.encode(frame):
            # An mp4 derives each duration from the next time stamp; only that of the last frame is used.
            packet.duration = self._last[1]
            self._output.mux_one(packet)
            self._muxed += 1

    def close(self) -> None:
        """Finishes the file and moves it to its final name; without frames there is no file."""
        if self._closed:
            return
        self._closed = True
        with self._opened:
            if self._last is None:
                return
            self._mux(None)
            if self._audio and self._source and self._written == self._source.count():
                self._audio.write_until(None)
            self._output.close()
            os.replace(self._partial, self.path)
            self.frames_in_file = self._muxed

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._closed = True
            self._opened.close()


def _extend_colors(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Continues the colors of RGBA (H, W, 4) under the transparent pixels around it.

    Two by two pixels share one color in the file: without this, the rim would take on what is hidden beside it.
    """
    hidden = rgba[..., 3] == 0
    if hidden.all() or not hidden.any():
        return rgba
    # Labels of the visible pixels are their numbers, from 1, in the order of rows.
    distance, nearest = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    near = hidden & (distance <= _EXTENSION)
    extended = rgba.copy()
    extended[near, :3] = rgba[~hidden][nearest[near] - 1, :3]
    return extended


def cut_clip(reader: VideoReader, first: int, last: int, path: str | Path) -> None:
    """Writes a part of a clip, with its time stamps and audio.

    Args:
        reader: The clip.
        first: Number of the first frame.
        last: Number of the last frame.
        path: The mp4 to write.

    Raises:
        VideoError: The frame range is invalid, or ``path`` is the clip itself.
    """
    if same_file(reader.files, [Path(path)]):
        raise VideoError(f"{reader.path.name} would be overwritten by its own part.")
    if not 0 <= first <= last < reader.count():
        end = reader.count() - 1
        text = f"The clip has frames 0 to {end}; frames {first} to {last} are no part of it."
        raise VideoError(text, "no_part", end=end, first=first, last=last)
    begin = reader.time(first)
    size = (reader.info.height, reader.info.width)
    with VideoWriter(path, reader, size, begin=begin) as video:
        for frame in reader:
            if frame.index > last:
                break
            if frame.index >= first:
                video.write(frame.image, frame.time - begin, frame.duration)
