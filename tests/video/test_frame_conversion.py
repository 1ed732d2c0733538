"""Frames have the colors that players show, whatever the file says about its matrix, transfer and fourth byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mamp.video.reader import VideoReader

Image = NDArray[np.uint8]

COLORS = ((200, 30, 40), (20, 180, 60), (30, 50, 220), (128, 128, 128))


def quarters(height: int = 48, width: int = 64) -> Image:
    """An image with a color of ``COLORS`` in each quarter."""
    image = np.zeros((height, width, 3), np.uint8)
    for index, color in enumerate(COLORS):
        y, x = index // 2 * height // 2, index % 2 * width // 2
        image[y : y + height // 2, x : x + width // 2] = color
    return image


def errors(image: Image) -> list[int]:
    """The largest error of a channel in the middle of each quarter."""
    height, width = image.shape[:2]
    places = [(height * y // 4, width * x // 4) for y in (1, 3) for x in (1, 3)]
    return [int(np.abs(image[y, x].astype(int) - color).max()) for (y, x), color in zip(places, COLORS, strict=True)]


def encode(
    path: Path, frames: list[av.VideoFrame], codec: str, options: dict[str, str] | None = None, **tags: int
) -> Path:
    """Writes frames in their own pixel format; ``tags`` are those of the encoder, as ``colorspace=8``."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for index, frame in enumerate(frames):
            frame.pts = index
            for name, value in tags.items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def yuv(matrix: str, pixels: str = "yuv420p", size: tuple[int, int] = (48, 64)) -> av.VideoFrame:
    """``quarters`` in YUV of limited range."""
    frame = av.VideoFrame.from_ndarray(quarters(*size), "rgb24")
    return frame.reformat(format=pixels, dst_colorspace=matrix, dst_color_range="MPEG")


_TAGGED = [
    (name, codec, pixels, matrix)
    for name, codec in (("in.mp4", "libx264"), ("in.webm", "libvpx-vp9"))
    for pixels in ("yuv420p", "yuv444p")
    for matrix in range(18)
    if matrix or (codec, pixels) == ("libx264", "yuv420p")  # elsewhere 0 is a real RGB file
]


@pytest.mark.parametrize(("name", "codec", "pixels", "matrix"), _TAGGED)
def test_every_matrix_tag_is_read(tmp_path: Path, name: str, codec: str, pixels: str, matrix: int) -> None:
    """BT.709 has its own matrix and so have SMPTE 240M and BT.2020; unknown ones are BT.601, as in browsers."""
    source = {1: "ITU709", 7: "SMPTE240M", 9: "BT2020"}.get(matrix, "ITU601")
    clip = encode(tmp_path / name, [yuv(source, pixels)] * 3, codec, {"crf": "1"}, colorspace=matrix)
    reader = VideoReader(clip)
    assert reader.count() == 3
    assert max(errors(reader.frame(1).image)) <= 6


@pytest.mark.parametrize("matrix", [2, 3, 8])
def test_unknown_matrices_are_bt709_in_hd(tmp_path: Path, matrix: int) -> None:
    frame = yuv("ITU709", size=(720, 1280))
    clip = encode(tmp_path / "in.mp4", [frame], "libx264", {"preset": "ultrafast"}, colorspace=matrix)
    assert max(errors(VideoReader(clip).frame(0).image)) <= 6


@pytest.mark.parametrize("transfer", [0, 2, 3, 11, 16, 17, 18, 19, 30])
@pytest.mark.parametrize("primaries", [0, 1, 2, 3, 10, 12, 22, 30])
def test_every_tag_of_transfer_and_primaries_is_read(tmp_path: Path, transfer: int, primaries: int) -> None:
    tags = {"color_trc": transfer, "color_primaries": primaries, "colorspace": 10}
    clip = encode(tmp_path / "in.mp4", [yuv("ITU601")], "libx264", {"crf": "1"}, **tags)
    image = VideoReader(clip).frame(0).image
    gray = image[36, 48].astype(int)
    assert np.ptp(gray) <= 8
    if transfer not in (16, 18):  # PQ and HLG change the brightness
        assert max(errors(image)) <= 6


def bgra(fourth: Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.dstack((quarters()[..., ::-1], fourth)), "bgra")


def fourth_bytes(kind: str) -> Image:
    fourth = np.zeros((48, 64), np.uint8)
    if kind == "partly filled":
        fourth[:30, 10:] = 255
    elif kind == "random":
        fourth[:] = np.random.default_rng(0).integers(0, 256, fourth.shape)
    elif kind == "ones":
        fourth[:] = 1
    return fourth


@pytest.mark.parametrize("codec", ["huffyuv", "rawvideo"])
@pytest.mark.parametrize("kind", ["zero", "partly filled", "random", "ones"])
def test_padding_bytes_are_no_alpha(tmp_path: Path, codec: str, kind: str) -> None:
    clip = encode(tmp_path / "in.avi", [bgra(fourth_bytes(kind))] * 3, codec)
    assert errors(VideoReader(clip).frame(1).image) == [0, 0, 0, 0]


@pytest.mark.parametrize(("name", "codec", "pixels"), [("in.mkv", "ffv1", "bgra"), ("in.mov", "qtrle", "argb")])
def test_a_fourth_byte_that_hides_a_picture_everywhere_is_padding(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    clip = encode(tmp_path / name, [bgra(fourth_bytes("zero")).reformat(format=pixels)] * 3, codec)
    assert errors(VideoReader(clip).frame(1).image) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("in.mov", "prores_ks", "yuva444p10le"),
        ("in.webm", "libvpx-vp9", "yuva420p"),
        ("in.mov", "png", "rgba"),
        ("in.avi", "png", "rgba"),
        ("in.mov", "qtrle", "argb"),
        ("in.mkv", "ffv1", "bgra"),
        ("in.avi", "huffyuv", "bgra"),
    ],
)
def test_real_alpha_is_over_white(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    """The left half is transparent, and black underneath."""
    image = np.dstack((quarters(), np.full((48, 64), 255, np.uint8)))
    image[:, :32] = 0
    frame = av.VideoFrame.from_ndarray(image, "rgba").reformat(format=pixels)
    options = {"auto-alt-ref": "0"} if codec == "libvpx-vp9" else {"profile": "4444"} if codec == "prores_ks" else {}
    read = VideoReader(encode(tmp_path / name, [frame] * 3, codec, options)).frame(1).image
    assert read[10:40, 4:24].min() >= 250
    assert errors(read)[1] <= 8
