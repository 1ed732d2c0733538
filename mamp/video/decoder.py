"""Video files decoded through PyAV, and the interface that all clip sources share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

KINDS = "mp4, mov, mkv, webm, avi, gif, webp or a folder of frames"

MAX_PIXELS = 8192 * 4352  # in a frame: 8K, rounded up as in cameras; headers are not trusted

_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif"  # no playlists: those open other files
_HD_HEIGHT = 720  # [pixels]; players assume BT.709 for untagged videos of at least this height
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG: without tone mapping they look washed out


class VideoError(ValueError):
    """A clip that cannot be read or written; the message is one sentence for the user."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a clip that are known before its frames are counted.

    Attributes:
        width: Width of the upright frame [pixels].
        height: Height of the upright frame [pixels].
        fps: Average rate in the file; if there is none, the median rate of the first frames [frames/s].
        time_base: Unit of the time stamps [s].
        rotation: Clockwise rotation that turns stored frames upright [degrees: 0, 90, 180, 270].
        codec: Name of the video codec.
        has_audio: Whether the clip has an audio track.
        pixel_format: FFmpeg's name of the pixel format.
        duration: Duration in the file [s].
        pixel_aspect: Width of an upright pixel divided by its height.
        start: Time stamp of the first frame in the file [s].
    """

    width: int
    height: int
    fps: Fraction
    time_base: Fraction
    rotation: int
    codec: str
    has_audio: bool
    pixel_format: str
    duration: float | None
    pixel_aspect: Fraction = Fraction(1)
    start: Fraction = Fraction(0)


@dataclass(frozen=True)
class Decoded:
    """A decoded frame before conversion to RGB, which costs more than decoding.

    Attributes:
        pts: Time stamp [ticks of the time base]; ``None`` if the file has none.
        duration: Display duration [ticks]; 0 if unknown.
        image: Converts the frame to upright RGB (H, W, 3) uint8.
    """

    pts: int | None
    duration: int
    image: Callable[[], RGB]


class Source(Protocol):
    """A clip that can be decoded any number of times."""

    info: VideoInfo
    damage: str | None
    end: int | None  # end of the last frame according to the file [ticks]

    def name(self, index: int) -> str:
        """The name of a frame."""
        ...

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """Decodes from the first frame, or from a frame at or before the time stamp ``seek_pts`` [ticks]."""
        ...


class VideoFile:
    """A video file, through FFmpeg's decoders; only local files of the kinds in ``KINDS``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        self._converter, self._converting = VideoReformatter(), Lock()
        with open_container(path) as container:
            stream = self._video_stream(container)
            start = max(container.start_time or 0, 0)  # [microseconds]; a recording may begin hours after zero
            self._start = Fraction(start, 1_000_000)
            assert stream.time_base is not None
            self._origin = round(self._start / stream.time_base)
            frames = self._frames(container, stream)
            pts, first = next(frames, (None, None))
            if first is None:
                raise VideoError(f"{path.name} has no frame that can be decoded.")
            self._matrix = _display_matrix(first)
            self._size = (first.width, first.height)
            # A browser's recording has no rate, and FFmpeg's guess may be 1,000 frames/s.
            rate = stream.average_rate or _median_rate(stream, pts, frames) or stream.guessed_rate
            self.info = self._describe(container, stream, first, rate or Fraction(25))
            self.end: int | None = None
            if stream.duration and self.damage is None:
                self.end = (stream.start_time or 0) + stream.duration - self._origin
        self.damage = None

    def name(self, index: int) -> str:
        """See ``Source``."""
        return f"{index:05d}"

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """Decodes all frames, or those from the last key frame before ``seek_pts``; see ``Source``."""
        with open_container(self.path) as container:
            stream = self._video_stream(container)
            if seek_pts is not None:
                try:
                    container.seek(seek_pts + self._origin, stream=stream)
                except av.FFmpegError:  # a damaged index: the caller decodes from the first frame
                    return
            for pts, frame in self._frames(container, stream, from_start=seek_pts is None):
                yield Decoded(pts, frame.duration or 0, partial(self._upright, frame))

    def _video_stream(self, container: InputContainer) -> VideoStream:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise VideoError(f"{self.path.name} has no video in it, only sound or pictures.")
        best = container.streams.best("video")
        stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        if getattr(stream, "codec_context", None) is None:
            raise VideoError(f"{self.path.name} is compressed in a way that cannot be decoded here.")
        check_size(self.path, stream.width, stream.height)
        # Frames may be larger than in the header.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        # With frame threads, one broken frame would lose its neighbors too.
        stream.thread_type = "SLICE"
        return stream

    def _frames(
        self, container: InputContainer, stream: VideoStream, *, from_start: bool = True
    ) -> Iterator[tuple[int | None, VideoFrame]]:
        """Every decodable frame, with its time stamp from the start of the clip [ticks]."""
        packets = container.demux(stream)
        # The header of an mp4 lists every frame: a truncated file ends without an error.
        missing = len(stream.index_entries) if "mp4" in container.format.name else 0
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._note_damage("it breaks off")
                return
            if packet is None:
                if missing > 0 and from_start:
                    self._note_damage("it breaks off")
                return
            missing -= packet.size > 0
            if packet.is_corrupt:
                self._note_damage("it breaks off")
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._note_damage("a part of it cannot be decoded")
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._note_damage("a part of it cannot be decoded")
                    continue
                pts = frame.pts if frame.pts is not None else frame.dts
                yield None if pts is None else pts - self._origin, frame

    def _note_damage(self, cause: str) -> None:
        self.damage = self.damage or f"{self.path.name} is damaged: {cause}; only the frames that decode are used."

    def _describe(self, container: InputContainer, stream: VideoStream, first: VideoFrame, rate: Fraction) -> VideoInfo:
        sideways = abs(self._matrix[0, 1]) > abs(self._matrix[0, 0])
        width, height = self._size[::-1] if sideways else self._size
        aspect = stream.sample_aspect_ratio or Fraction(1)
        assert stream.time_base is not None
        seconds = container.duration / 1_000_000 if container.duration else None
        return VideoInfo(
            width=width,
            height=height,
            fps=rate,
            time_base=stream.time_base,
            rotation=-first.rotation % 360,
            codec=stream.codec_context.name,
            has_audio=bool(container.streams.audio),
            pixel_format=first.format.name,
            duration=seconds,
            pixel_aspect=1 / aspect if sideways else aspect,
            start=self._start,
        )

    def _upright(self, frame: VideoFrame) -> RGB:
        # The frame size may change within a file; all frames are scaled to the size of the first.
        width, height = self._size
        if any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8":
            return _apply_orientation(composite_on_white(_array(frame.reformat(width, height, "rgba"))), self._matrix)
        if frame.color_trc in _HDR:
            # The tables of this conversion take a second to build: they are reused, by one thread at a time.
            with self._converting:
                plain = self._converter.reformat(
                    frame,
                    width,
                    height,
                    "rgb24",
                    dst_color_trc=ColorTrc.BT709,
                    dst_color_primaries=ColorPrimaries.BT709,
                )
            return _apply_orientation(_array(plain), self._matrix)
        untagged_hd = frame.colorspace == _UNSPECIFIED and height >= _HD_HEIGHT and not frame.format.is_rgb
        color_space = "ITU709" if untagged_hd else None
        return _apply_orientation(
            _array(frame.reformat(width, height, "rgb24", src_colorspace=color_space)), self._matrix
        )


def _median_rate(
    stream: VideoStream, first: int | None, following: Iterable[tuple[int | None, VideoFrame]]
) -> Fraction | None:
    """The median rate over the first frames, if they have increasing time stamps [frames/s]."""
    assert stream.time_base is not None
    stamps = [first, *(pts for pts, _ in islice(following, _FRAMES_FOR_RATE))]
    steps = sorted(b - a for a, b in pairwise(stamps) if a is not None and b is not None and b > a)
    return 1 / (steps[len(steps) // 2] * stream.time_base) if steps else None


_FRAMES_FOR_RATE = 48


def check_size(path: Path, width: int, height: int) -> None:
    """Rejects frames that are too large, before memory is allocated for them.

    Raises:
        VideoError: The frames have more than ``MAX_PIXELS`` pixels.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(f"{path.name} is {width}x{height}: frames of more than 8K cannot be taken.")


def open_container(path: Path) -> InputContainer:
    """Opens a video file without access to other files or the network.

    Raises:
        VideoError: The file is not a video.
    """
    # With the prefix, a name like "concat:a|b" is not parsed as a URL.
    name = f"file:{path.absolute()}"
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    try:
        return av.open(name, "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise VideoError(
            f"{path.name} cannot be read: it is no video ({KINDS}), or it is damaged or incomplete."
        ) from error


def _array(frame: VideoFrame) -> RGB:
    array: RGB = frame.to_ndarray().astype(np.uint8, copy=False)
    return array


def composite_on_white(rgba: NDArray[np.uint8]) -> RGB:
    """Composites RGBA (H, W, 4) uint8 over white, as image viewers do."""
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)


def _display_matrix(frame: VideoFrame) -> NDArray[np.int32]:
    """The display matrix (2, 2): stored (x, y) maps to (x, y) @ matrix, a rotation by right angles or a reflection."""
    side_data: Any = frame.side_data  # a sequence, though its type is a dictionary
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
    return np.eye(2, dtype=np.int32)


def _apply_orientation(image: RGB, matrix: NDArray[np.int32]) -> RGB:
    (a, b), (c, d) = matrix
    if abs(int(b)) > abs(int(a)):  # x and y are swapped
        image = image.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
