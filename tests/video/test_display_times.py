"""Frames are shown in even steps, and in the right order, where a file has no presentation times."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet

from mamp.video.reader import VideoReader

COUNT = 24


def moving(path: Path, codec: str, options: dict[str, str], retime: Callable[[Packet[Any], int], None] | None) -> Path:
    """A clip whose frame ``t`` is shaded 20 + 8 t, over noise that moves, so that encoders use B-frames.

    Args:
        path: The file.
        codec: The encoder.
        options: Its options.
        retime: Changes the times of each packet, with its number.
    """
    noise = np.random.default_rng(0).integers(0, 255, (48, 200, 3), np.uint8)
    packets: list[Packet[Any]] = []
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if codec == "mpeg4":
            stream.codec_context.max_b_frames = 2
        for t in range(COUNT):
            image = np.ascontiguousarray(noise[:, 2 * t : 2 * t + 64])
            image[:24] = 20 + 8 * t
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = t
            packets += stream.encode(frame)
        packets += stream.encode(None)
        assert any(one.pts > other.pts for one, other in itertools.pairwise(packets)), "no B-frames"
        for number, packet in enumerate(packets):
            if retime is not None:
                retime(packet, number)
            container.mux(packet)
    return path


def decoding_order(packet: Packet[Any], number: int) -> None:
    """Leaves no presentation times, as muxers without ctts do."""
    packet.pts = packet.dts = number


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("in.avi", "libx264", {"bf": "2"}),
        ("in.avi", "libx264", {"bf": "3", "x264-params": "b-pyramid=normal:open-gop=1:keyint=8"}),
        ("in.avi", "mpeg4", {}),
        ("in.mp4", "libx264", {"bf": "2"}),
        ("in.mp4", "libx264", {"bf": "8", "x264-params": "b-adapt=0:b-pyramid=none"}),
        ("in.mov", "libx264", {"bf": "2"}),
        ("in.mkv", "libx264", {"bf": "3", "g": "6"}),
        ("in.mp4", "libx265", {"x265-params": "log-level=none"}),
    ],
)
def test_frames_without_presentation_times_have_even_steps(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    reader = VideoReader(moving(tmp_path / name, codec, options, decoding_order))
    assert [frame.time for frame in reader] == [Fraction(t, 25) for t in range(COUNT)]
    frames = [frame.image for frame in reader]
    assert [float(image[2:20].mean()) for image in frames] == pytest.approx([20 + 8 * t for t in range(COUNT)], abs=6)
    backwards = [frame.image for frame in reader.backwards(COUNT - 1)]
    assert all(np.array_equal(one, other) for one, other in zip(frames, backwards[::-1], strict=True))


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.mov"])
def test_real_presentation_times_are_kept(tmp_path: Path, name: str) -> None:
    def stretched(packet: Packet[Any], number: int) -> None:
        packet.pts = packet.pts + (10 if packet.pts >= 12 else 0)

    reader = VideoReader(moving(tmp_path / name, "libx264", {"bf": "2"}, stretched))
    assert [round(25 * frame.time) for frame in reader] == [t + (10 if t >= 12 else 0) for t in range(COUNT)]
    assert reader.frame(17).image[2:20].mean() == pytest.approx(20 + 8 * 17, abs=3)


def test_an_mp4_that_lost_its_ctts_keeps_all_frames(tmp_path: Path) -> None:
    """Its edit list, which was made for the lost times, would hide the first frames."""
    path = moving(tmp_path / "in.mp4", "libx264", {"bf": "2"}, None)
    path.write_bytes(path.read_bytes().replace(b"ctts", b"free"))
    reader = VideoReader(path)
    assert [round(25 * frame.time) for frame in reader] == list(range(COUNT))
    assert [float(frame.image[2:20].mean()) for frame in reader] == pytest.approx(
        [20 + 8 * t for t in range(COUNT)], abs=6
    )
