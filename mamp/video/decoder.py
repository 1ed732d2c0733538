"""Video files, decoded through PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mamp.video.deinterlace import Deinterlacer
from mamp.video.display_times import DisplayTimes, LateFrames, ascending
from mamp.video.frame_conversion import FrameConverter
from mamp.video.source import MAX_PIXELS, Decoded, VideoError, VideoInfo, check_size

# FFmpeg's demuxers by the suffixes of their files. None is a playlist: those open other files.
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": ("mp4", "mov", "m4v", "3gp"),
    "matroska,webm": ("mkv", "webm"),
    "avi": ("avi",),
    "mpegts": ("ts", "mts", "m2ts"),
    "mpeg": ("mpg", "vob"),
    "flv": ("flv",),
    "asf": ("wmv",),
    "mxf": ("mxf",),
    "ogg": ("ogv",),
    "gif": ("gif",),
}
VIDEO_SUFFIXES = (*(f".{suffix}" for suffixes in _CONTAINERS.values() for suffix in suffixes), ".webp", ".tif")

_UNINDEXED = frozenset({"mpegts", "mpeg", "ogg", "asf", "flv", "mxf"})
_KEY_FRAME_DISTANCE = Fraction(3)  # [s] between key frames, at most, in most files
_DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}  # frames may be larger than in the header


class VideoFile:
    """A video file, through FFmpeg's decoders; only local files of the kinds in ``VIDEO_SUFFIXES``."""

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, [path]
        self.damage: str | None = None
        self.notes: list[str] = []
        self._deinterlacer = Deinterlacer()
        self._unordered = self._lacks_display_times()
        with open_container(path, whole=self._unordered) as container:
            stream = self._video_stream(container)
            start = max(container.start_time or 0, 0)  # [microseconds]; a recording may begin hours after zero
            self._start = Fraction(start, 1_000_000)
            assert stream.time_base is not None
            self._origin = round(self._start / stream.time_base)
            frames = self._deinterlacer(self._frames(container, stream))
            pts, first = next(frames, (None, None))
            if first is None:
                raise VideoError(f"{path.name} has no frame that can be decoded.", "no_frame", name=path.name)
            if pts is not None and container.format.name == "avi":  # FFmpeg adds the delay of a decoder that reorders
                self._origin += pts
                pts = 0
            self._to_rgb = FrameConverter(path.name, stream.codec_context.name, first)
            # A browser's recording has no rate, and FFmpeg's guess may be 1,000 frames/s.
            rate = stream.average_rate or _median_rate(stream, pts, frames) or stream.guessed_rate
            self.info = self._describe(container, stream, first, rate or Fraction(25))
            self.end: int | None = None
            if stream.duration and self.damage is None:
                self.end = (stream.start_time or 0) + stream.duration - self._origin
        self.damage = None
        if self._deinterlacer.found:
            self.notes.append("The clip is interlaced: its frames are deinterlaced.")

    def name(self, index: int) -> str:
        """See ``Source``."""
        return f"{index:05d}"

    def decode(self, seek_pts: int | None = None) -> Iterator[Decoded]:
        """Decodes all frames, or those from the last key frame before ``seek_pts``; see ``Source``."""
        with open_container(self.path, whole=self._unordered) as container:
            stream = self._video_stream(container)
            if seek_pts is not None:
                if self._unordered:  # times depend on all earlier frames: the caller decodes from the first one
                    return
                try:
                    container.seek(self._seek_target(seek_pts, container, stream), stream=stream)
                except av.FFmpegError:  # a damaged index: the caller decodes from the first frame
                    return
            for pts, frame in self._deinterlacer(self._frames(container, stream, from_start=seek_pts is None)):
                yield Decoded(pts, frame.duration or 0, partial(self._to_rgb, frame))

    def _seek_target(self, pts: int, container: InputContainer, stream: VideoStream) -> int:
        """Where to seek, so that decoding starts at a key frame before a frame [ticks]."""
        assert stream.time_base is not None
        target = pts + self._origin
        if container.format.name in _UNINDEXED:
            target -= round(_KEY_FRAME_DISTANCE / stream.time_base)
        return target - 1 if self._deinterlacer.found else target  # with the frame before it, for deinterlacing

    def _lacks_display_times(self) -> bool:
        """Whether frames are reordered, but have the times of the decoding order, as in AVI and in an mp4 without ctts."""
        self._unordered, self._origin = False, 0
        with open_container(self.path) as container:
            stream = self._video_stream(container)
            if not stream.codec_context.has_b_frames:
                return False
            try:
                stamps = [packet.pts for packet in islice(container.demux(stream), _FRAMES_FOR_ORDER)]
            except av.FFmpegError:
                return False
        if not ascending(stamps):
            return False
        with open_container(self.path) as container:
            frames = islice(self._frames(container, self._video_stream(container)), _FRAMES_FOR_ORDER)
            return not ascending([pts for pts, _ in frames])

    def _video_stream(self, container: InputContainer) -> VideoStream:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            text = f"{self.path.name} has no video in it, only sound or pictures."
            raise VideoError(text, "no_video", name=self.path.name)
        best = container.streams.best("video")
        stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        if getattr(stream, "codec_context", None) is None:
            text = f"{self.path.name} is compressed in a way that cannot be decoded here."
            raise VideoError(text, "codec", name=self.path.name)
        check_size(self.path, stream.width, stream.height)
        stream.codec_context.options = _DECODER_OPTIONS
        # With frame threads, one broken frame would lose its neighbors too.
        stream.thread_type = "SLICE"
        return stream

    def _frames(
        self, container: InputContainer, stream: VideoStream, *, from_start: bool = True
    ) -> Iterator[tuple[int | None, VideoFrame]]:
        """Every decodable frame, with its time stamp from the start of the clip [ticks]."""
        packets = container.demux(stream)
        decoder = _alpha_decoder(stream) or stream.codec_context
        # The header of an mp4 lists every frame: a truncated file ends without an error.
        missing = len(stream.index_entries) if "mp4" in container.format.name else 0
        started = from_start
        times = DisplayTimes() if self._unordered else None
        late = LateFrames()
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
            started = started or packet.is_keyframe or packet.size == 0
            if not started:  # seeking without an index ends between key frames
                continue
            if times is not None:
                times.add(packet)
            late.add(packet)
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError:
                late.damaged = True
                self._note_undecodable(packet)
                if times is not None:
                    times.drop()
                continue
            if stream.codec_context.name in _ESCAPED_CODECS and _is_overwritten(packet):
                late.damaged = True
                where = self._place(packet)
                self._note_damage(f"a part of it is overwritten with zeros{where}", "later frames may be wrong")
            for frame in frames:
                pts = frame.pts if frame.pts is not None else frame.dts
                if times is not None:
                    pts = times.take()
                if frame.is_corrupt:
                    late.damaged = True
                    self._note_undecodable(packet)
                    continue
                if not late.is_late(pts):
                    yield None if pts is None else pts - self._origin, frame

    def _note_undecodable(self, packet: Packet[VideoStream]) -> None:
        effect = "only the frames that decode are used, and those after it may be wrong"
        self._note_damage(f"a part of it cannot be decoded{self._place(packet)}", effect)

    def _place(self, packet: Packet[VideoStream]) -> str:
        """Where a packet is in the clip, after a part of a sentence."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        return "" if stamp is None else f" at {float((stamp - self._origin) * packet.time_base):.1f} s"

    def _note_damage(self, cause: str, effect: str = "only the frames that decode are used") -> None:
        self.damage = self.damage or f"{self.path.name} is damaged: {cause}; {effect}."

    def _describe(self, container: InputContainer, stream: VideoStream, first: VideoFrame, rate: Fraction) -> VideoInfo:
        matrix, (height, width) = self._to_rgb.matrix, self._to_rgb.size
        sideways = abs(matrix[0, 1]) > abs(matrix[0, 0])
        if sideways:
            height, width = width, height
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


def _is_overwritten(packet: Packet[VideoStream]) -> bool:
    """Whether a packet has a long run of zeros; those of ``_ESCAPED_CODECS`` have none, except as padding after a part.

    FFmpeg conceals such damage: it marks neither the frame nor those that depend on it as corrupt.
    """
    return _ZEROS.search(bytes(packet)) is not None


_ESCAPED_CODECS = ("h264", "hevc")  # three zeros in a row are not allowed within a part of a frame
_ZEROS = re.compile(rb"\0{256}\0*[^\0\x01]")  # a 1 after zeros begins the next part: they are padding


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """The decoder for a WebM with alpha, whose alpha FFmpeg's own decoders skip; ``None`` for other streams."""
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    decoder = VideoCodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.options = _DECODER_OPTIONS
    return decoder


_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def _median_rate(
    stream: VideoStream, first: int | None, following: Iterable[tuple[int | None, VideoFrame]]
) -> Fraction | None:
    """The median rate over the first frames, if they have increasing time stamps [frames/s]."""
    assert stream.time_base is not None
    stamps = [first, *(pts for pts, _ in islice(following, _FRAMES_FOR_RATE))]
    steps = sorted(b - a for a, b in pairwise(stamps) if a is not None and b is not None and b > a)
    return 1 / (steps[len(steps) // 2] * stream.time_base) if steps else None


_FRAMES_FOR_RATE = 48
_FRAMES_FOR_ORDER = 100


def open_container(path: Path, *, whole: bool = False) -> InputContainer:
    """Opens a video file without access to other files or the network.

    Args:
        path: The file.
        whole: Whether to ignore the edit list of an mp4, which hides frames by their times.

    Raises:
        VideoError: The file is not a video.
    """
    # With the prefix, a name like "concat:a|b" is not parsed as a URL.
    name = f"file:{path.absolute()}"
    options = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "file"}
    if whole:
        options["ignore_editlist"] = "1"
    try:
        return av.open(name, "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        text = f"{path.name} cannot be read: it is no video, or it is damaged or incomplete."
        raise VideoError(text, "unreadable", name=path.name) from error
