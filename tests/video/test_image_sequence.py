"""Folders of frames and stacks of pages: which images are frames, in which order, how bright, and how fast."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mamp import Result, Settings, VideoError, VideoReader, read_mask, segment_video, write_mask
from mamp.cli.main import main
from mamp.runs.export import export
from tests.conftest import scene

FAST = ["--short-side", "0", "--flow", "none", "--radius", "3", "--weights", "patch"]


def gray(shade: int) -> NDArray[np.uint8]:
    image = np.full((24, 32), shade, np.uint8)
    image[:12] = 250
    image[0, 0] = 5
    return image


def folder(path: Path, names: list[str]) -> Path:
    path.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(np.dstack([gray(10 * index + 10)] * 3)).save(path / name)
    return path


def names(reader: VideoReader) -> list[str]:
    return [reader.name(index) for index in range(reader.count())]


@pytest.mark.parametrize(
    ("images", "frames", "left_out"),
    [
        (["0.png", "1.png", "2.png", "mask.png"], ["0", "1", "2"], ["mask.png"]),
        (["0001.jpg", "0002.jpg", "0003.jpg", "0002.png"], ["0001", "0002", "0003"], ["0002.png"]),
        (["f1.png", "f2.png", "f10.png", "f2_mask.png"], ["f1", "f2", "f10"], ["f2_mask.png"]),
        (["1001.jpg", "1002.jpeg", "1003.JPG"], ["1001", "1002", "1003"], []),
        (["one.png", "two.png"], ["one", "two"], []),
        (["a1.png", "b2.png", "c.png"], ["a1", "b2", "c"], []),
        (["00000.png", "mask.png"], ["00000"], ["mask.png"]),
    ],
)
def test_stray_images_are_left_out_and_named(
    tmp_path: Path, images: list[str], frames: list[str], left_out: list[str]
) -> None:
    reader = VideoReader(folder(tmp_path / "in", images))
    assert names(reader) == frames and len(list(reader)) == len(frames)
    assert bool(reader.notes) == bool(left_out) and all(name in reader.notes[0] for name in left_out)


def test_an_image_of_another_size_is_left_out_and_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder(tmp_path / "in", ["0.png", "1.png", "2.png"]) / "1.png")
    reader = VideoReader(tmp_path / "in")
    assert names(reader) == ["0", "2"] and "1.png" in reader.notes[0]


def test_frames_beside_as_many_other_images_are_refused(tmp_path: Path) -> None:
    images = [f"{index}{end}.png" for index in range(3) for end in ("", "_mask")]
    with pytest.raises(VideoError, match=r"several series of images, such as 0\.png and 0_mask\.png"):
        VideoReader(folder(tmp_path / "in", images))


@pytest.mark.parametrize("suffix", ["tif", "tiff", "webp", "bmp", "jpg", "png"])
def test_every_kind_of_image_is_a_frame(tmp_path: Path, suffix: str) -> None:
    reader = VideoReader(folder(tmp_path / "in", [f"{index}.{suffix}" for index in range(3)]))
    assert [abs(int(frame.image[20, 20, 0]) - shade) <= 3 for frame, shade in zip(reader, (10, 20, 30), strict=True)]


@pytest.mark.parametrize("kind", ["I;16 png", "I;16 tif", "big endian", "12 bits", "14 bits", "float 1", "float 255"])
def test_deep_gray_frames_are_as_bright_as_their_depth_says(tmp_path: Path, kind: str) -> None:
    for index, shade in enumerate((40, 100, 160)):
        image, name = gray(shade).astype(np.uint16), f"{index}.tif"
        image = image << {"12 bits": 4, "14 bits": 6}.get(kind, 8)
        saved: Any = image
        if kind == "I;16 png":
            name = f"{index}.png"
        elif kind == "big endian":
            saved = image.astype(">u2")
        elif kind.startswith("float"):
            saved = (gray(shade) / (255 if kind == "float 1" else 1)).astype(np.float32)
        Image.fromarray(saved).save(tmp_path / name)
    for frame, shade in zip(VideoReader(tmp_path), (40, 100, 160), strict=True):
        assert np.abs(frame.image[..., 0].astype(int) - gray(shade)).max() <= 1


def test_a_narrow_range_is_stretched_alike_on_all_frames(tmp_path: Path) -> None:
    """As of a thermal camera: 14 bits, of which a scene uses few."""
    for index, shade in enumerate((0, 400, 800)):
        image = np.full((24, 32), 7000 + shade, np.uint16)
        image[:4], image[-4:] = 7000, 8000
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    frames = [frame.image for frame in VideoReader(tmp_path)]
    assert [image[12, 16].tolist() for image in frames] == [[0] * 3, [102] * 3, [204] * 3]
    assert all((image[0] == 0).all() and (image[-1] == 255).all() for image in frames)


def test_a_float_image_with_gaps_is_read(tmp_path: Path) -> None:
    image = np.linspace(-3, 5, 24 * 32, dtype=np.float32).reshape(24, 32)
    image[0, 0] = np.nan
    for index in range(2):
        Image.fromarray(image).save(tmp_path / f"{index}.tif")
    read = VideoReader(tmp_path).frame(1).image
    assert read[0, 1].max() <= 2 and read[-1, -1].min() >= 253


def test_a_bmp_with_padding_is_no_white_frame(tmp_path: Path) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.bmp"), np.dstack([gray(60)] * 3 + [np.zeros((24, 32), np.uint8)]))
    assert VideoReader(tmp_path).frame(0).image[20, 20].tolist() == [60, 60, 60]


def test_the_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(gray(shade).astype(np.uint16) << 4) for shade in (20, 60, 90)]
    pages.insert(1, pages[0].resize((16, 12)))  # a thumbnail
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    reader = VideoReader(tmp_path / "stack.tif", Fraction(10))
    assert [frame.image[20, 20].tolist() for frame in reader] == [[20] * 3, [60] * 3, [90] * 3]
    assert [frame.time for frame in reader] == [0, Fraction(1, 10), Fraction(1, 5)]
    assert reader.frame(2).image[20, 20, 0] == 90 and names(reader) == ["00000", "00001", "00002"]
    assert "page 2" in reader.notes[0]
    pages[0].save(tmp_path / "single.tif")
    with pytest.raises(VideoError, match=r"single\.tif is a single image"):
        VideoReader(tmp_path / "single.tif")


@pytest.mark.parametrize("fps", [Fraction(0), Fraction(-1), Fraction(10000)])
def test_a_frame_rate_out_of_range_is_refused(tmp_path: Path, fps: Fraction) -> None:
    with pytest.raises(VideoError, match="frame rate"):
        VideoReader(folder(tmp_path / "in", ["0.png"]), fps)


def test_a_folder_has_its_frame_rate_in_all_videos(tmp_path: Path) -> None:
    frames = tmp_path / "in"
    frames.mkdir()
    for t in range(3):
        Image.fromarray(scene(t)[0]).save(frames / f"{t}.png")
    settings = Settings(short_side=0, flow="none", radius=3, weights="patch")
    list(segment_video(frames, {0: scene(0)[1]}, tmp_path / "out", settings, fps=Fraction(10)))
    list(export(tmp_path / "out", frames, "mov"))
    for name in ("overlay.mp4", "cutout.mov"):
        assert [frame.time for frame in VideoReader(tmp_path / "out" / name)] == [0, Fraction(1, 10), Fraction(1, 5)]


def test_the_command_line_takes_the_numbers_of_file_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, out = tmp_path / "in", tmp_path / "out"
    frames.mkdir()
    for t in range(4):
        Image.fromarray(scene(t)[0]).save(frames / f"v2_{1001 + t}.png")
    Image.fromarray(scene(0)[0]).save(frames / "mask.png")
    write_mask(tmp_path / "m.png", scene(2)[1])
    command = ["segment", str(frames), "--mask", f"1003={tmp_path / 'm.png'}", "--out", str(out), "--fps", "12.5"]
    assert main([*command, *FAST]) == 0
    said = capsys.readouterr().out
    assert "mask of frame v2_1003: " in said and "mask.png" in said
    assert Result(out).receipt["input_masks"] == [2] and Result(out).receipt["fps"] == "25/2"
    assert sorted(path.stem for path in (out / "masks").iterdir()) == [f"v2_{1001 + t}" for t in range(4)]
    assert np.array_equal(read_mask(out / "masks" / "v2_1003.png"), scene(2)[1])


def test_a_tiff_of_many_pages_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each opening would read all pages before the one that is wanted."""
    pages = [Image.fromarray(gray(shade)) for shade in range(60)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    opened = []
    open_image = Image.open

    def counted(*values: Any, **options: Any) -> Image.Image:
        opened.append(values)
        return open_image(*values, **options)

    monkeypatch.setattr(Image, "open", counted)
    reader = VideoReader(tmp_path / "stack.tif")
    assert [int(frame.image[20, 20, 0]) for frame in reader] == list(range(60)) and len(opened) == 1
