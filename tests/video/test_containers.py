"""Every container that people have is read with its frames, times and sound; what is written plays in browsers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler

from mamp.video.decoder import VIDEO_SUFFIXES
from mamp.video.reader import VideoError, VideoReader
from mamp.video.writer import VideoWriter

COUNT = 40
RATE = 48_000


def shade(t: int) -> int:
    return 30 + 5 * t


def clip(path: Path, video: str, sound: str | None = None, *, at: float = 0.5, rate: int = RATE) -> Path:
    """A clip of 25 frames/s, shaded by frame, with a tone that begins at ``at`` [s] and a flash on that frame."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 200, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(video, rate=25, options={"bf": "2"} if video == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
        stream.codec_context.gop_size, stream.bit_rate = 12, 3_000_000
        if video == "mpeg2video":
            stream.codec_context.max_b_frames = 2
        options = {"strict": "experimental"}  # for Vorbis
        tone: Any = container.add_stream(sound, rate=rate, layout="stereo", options=options) if sound else None
        if tone is not None:
            tone.codec_context.bit_rate = 128_000
        for t in range(COUNT):
            image = np.resize(noise[:, t : t + 176], (144, 176, 3))
            image[:72] = shade(t)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(rate * COUNT // 25) * 2 * np.pi * 440 / rate) * 0.9
            wave[: round(at * rate)] = 0
            samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), "fltp", "stereo")
            samples.sample_rate, samples.pts, samples.time_base = rate, 0, Fraction(1, rate)
            encoder = tone.codec_context
            resampler = AudioResampler(encoder.format, encoder.layout, rate, frame_size=encoder.frame_size or 1024)
            for part in [*resampler.resample(samples), *resampler.resample(None)]:
                container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return path


def tone_after_first_frame(path: Path) -> float:
    """When the sound becomes loud, from the first frame on [s]."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float)
            loud = np.abs(samples[0]) > 0.2 * (
                1 if frame.format.name.startswith("flt") else np.iinfo(frame.to_ndarray().dtype).max
            )
            if loud.any():
                channels = 1 if frame.format.is_planar else 2
                return float(frame.time + int(loud.argmax()) / channels / frame.sample_rate - first)
    raise AssertionError("silence")


def copy(path: Path, suffix: str = ".mp4") -> VideoWriter:
    reader = VideoReader(path)
    with VideoWriter(path.with_name(f"out{suffix}"), reader, (144, 176)) as writer:
        for frame in reader:
            image = frame.image if suffix == ".mp4" else np.dstack((frame.image, frame.image[..., :1] * 0 + 255))
            writer.write(image, frame.time, frame.duration)
    return writer


CONTAINERS = [
    ("in.ts", "libx264", "aac"),
    ("in.mts", "libx264", "ac3"),
    ("in.m2ts", "mpeg2video", "mp2"),
    ("in.mpg", "mpeg2video", "mp2"),
    ("in.vob", "mpeg2video", "ac3"),
    ("in.flv", "libx264", "aac"),
    ("in.flv", "flv", "libmp3lame"),
    ("in.wmv", "wmv2", "wmav2"),
    ("in.mxf", "mpeg2video", "pcm_s16le"),
    ("in.ogv", "libvpx", "libopus"),
    ("in.3gp", "mpeg4", "aac"),
    ("in.m4v", "mpeg4", "aac"),
]


@pytest.mark.parametrize(("name", "video", "sound"), CONTAINERS)
def test_every_container_is_read_with_its_times_and_sound(tmp_path: Path, name: str, video: str, sound: str) -> None:
    path = clip(tmp_path / name, video, sound)
    assert path.suffix in VIDEO_SUFFIXES
    reader = VideoReader(path)
    frames = list(reader)
    assert len(frames) == reader.count() == COUNT and reader.damage is None
    assert 0 <= frames[0].time < 0.06  # the sound may begin earlier
    assert [round(25 * (frame.time - frames[0].time)) for frame in frames] == list(range(COUNT))
    assert all(abs(float(frame.image[8:60].mean()) - shade(t)) < 8 for t, frame in enumerate(frames))
    backwards = list(reader.backwards(COUNT - 1))[::-1]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(frames, backwards, strict=True))
    assert all(np.array_equal(reader.frame(t).image, frames[t].image) for t in (1, 13, COUNT - 1))
    wanted = [0, 1, COUNT - 3, COUNT - 1]
    chosen = list(reader.frames(reversed(wanted)))
    assert [frame.index for frame in chosen] == wanted
    assert all(np.array_equal(frame.image, frames[frame.index].image) for frame in chosen)
    assert [frame.time for frame in reader.forwards(13)] == [frame.time for frame in frames[13:]]
    copy(path)
    assert tone_after_first_frame(tmp_path / "out.mp4") == pytest.approx(tone_after_first_frame(path), abs=0.01)


@pytest.mark.parametrize(
    ("sound", "name", "described"),
    [
        ("aac", "in.mkv", "aac, copied"),
        ("libmp3lame", "in.mkv", "mp3float, copied"),
        ("libopus", "in.mkv", "opus, copied"),
        ("flac", "in.mkv", "flac, copied"),
        ("ac3", "in.mp4", "ac3, encoded again as aac"),
        ("eac3", "in.mkv", "eac3, encoded again as aac"),
        ("alac", "in.mov", "alac, encoded again as aac"),
        ("pcm_s24le", "in.mov", "pcm_s24le, encoded again as aac"),
        ("mp2", "in.mkv", "mp2, encoded again as aac"),
        ("vorbis", "in.mkv", "vorbis, encoded again as aac"),
    ],
)
def test_sound_that_browsers_do_not_play_is_encoded_again(
    tmp_path: Path, sound: str, name: str, described: str
) -> None:
    path = clip(tmp_path / name, "libx264", sound)
    assert copy(path).audio == described
    assert tone_after_first_frame(tmp_path / "out.mp4") == pytest.approx(tone_after_first_frame(path), abs=0.01)


@pytest.mark.parametrize(
    ("sound", "rate", "described"),
    [
        ("libmp3lame", 8_000, "mp3float, encoded again as aac"),
        ("libmp3lame", 22_050, "mp3float, copied"),
        ("pcm_s16le", 4_000, "pcm_s16le, encoded again as aac"),
        ("pcm_s16le", 37_800, "pcm_s16le, encoded again as aac"),
        ("pcm_s16le", 96_000, "pcm_s16le, encoded again as aac"),
    ],
)
def test_sound_of_any_rate_is_written(tmp_path: Path, sound: str, rate: int, described: str) -> None:
    path = clip(tmp_path / "in.mkv", "libx264", sound, rate=rate)
    assert copy(path).audio == described
    assert tone_after_first_frame(tmp_path / "out.mp4") == pytest.approx(tone_after_first_frame(path), abs=0.03)


def test_playlists_and_lists_of_files_stay_refused(tmp_path: Path) -> None:
    clip(tmp_path / "clip.ts", "libx264")
    texts = {
        "list.m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n",
        "list.ts": "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n",
        "concat.mxf": "ffconcat version 1.0\nfile clip.ts\n",
        "dash.mpg": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>clip.ts</BaseURL></MPD>',
        "stream.wmv": "[Reference]\nRef1=clip.ts\n",
        "session.flv": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match=name):
            VideoReader(tmp_path / name)
