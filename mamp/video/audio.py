"""Copying the audio of a clip into a video while its frames are written."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

# Codecs by the container they are copied into: for mp4 and webm, those that Chromium and Firefox play; for mov, editors.
# FFmpeg allows more, as Vorbis, PCM and AC-3 in mp4, that few can play.
_MP4 = frozenset({"aac", "mp3", "mp3float", "flac", "opus", "libopus"})
COPIED = {
    "mp4": _MP4,
    "mov": frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac"}),
    "webm": frozenset({"opus", "libopus", "vorbis"}),
}

_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # [Hz] of re-encoded audio
_MIN_MP3_RATE = 16_000  # [Hz]; slower MP3 is no part of mp4
_BIT_RATE = 96_000  # [bits/s] per channel
_GAP = 0.03  # [s]; longer gaps are filled with silence, so that later audio stays in sync


class AudioTrackCopier:
    """Copies the best audio track of a clip into an mp4, mov or webm, re-encoded where the container needs it.

    Args:
        source: The clip, opened for the copier alone.
        start: Time stamp of the first frame [s].
        output: The video; nothing may have been written yet.

    Attributes:
        description: Codec and treatment, for the receipt; ``None`` if there is no audio.
    """

    def __init__(self, source: InputContainer, start: Fraction, output: OutputContainer) -> None:
        self.description: str | None = None
        self._output = output
        self._packets: Iterator[Packet[AudioStream]] = iter(())
        self._pending: Packet[AudioStream] | None = None
        stream = source.streams.best("audio")
        if not isinstance(stream, AudioStream) or getattr(stream, "codec_context", None) is None:
            return
        codec = stream.codec_context.name
        container = output.format.name
        slow_mp3 = codec.startswith("mp3") and stream.sample_rate < _MIN_MP3_RATE
        if codec in COPIED[container] and not slow_mp3:
            self._packets = self._copied(source, stream, start)
            self._out = output.add_stream_from_template(stream)
            self.description = f"{codec}, copied"
        else:
            self._packets = self._encoded(source, stream, start)
            opus = container == "webm"
            rates = [rate for rate in _RATES if rate >= stream.sample_rate]
            rate = rates[0] if rates and not opus else _RATES[-1]
            self._out = output.add_stream("libopus" if opus else "aac", rate=rate)
            self._out.layout = "mono" if stream.channels == 1 else "stereo"
            self._out.bit_rate = _BIT_RATE * self._out.channels
            self.description = f"{codec}, encoded again as {self._out.codec_context.name}"

    def write_until(self, until: Fraction | None) -> None:
        """Writes audio that begins before a time [s]; ``None`` for all of the rest."""
        while True:
            packet = self._pending or next(self._packets, None)
            self._pending = packet
            if packet is None or (
                until is not None and packet.pts is not None and packet.pts * packet.time_base >= until
            ):
                return
            self._pending = None
            packet.stream = self._out
            try:
                self._output.mux_one(packet)
            except av.FFmpegError:
                self._note_damage()

    def _copied(self, source: InputContainer, stream: AudioStream, start: Fraction) -> Iterator[Packet[AudioStream]]:
        for packet in self._demuxed(source, stream):
            if packet.pts is None or packet.dts is None:  # the last packet only flushes decoders
                continue
            shift = round(start / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            if packet.pts + (packet.duration or 1) >= 0:  # decoders need the packet that spans the start
                yield packet

    def _encoded(self, source: InputContainer, stream: AudioStream, start: Fraction) -> Iterator[Packet[AudioStream]]:
        encoder = self._out.codec_context
        resampler = AudioResampler(
            format=encoder.format,
            layout=encoder.layout,
            rate=encoder.rate,
            options={"async": "1", "min_hard_comp": str(_GAP)},
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
