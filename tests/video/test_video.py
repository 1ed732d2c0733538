"""Clips go in as people see them and come out with their times and their sound."""

from __future__ import annotations

import re
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from numpy.typing import NDArray
from PIL import Image

from mamp.evaluation.vos_datasets import VosSequence
from mamp.training.frame_pairs import read_window
from mamp.video.reader import VideoError, VideoReader
from mamp.video.source import Decoded
from mamp.video.writer import VideoWriter, cut_clip
from tests.conftest import ROOT, scene, write_clip

RED = (255, 0, 0)
MS = Fraction(1, 1000)
Picture = NDArray[np.uint8]


def frame_image(height: int = 48, width: int = 64, shade: int = 40) -> Picture:
    """Gray, with a red upper left quarter."""
    image = np.full((height, width, 3), shade, np.uint8)
    image[: height // 2, : width // 2] = RED
    return image


def make(
    path: Path,
    *,
    times: Sequence[int] = tuple(range(0, 400, 40)),
    time_base: Fraction = MS,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (48, 64),
    turn: int = 0,
    mirrored: bool = False,
    sound: str | None = None,
    sound_at: float = 0.0,
    last: int = 40,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes a clip; frame i is shaded 10 + 5 i. The sound is a tone of a second that begins at ``sound_at`` [s]."""
    options = {"bf": "0", **(options or {})} if codec == "libx264" else options or {}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options, time_base=time_base)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if turn or mirrored:
            stream.set_display_rotation(turn, hflip=mirrored)
        tone: Any = container.add_stream(sound, rate=48000) if sound else None
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(frame_image(*size, shade=10 + 5 * (index % 40)), "rgb24").reformat(
                format=pixels
            )
            frame.pts, frame.time_base = time, time_base
            for packet in stream.encode(frame):
                packet.duration = last
                container.mux(packet)
        for packet in stream.encode():
            packet.duration = last
            container.mux(packet)
        if tone is not None:
            wave = np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000).astype(np.float32)
            planes: Any = np.stack([wave, wave])
            if tone.codec_context.format.name == "s16":
                planes = (planes.T * 30000).astype(np.int16).reshape(1, -1)
            samples = av.AudioFrame.from_ndarray(planes, tone.codec_context.format.name, "stereo")
            samples.sample_rate, samples.pts, samples.time_base = 48000, round(sound_at * 48000), Fraction(1, 48000)
            for packet in [*tone.encode(samples), *tone.encode(None)]:
                container.mux(packet)
    return path


def copy(clip: Path, frames: int | None = None) -> tuple[VideoReader, VideoReader, VideoWriter]:
    """Copies the frames of a clip into a new video."""
    reader = VideoReader(clip)
    out = clip.with_name("out.mp4")
    with VideoWriter(out, reader, (reader.info.height, reader.info.width)) as writer:
        for frame in reader:
            if frame.index == frames:
                break
            writer.write(frame.image, frame.time, frame.duration)
    return reader, VideoReader(out), writer


def times(reader: VideoReader) -> list[tuple[Fraction, Fraction]]:
    return [(frame.time, frame.duration) for frame in reader]


def tone_starts(path: Path) -> float:
    """When the sound becomes loud [s]."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]):
            loud = np.abs(frame.to_ndarray()[0].astype(float)) > (1000 if frame.format.name == "s16" else 0.03)
            if loud.any():
                channels = 1 if frame.format.is_planar else 2
                assert frame.time is not None
                return frame.time + int(loud.argmax()) / channels / frame.sample_rate
    raise AssertionError("silence")


def corner(image: Picture) -> tuple[bool, bool]:
    """Position of the red quarter: (bottom, right)."""
    red = (image[..., 0] > 180) & (image[..., 1] < 90)
    y, x = np.nonzero(red)
    return bool(y.mean() > image.shape[0] / 2), bool(x.mean() > image.shape[1] / 2)


@pytest.mark.parametrize(
    ("turn", "mirrored", "rotation", "expected"),
    [
        (0, False, 0, (False, False)),
        (90, False, 270, (True, False)),
        (180, False, 180, (True, True)),
        (270, False, 90, (False, True)),
        (0, True, 0, (False, True)),
    ],
)
def test_a_rotated_clip_is_written_upright(
    tmp_path: Path, turn: int, mirrored: bool, rotation: int, expected: tuple[bool, bool]
) -> None:
    reader, written, _ = copy(make(tmp_path / "in.mp4", turn=turn, mirrored=mirrored))
    size = (64, 48) if turn in (90, 270) else (48, 64)
    assert (reader.info.height, reader.info.width) == size
    if not mirrored:
        assert reader.info.rotation == rotation
    for clip in (reader, written):
        image = clip.frame(3).image
        assert image.shape == (*size, 3)
        assert corner(image) == expected
    assert written.info.rotation == 0


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov"])
def test_variable_frame_times_are_kept_exactly(tmp_path: Path, kind: str) -> None:
    reader, written, _ = copy(make(tmp_path / f"in.{kind}", times=[0, 40, 100, 110, 300, 340]))
    assert [frame.time for frame in reader] == [time * MS for time in (0, 40, 100, 110, 300, 340)]
    assert times(written) == times(reader)


def test_the_rate_of_a_browsers_recording_is_that_of_its_frames(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.webm", codec="libvpx", times=[0, 33, 66, 99, 350, 383, 416])
    default_duration = clip.read_bytes().index(b"\x23\xe3\x83\x84")
    with clip.open("r+b") as file:  # a recording has none
        file.seek(default_duration)
        file.write(b"\xec\x86" + bytes(6))
    reader = VideoReader(clip)
    assert reader.info.fps == Fraction(1000, 33)
    assert [frame.time for frame in reader] == [time * MS for time in (0, 33, 66, 99, 350, 383, 416)]


def test_the_last_frame_keeps_its_duration(tmp_path: Path) -> None:
    reader, written, _ = copy(make(tmp_path / "in.mp4", times=[0, 40, 80], last=700))
    assert times(reader)[-1] == (80 * MS, 700 * MS)
    assert times(written)[-1] == (80 * MS, 700 * MS)
    assert written.info.duration == pytest.approx(0.78)


def test_a_television_rate_stays_exact(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.avi", codec="mpeg4", times=range(10), time_base=Fraction(1001, 30000), last=1)
    reader, written, _ = copy(clip)
    assert times(written) == times(reader) == [(i * Fraction(1001, 30000), Fraction(1001, 30000)) for i in range(10)]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "size"),
    [
        ("in.webm", "libvpx-vp9", "yuv420p", (48, 64)),
        ("in.gif", "gif", "rgb8", (48, 64)),
        ("in.mov", "libx264", "yuv420p10le", (48, 64)),
        ("in.mkv", "libx264", "yuv444p", (47, 63)),
    ],
)
def test_many_kinds_of_clips_become_h264_of_even_size(
    tmp_path: Path, name: str, codec: str, pixels: str, size: tuple[int, int]
) -> None:
    base = Fraction(1, 100) if codec == "gif" else MS
    clip = make(tmp_path / name, codec=codec, pixels=pixels, size=size, time_base=base, times=range(0, 40, 4), last=4)
    reader, written, _ = copy(clip)
    assert reader.count() == written.count() == 10
    assert reader.frame(0).image.shape == (*size, 3)
    assert (written.info.height, written.info.width) == (48, 64)
    assert (written.info.codec, written.info.pixel_format) == ("h264", "yuv420p")
    assert times(written) == times(reader)


@pytest.mark.parametrize(
    "options",
    [
        {"time_base": Fraction(1, 120), "times": range(24), "last": 1},
        {"options": {"x264-params": "tff=1"}},  # interlaced
        {
            "pixels": "yuv420p10le",
            "options": {"x264-params": "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"},
        },
    ],
    ids=["120 frames a second", "interlaced", "HDR"],
)
def test_unusual_clips_keep_their_frames_and_times(tmp_path: Path, options: dict[str, Any]) -> None:
    reader, written, _ = copy(make(tmp_path / "in.mp4", **options))
    assert reader.count() == written.count() == len(options.get("times", range(10)))
    assert times(written) == times(reader) and reader.damage is None
    assert corner(reader.frame(3).image) == (False, False)


@pytest.mark.parametrize(("transfer", "white", "gray"), [("smpte2084", 38055, 33291), ("arib-std-b67", 49151, 32768)])
def test_hdr_is_as_bright_as_other_clips(tmp_path: Path, transfer: str, white: int, gray: int) -> None:
    """Reference white of BT.2408, 203 cd/m2, and half of it in PQ or half of the signal in HLG."""
    path = tmp_path / "hdr.mp4"
    parameters = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"x264-params": parameters, "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        image = np.full((48, 64, 3), white, np.uint16)
        image[:, 32:] = gray
        frame = av.VideoFrame.from_ndarray(image, "rgb48le").reformat(
            format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_range="MPEG"
        )
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    read = VideoReader(path).frame(0).image.astype(int)
    assert read[24, 16].min() >= 250
    assert np.abs(read[24, 48] - read[24, 48].mean()).max() <= 3
    assert 140 <= read[24, 48].mean() <= 200


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream: Any = container.add_stream("libvpx", rate=25, width=64, height=48, pix_fmt="yuv420p")
        larger: Any = av.CodecContext.create("libvpx", "w")
        larger.width, larger.height, larger.pix_fmt, larger.framerate = 128, 96, "yuv420p", 25
        larger.time_base = Fraction(1, 25)
        for index in range(10):
            encoder = stream.codec_context if index < 5 else larger
            frame = av.VideoFrame.from_ndarray(frame_image(encoder.height, encoder.width), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in [*encoder.encode(frame), *(encoder.encode(None) if index in (4, 9) else [])]:
                packet.stream = stream
                container.mux(packet)
    reader = VideoReader(tmp_path / "in.mkv")
    assert [frame.image.shape for frame in reader] == [(48, 64, 3)] * 10
    assert all(corner(frame.image) == (False, False) for frame in reader)


def test_colors_survive_a_round_trip(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = (
        (200, 30, 40),
        (20, 180, 60),
        (30, 50, 220),
        128,
    )
    with VideoWriter(tmp_path / "out.mp4", None, (48, 64)) as writer:
        writer.write(image, Fraction(0))
    read = VideoReader(tmp_path / "out.mp4").frame(0).image
    for y in (12, 36):
        for x in (16, 48):
            assert np.abs(read[y, x].astype(int) - image[y, x]).max() <= 6


def test_the_index_precedes_the_frames(tmp_path: Path) -> None:
    copy(make(tmp_path / "in.mp4"))
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("name", "codec", "described"),
    [
        ("in.mp4", "aac", "aac, copied"),
        ("in.mov", "pcm_s16le", "pcm_s16le, encoded again as aac"),
        ("in.mkv", "pcm_s16le", "pcm_s16le, encoded again as aac"),
    ],
)
@pytest.mark.parametrize("at", [0.0, 0.3])
def test_audio_stays_in_sync(tmp_path: Path, name: str, codec: str, described: str, at: float) -> None:
    clip = make(tmp_path / name, times=range(0, 1200, 40), sound=codec, sound_at=at)
    _, written, writer = copy(clip)
    assert writer.audio == described
    assert written.info.has_audio
    assert tone_starts(tmp_path / "out.mp4") == pytest.approx(tone_starts(clip), abs=0.005)


def test_audio_ends_with_the_last_frame_of_a_partial_video(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mp4", times=range(0, 1000, 40), sound="aac")
    _, written, _ = copy(clip, frames=10)
    assert written.count() == 10
    assert written.info.duration == pytest.approx(0.4, abs=0.03)


def test_an_unfinished_video_is_deleted_on_an_error_or_closed_to_keep_it(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("earlier")
    with pytest.raises(RuntimeError), VideoWriter(out, None, (48, 64)) as writer:
        writer.write(frame_image(), Fraction(0))
        raise RuntimeError
    assert out.read_text() == "earlier"
    kept = VideoWriter(out, None, (48, 64))
    for index in range(5):
        kept.write(frame_image(), index * Fraction(1, 25))
    kept.close()
    assert VideoReader(out).count() == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        Image.fromarray(frame_image(shade=number)).save(tmp_path / f"frame{number}.png")
    reader = VideoReader(tmp_path)
    assert [reader.name(index) for index in range(reader.count())] == ["frame1", "frame2", "frame10"]
    assert [int(frame.image[-1, -1, 0]) for frame in reader] == [1, 2, 10]


def test_transparent_pixels_are_shown_on_white(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (32, 32), (0, 0, 255, 255)) for _ in range(3)]
    for frame in frames:
        frame.paste((0, 0, 0, 0), (0, 0, 16, 32))
    for name in ("in.gif", "in.webp"):
        options: dict[str, Any] = {"lossless": True} if name == "in.webp" else {"disposal": 2}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=[40, 80, 120], **options)
        image = VideoReader(tmp_path / name).frame(0).image
        assert image[16, 4].tolist() == [255, 255, 255]
        assert image[16, 28].tolist() == [0, 0, 255]


def test_an_animated_webp_keeps_its_times(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame_image(shade=shade)) for shade in (10, 90, 200)]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:], duration=[40, 80, 120])
    reader, written, _ = copy(tmp_path / "in.webp")
    assert times(written) == times(reader) == [(0 * MS, 40 * MS), (40 * MS, 80 * MS), (120 * MS, 120 * MS)]


@pytest.mark.parametrize("group", ["1", "7", "250"])
def test_backwards_returns_the_same_frames_in_reverse(
    tmp_path: Path, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mamp.video.reader._BLOCK_BYTES", 5 * 48 * 64 * 3)  # five frames at a time
    clip = make(tmp_path / "in.mp4", times=range(0, 1200, 40), options={"g": group, "bf": "2"})
    reader = VideoReader(clip)
    forwards = [(frame.index, frame.time, frame.image.tobytes()) for frame in reader]
    backwards = [(frame.index, frame.time, frame.image.tobytes()) for frame in reader.backwards(22)]
    assert backwards == forwards[22::-1]
    assert reader.frame(13).image.tobytes() == forwards[13][2]


class Stamps:
    """A stand-in for a file with any time stamps."""

    def __init__(self, *stamps: int | None) -> None:
        self.stamps = stamps
        self.damage, self.end = None, None

    def decode(self, near: int | None = None) -> Iterator[Decoded]:
        for stamp in self.stamps:
            yield Decoded(stamp, 40, frame_image)


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ((0, None, 80, 120), [0, 40, 80, 120]),
        ((0, 40, 40, 120), [0, 40, 60, 120]),
        ((0, 40, 30, 120), [0, 40, 60, 120]),
        ((None, None, None), [0, 40, 80]),
        ((5000, 5040, 0, 40), [5000, 5040, 5080, 5120]),
    ],
)
def test_missing_and_backward_time_stamps_are_replaced(
    tmp_path: Path, stamps: tuple[int | None, ...], expected: list[int]
) -> None:
    reader = VideoReader(make(tmp_path / "in.mkv"))
    reader._source = Stamps(*stamps)  # type: ignore[assignment]
    assert [frame.time for frame in reader] == [time * MS for time in expected]


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_the_frames_of_a_truncated_file_are_read_up_to_its_end(tmp_path: Path, kind: str) -> None:
    options = {"g": "10", "crf": "1"}
    clip = make(tmp_path / f"in.{kind}", times=range(0, 2000, 40), size=(96, 128), options=options)
    if kind == "mp4":
        clip = copy(clip)[1].path.rename(tmp_path / "front.mp4")  # its index is in front
    data = clip.read_bytes()
    broken = tmp_path / f"broken.{kind}"
    broken.write_bytes(data[: len(data) * 2 // 3])
    reader, written, _ = copy(broken)
    assert 10 < reader.count() < 50
    assert written.count() == reader.count()
    if kind == "mp4":  # an mkv does not say how much there should be
        assert reader.damage is not None and "damaged" in reader.damage
        assert float(times(reader)[-1][1]) == pytest.approx(0.04)
    whole = list(VideoReader(clip))
    for frame in reader:
        assert np.array_equal(frame.image, whole[frame.index].image)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_part_that_is_overwritten_with_zeros_is_reported_with_its_time(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 96, 128, 3), np.uint8)
    clip = tmp_path / "in.mp4"
    with av.open(str(clip), "w") as container:
        stream: Any = container.add_stream(
            codec, rate=25, options={"crf": "20", "bf": "0", "tune": "zerolatency", "x265-params": "log-level=none"}
        )
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(clip)) as container:
        place = next(islice(container.demux(video=0), 10, None)).pos
    assert place is not None
    data = bytearray(clip.read_bytes())
    data[place + 1000 : place + 3048] = bytes(2048)
    clip.write_bytes(data)
    reader = VideoReader(clip)
    assert reader.count() == 20, "the decoder shows all frames"
    assert reader.damage == (
        "in.mp4 is damaged: a part of it is overwritten with zeros at 0.4 s; later frames may be wrong."
    )


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7])
def test_frames_that_a_damaged_clip_returns_too_late_are_dropped(tmp_path: Path, part: float) -> None:
    clip = ROOT / "examples" / "cup.mp4"
    whole = VideoReader(clip)
    data = bytearray(clip.read_bytes())
    place = int(len(data) * part)
    data[place : place + 20_000] = bytes(20_000)
    broken = tmp_path / "cup.mp4"
    broken.write_bytes(data)
    reader = VideoReader(broken)
    read = [(frame.index, frame.time) for frame in reader]
    assert 40 < len(read) < whole.count()
    assert {time for _, time in read} <= {frame.time for frame in whole}, "the clock has not restarted"
    assert read[-1] == (len(read) - 1, reader.time(len(read) - 1))
    assert reader.damage is not None
    assert re.fullmatch(
        r"cup\.mp4 is damaged: a part of it cannot be decoded at [012]\.\d s; "
        r"only the frames that decode are used, and those after it may be wrong\.",
        reader.damage,
    )


def test_padding_before_a_slice_is_no_damage(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (6, 96, 128, 3), np.uint8)
    clip = tmp_path / "padded.ts"
    with av.open(str(tmp_path / "in.h264"), "w") as plain, av.open(str(clip), "w") as padded:
        encoder: Any = plain.add_stream("libx264", rate=25, options={"x264-params": "slices=4", "tune": "zerolatency"})
        encoder.width, encoder.height, encoder.pix_fmt = 128, 96, "yuv420p"
        stream = padded.add_stream_from_template(encoder)
        images = [av.VideoFrame.from_ndarray(frame, "rgb24") for frame in frames]
        for packet in [packet for image in [*images, None] for packet in encoder.encode(image)]:
            first, *others = bytes(packet).split(b"\0\0\1")
            copy_of_packet = av.Packet(b"\0\0\1".join((first, (bytes(300) + b"\0\0\1").join(others))))
            copy_of_packet.pts, copy_of_packet.dts, copy_of_packet.time_base = packet.pts, packet.dts, packet.time_base
            copy_of_packet.stream, copy_of_packet.is_keyframe = stream, packet.is_keyframe
            padded.mux(copy_of_packet)
    with av.open(str(clip)) as written:
        assert any(bytes(300) in bytes(packet) for packet in written.demux(video=0))
    reader = VideoReader(clip)
    assert reader.count() == len(frames) and reader.damage is None


def test_invalid_clips_raise_video_error(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4", sound="aac")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    (tmp_path / "nomoov.mp4").write_bytes(clip.read_bytes()[:1500])
    (tmp_path / "folder").mkdir()
    Image.fromarray(frame_image()).save(tmp_path / "image.png")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        tone = container.add_stream("aac", rate=48000)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 48000), np.float32), "fltp", "stereo")
        samples.sample_rate = 48000
        container.mux([*tone.encode(samples), *tone.encode(None)])
    for name in (
        "text.mp4",
        "empty.mp4",
        "list.m3u8",
        "concat.mp4",
        "nomoov.mp4",
        "folder",
        "image.png",
        "sound.mp4",
    ):
        with pytest.raises(VideoError) as caught:
            VideoReader(tmp_path / name)
        text = str(caught.value)
        assert name in text and str(tmp_path) not in text and text.endswith(".") and "\n" not in text
    with pytest.raises(FileNotFoundError, match=r"There is no file none\.mp4\."):
        VideoReader(tmp_path / "none.mp4")


def test_sizes_beyond_8k_are_rejected_before_allocation(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/0.png").write_bytes(
        png + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    gif = b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
    (tmp_path / "large.gif").write_bytes(gif + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\x00;")
    webp = b"VP8X" + struct.pack("<II", 10, 0) + (16_000).to_bytes(3, "little") * 2
    (tmp_path / "large.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("frames", "large.gif", "large.webp"):
        with pytest.raises(VideoError):
            VideoReader(tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_frames_that_grow_beyond_8k_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make(tmp_path / "clip.mp4")
    monkeypatch.setattr("mamp.video.source.MAX_PIXELS", 32 * 32)
    monkeypatch.setattr("mamp.video.decoder._DECODER_OPTIONS", {"max_pixels": str(32 * 32)})
    with pytest.raises(VideoError, match="8K"):
        VideoReader(clip)
    monkeypatch.setattr("mamp.video.decoder.check_size", lambda *_: None)
    with pytest.raises(VideoError, match="no frame that can be decoded"):
        VideoReader(clip)


def test_counting_stops_at_a_limit(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4")
    frames = VideoReader(clip).count()
    assert VideoReader(clip).count(frames) == frames
    with pytest.raises(VideoError, match=f"more than {frames - 1} frames"):
        VideoReader(clip).count(frames - 1)


def test_a_folder_with_several_sizes_is_rejected(tmp_path: Path) -> None:
    Image.fromarray(frame_image()).save(tmp_path / "0.png")
    Image.fromarray(frame_image(32, 32)).save(tmp_path / "1.png")
    with pytest.raises(VideoError, match=r"1\.png is not of the size of 0\.png"):
        list(VideoReader(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux gives it")
def test_memory_does_not_grow_with_the_length_of_the_clip(tmp_path: Path) -> None:
    clip = make(
        tmp_path / "in.mkv", times=range(0, 12000, 40), size=(480, 640), sound="aac", options={"preset": "ultrafast"}
    )
    script = f"""
import itertools, resource
from mamp.video.reader import VideoReader
from mamp.video.writer import VideoWriter
def copy(frames):
    reader = VideoReader({str(clip)!r})
    with VideoWriter({str(tmp_path / "out.mp4")!r}, reader, (480, 640)) as writer:
        for frame in itertools.islice(reader, frames):
            writer.write(frame.image, frame.time, frame.duration)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
short = copy(60)
print(copy(None) - short)
"""
    grown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd()
    ).stdout
    assert float(grown) < 60  # [MiB]; the 240 frames more are 211 MiB


@pytest.mark.parametrize(("sound", "name"), [("aac", "a.mp4"), ("mp2", "a.mkv")])
def test_a_part_of_a_clip_keeps_its_times_and_audio(tmp_path: Path, sound: str, name: str) -> None:
    times = [0, 40, 100, 140, 300, 340, 380, 500, 540, 580]
    whole = VideoReader(write_clip(tmp_path / name, [scene(t)[0] for t in range(10)], times=times, sound=sound))
    cut_clip(whole, 3, 7, tmp_path / "part.mp4")
    part = VideoReader(tmp_path / "part.mp4")
    assert [round(1000 * part.time(index)) for index in range(part.count())] == [0, 160, 200, 240, 360]
    with av.open(str(tmp_path / "part.mp4")) as container:
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.pts is not None]
        begin, end = (float(packet.pts * packet.time_base) for packet in (packets[0], packets[-1]))
    assert -0.05 < begin < 0.05 and 0.3 < end < 0.45


def test_data_sets_and_training_read_frames_in_natural_order(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (0, 1, 2, 10):
        Image.fromarray(frame_image(shade=10 * number)).save(folder / f"frame{number}.png")
    sequence = VosSequence(folder, tmp_path / "masks")
    assert [sequence.frame_name(t) for t in range(4)] == ["frame0", "frame1", "frame2", "frame10"]
    window, _ = read_window(folder, start=0.0, seconds=1.0)
    assert [int(frame[-1, -1, 0]) for frame in window] == [0, 10, 20, 100]
    assert all(np.array_equal(sequence.frame(t), frame) for t, frame in enumerate(window))
