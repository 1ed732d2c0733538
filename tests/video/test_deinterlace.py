"""Interlaced clips are read without combs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mamp.video.reader import VideoReader
from mamp.video.writer import VideoWriter

COUNT = 16


def bar(field: int) -> NDArray[np.uint8]:
    """A white bar that moves by two pixels a field."""
    image = np.full((48, 96, 3), 60, np.uint8)
    image[:, 8 + 2 * field : 24 + 2 * field] = 220
    return image


def woven(t: int, *, interlaced: bool) -> NDArray[np.uint8]:
    """A frame of two fields; the odd rows are first, as the encoder marks them."""
    image = bar(2 * t)
    if interlaced:
        image[::2] = bar(2 * t + 1)[::2]
    return image


def combs(image: NDArray[np.uint8]) -> float:
    """Mean difference of a row from its neighbors."""
    rows = image[..., 1].astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def write(path: Path, interlaced: range, codec: str = "libx264", **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv422p" if codec == "mpeg2video" else "yuv420p"
        for t in range(COUNT):
            image = woven(t, interlaced=t in interlaced)
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("bframes", ["0", "2"])
def test_an_interlaced_clip_is_deinterlaced_frame_by_frame(tmp_path: Path, bframes: str) -> None:
    options = {"crf": "1", "bf": bframes, "g": "5", "x264-params": "tff=1"}
    reader = VideoReader(write(tmp_path / "in.mkv", range(COUNT), **options))
    assert combs(woven(5, interlaced=True)) > 3
    frames = list(reader)
    assert len(frames) == reader.count() == COUNT
    assert [round(25 * frame.time) for frame in frames] == list(range(COUNT))
    for t, frame in enumerate(frames):
        assert combs(frame.image) < 1
        assert np.abs(frame.image.astype(float) - bar(2 * t)).mean() < 4
    assert reader.notes == ["The clip is interlaced: its frames are deinterlaced."]
    backwards = [frame.image for frame in reader.backwards(COUNT - 1)]
    assert all(np.array_equal(one.image, other) for one, other in zip(frames, backwards[::-1], strict=True))
    for index in range(COUNT):  # each after seeking
        assert np.array_equal(reader.frame(index).image, frames[index].image)
    with VideoWriter(tmp_path / "out.mp4", reader, (48, 96)) as video:
        for frame in reader:
            video.write(frame.image, frame.time, frame.duration)
    assert max(combs(frame.image) for frame in VideoReader(tmp_path / "out.mp4")) < 1


def test_a_progressive_clip_stays_as_it_is(tmp_path: Path) -> None:
    reader = VideoReader(write(tmp_path / "in.mkv", range(0), crf="1", bf="0"))
    assert reader.notes == []
    for t, frame in enumerate(reader):
        assert np.abs(frame.image.astype(float) - bar(2 * t)).mean() < 2
