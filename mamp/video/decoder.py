"""What a clip is made of, and the source of most: a video file, through PyAV."""

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

MAX_PIXELS = 8192 * 4352  # of a frame: 8K, as cameras round it; a header may claim anything

_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif"  # no playlists: those open other files
_HD_HEIGHT = 720  # [pixels] from which on an untagged video is in BT.709 colours, as every player assumes
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG: as they are stored, they look washed out


class VideoError(ValueError):
    """A clip that cannot be read or written; its text is one sentence for the user."""


@dataclass(frozen=True)
class VideoInfo:
    """What a clip is, before its frames are counted.

    Attributes:
        width: Of the upright frame [pixels].
        height: Of the upright frame [pixels].
        fps: Average rate, as the file says; the usual one of its first frames if it does not [frames/s].
        time_base: Unit of the time stamps [s].
        rotation: By which the stored frames are turned clockwise to stand upright [degrees: 0, 90, 180, 270].
        codec: Name of the video codec.
        has_audio: Whether there is sound.
        pixel_format: FFmpeg's name of how the pixels are stored.
        duration: As the file says [s].
        pixel_aspect: Width of an upright pixel, as a multiple of its height.
        start: Time stamp in the file at which the clip begins [s].
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
    """A decoded frame that is not yet a picture: converting pixels costs more than decoding them.

    Attributes:
        pts: Time stamp [ticks of the time base]; ``None`` if the file has none.
        duration: How long it is shown [ticks]; 0 if the file does not say.
        picture: Gives the upright RGB (H, W, 3) uint8.
    """

    pts: int | None
    duration: int
    picture: Callable[[], RGB]


class Source(Protocol):
    """A clip that can be decoded any number of times."""

    info: VideoInfo
    damage: str | None
    end: int | None  # where the last frame ends, as the file says [ticks]

    def name(self, index: int) -> str:
        """What a frame is called."""
        ...

    def decode(self, near: int | None = None) -> Iterator[Decoded]:
        """Decodes from the beginning, or from somewhere before the frame with the time stamp ``near``."""
        ...


class VideoFile:
    """A video file, through FFmpeg's decoders; only local files and only the kinds named above."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        self._converter, self._converting = VideoReformatter(), Lock()
        with open_container(path) as container:
            stream = self._video_stream(container)
            start = max(container.start_time or 0, 0)  # a recording may begin hours after zero; [microseconds]
            self._start = Fraction(start, 1_000_000)
            assert stream.time_base is not None
            self._origin = round(self._start / stream.time_base)
            frames = self._frames(container, stream)
            pts, first = next(frames, (None, None))
            if first is None:
                raise VideoError(f"{path.name} has no frame that can be decoded.")
            self._matrix = _display_matrix(first)
            self._size = (first.width, first.height)
            # A browser's recording names no rate, and FFmpeg's guess may be a frame a millisecond.
            rate = stream.average_rate or _usual_rate(stream, pts, frames) or stream.guessed_rate
            self.info = self._describe(container, stream, first, rate or Fraction(25))
            self.end: int | None = None
            if stream.duration and self.damage is None:
                self.end = (stream.start_time or 0) + stream.duration - self._origin
        self.damage = None

    def name(self, index: int) -> str:
        """See ``Source``."""
        return f"{index:05d}"

    def decode(self, near: int | None = None) -> Iterator[Decoded]:
        """Decodes all frames, or those from the last key frame before ``near`` on; see ``Source``."""
        with open_container(self.path) as container:
            stream = self._video_stream(container)
            if near is not None:
                try:
                    container.seek(near + self._origin, stream=stream)
                except av.FFmpegError:  # a damaged index; from the beginning the frame is found
                    return
            for pts, frame in self._frames(container, stream, from_start=near is None):
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
        # Frames may be larger than the header says.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        # With threads that each take a frame, one broken frame would take its neighbours with it.
        stream.thread_type = "SLICE"
        return stream

    def _frames(
        self, container: InputContainer, stream: VideoStream, *, from_start: bool = True
    ) -> Iterator[tuple[int | None, VideoFrame]]:
        """Every frame that decodes, with its time stamp from the start of the clip [ticks]."""
        packets = container.demux(stream)
        # The header of an mp4 lists every frame: where the file is cut off, reading just ends.
        missing = len(stream.index_entries) if "mp4" in container.format.name else 0
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._note("it breaks off")
                return
            if packet is None:
                if missing > 0 and from_start:
                    self._note("it breaks off")
                return
            missing -= packet.size > 0
            if packet.is_corrupt:
                self._note("it breaks off")
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._note("a part of it cannot be decoded")
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._note("a part of it cannot be decoded")
                    continue
                pts = frame.pts if frame.pts is not None else frame.dts
                yield None if pts is None else pts - self._origin, frame

    def _note(self, what: str) -> None:
        self.damage = self.damage or f"{self.path.name} is damaged: {what}; only the frames that decode are used."

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
        # A file may change its frame size on the way; every frame takes the size of the first.
        width, height = self._size
        if any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8":
            return _turn(on_white(_array(frame.reformat(width, height, "rgba"))), self._matrix)
        if frame.color_trc in _HDR:
            # The tables of this conversion take a second to make: they are kept, and no two threads may use them at once.
            with self._converting:
                plain = self._converter.reformat(
                    frame,
                    width,
                    height,
                    "rgb24",
                    dst_color_trc=ColorTrc.BT709,
                    dst_color_primaries=ColorPrimaries.BT709,
                )
            return _turn(_array(plain), self._matrix)
        untagged_hd = frame.colorspace == _UNSPECIFIED and height >= _HD_HEIGHT and not frame.format.is_rgb
        colours = "ITU709" if untagged_hd else None
        return _turn(_array(frame.reformat(width, height, "rgb24", src_colorspace=colours)), self._matrix)


def _usual_rate(
    stream: VideoStream, first: int | None, following: Iterable[tuple[int | None, VideoFrame]]
) -> Fraction | None:
    """The rate of which half the first steps between frames are faster, if there are steps [frames/s]."""
    assert stream.time_base is not None
    stamps = [first, *(pts for pts, _ in islice(following, _FRAMES_TO_KNOW_THE_RATE))]
    steps = sorted(b - a for a, b in pairwise(stamps) if a is not None and b is not None and b > a)
    return 1 / (steps[len(steps) // 2] * stream.time_base) if steps else None


_FRAMES_TO_KNOW_THE_RATE = 48


def check_size(path: Path, width: int, height: int) -> None:
    """Refuses frames that are too large, before memory is taken for them.

    Raises:
        VideoError: They are.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(f"{path.name} is {width}x{height}: frames of more than 8K cannot be taken.")


def open_container(path: Path) -> InputContainer:
    """Opens a video file; nothing in it can make other files or the network be read.

    Raises:
        VideoError: It is no video.
    """
    # The prefix keeps a name like "concat:a|b" from being taken for an address.
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


def on_white(rgba: NDArray[np.uint8]) -> RGB:
    """Lays (H, W, 4) over white, as a viewer shows it."""
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


def _display_matrix(frame: VideoFrame) -> NDArray[np.int32]:
    """How stored pixels are mapped to the screen: (x, y) -> (x, y) @ matrix (2, 2), one of turns and mirrorings."""
    side_data: Any = frame.side_data  # a sequence, though its type says a dictionary
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
    return np.eye(2, dtype=np.int32)


def _turn(image: RGB, matrix: NDArray[np.int32]) -> RGB:
    (a, b), (c, d) = matrix
    if abs(int(b)) > abs(int(a)):  # x and y change places
        image = image.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
