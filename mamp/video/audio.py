"""Carries the sound of a clip into a video that is being written beside it, a little at a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

_MP4 = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "flac", "opus", "libopus"})
# By container, what browsers or common players know inside it. FFmpeg would put more there (Vorbis, PCM) that few can play.
COPIED = {"mp4": _MP4, "mov": _MP4 - {"flac", "opus", "libopus"}, "webm": frozenset({"opus", "libopus", "vorbis"})}

_MAX_RATE = 48_000  # [Hz] of what is encoded again
_BIT_RATE = 96_000  # [bits/s] a channel
_HOLE = 0.03  # [s] from which on missing sound is filled with silence, so that what follows stays in time


class AudioTrackCopier:
    """The first choice of a clip's sound tracks on its way into an mp4, mov or webm.

    Args:
        source: The clip, opened for this alone.
        start: Time stamp at which the clip begins [s].
        output: The video; nothing may have been written to it yet.

    Attributes:
        description: What was done to it, for the receipt; ``None`` if there is no sound.
    """

    def __init__(self, source: InputContainer, start: Fraction, output: OutputContainer) -> None:
        self.description: str | None = None
        self._output = output
        self._packets: Iterator[Packet[AudioStream]] = iter(())
        self._waiting: Packet[AudioStream] | None = None
        stream = source.streams.best("audio")
        if not isinstance(stream, AudioStream) or getattr(stream, "codec_context", None) is None:
            return
        codec = stream.codec_context.name
        container = output.format.name
        if codec in COPIED[container]:
            self._packets = self._copied(source, stream, start)
            self._out = output.add_stream_from_template(stream)
            self.description = f"{codec}, copied"
        else:
            self._packets = self._encoded(source, stream, start)
            opus = container == "webm"
            rate = _MAX_RATE if opus else min(stream.sample_rate, _MAX_RATE)
            self._out = output.add_stream("libopus" if opus else "aac", rate=rate)
            self._out.layout = "mono" if stream.channels == 1 else "stereo"
            self._out.bit_rate = _BIT_RATE * self._out.channels
            self.description = f"{codec}, encoded again as {self._out.codec_context.name}"

    def carry(self, until: Fraction | None) -> None:
        """Writes the sound that begins before a time [s]; ``None`` for all that is left."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or (
                until is not None and packet.pts is not None and packet.pts * packet.time_base >= until
            ):
                return
            self._waiting = None
            packet.stream = self._out
            try:
                self._output.mux_one(packet)
            except av.FFmpegError:
                self._note_damage()

    def _copied(self, source: InputContainer, stream: AudioStream, start: Fraction) -> Iterator[Packet[AudioStream]]:
        for packet in self._demuxed(source, stream):
            if packet.pts is None or packet.dts is None:  # the last one, which only flushes decoders
                continue
            shift = round(start / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            if packet.pts + (packet.duration or 1) >= 0:  # one before the beginning is what decoders need to start
                yield packet

    def _encoded(self, source: InputContainer, stream: AudioStream, start: Fraction) -> Iterator[Packet[AudioStream]]:
        encoder = self._out.codec_context
        resampler = AudioResampler(
            format=encoder.format,
            layout=encoder.layout,
            rate=encoder.rate,
            options={"async": "1", "min_hard_comp": str(_HOLE)},
        )
        for packet in self._demuxed(source, stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._note_damage()
                continue
            for frame in frames:
                if frame.pts is not None and frame.time_base is not None:
                    frame.pts -= round(start / frame.time_base)
                    if frame.pts + frame.samples / (frame.sample_rate * frame.time_base) <= 0:
                        continue
                for resampled in resampler.resample(frame):
                    yield from encoder.encode(resampled)
        for resampled in resampler.resample(None):
            yield from encoder.encode(resampled)
        yield from encoder.encode(None)

    def _demuxed(self, source: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        packets = source.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._note_damage()
                return
            if packet is None:
                return
            yield packet

    def _note_damage(self) -> None:
        if self.description is not None and "damaged" not in self.description:
            self.description += "; a part of it is damaged"
