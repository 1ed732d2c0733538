"""Exports of a run: transparent cut-outs of every frame, and mask images by object."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from mamp import Settings, VideoReader, read_mask, segment_video
from mamp.cli.main import main
from mamp.files import ResourceError
from mamp.runs.export import KINDS, export
from mamp.runs.results import Result
from tests.conftest import Image, full_disk, scene, write_clip

COUNT = 6


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run over a clip with audio and two objects."""
    first = scene(0)[1]
    first[:20, 100:] = 7
    write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(COUNT)], sound="aac")
    settings = Settings(short_side=0, flow="none", radius=3, weights="patch")
    list(segment_video(tmp_path / "clip.mp4", {0: first}, tmp_path / "run", settings, names={7: "../a dog"}))
    yield tmp_path / "run"


def write(run: Path, kind: str, **options: object) -> Path:
    steps = list(export(run, run.parent / "clip.mp4", kind, **options))  # type: ignore[arg-type]
    assert [done for done, _ in steps] == list(range(1, COUNT + 1))
    return steps[-1][1]


def images_in(path: Path) -> dict[str, Image]:
    with zipfile.ZipFile(path) as archive:
        return {name: np.asarray(PilImage.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()}


@pytest.mark.parametrize(("kind", "decoder", "sound"), [("webm", "libvpx-vp9", "opus"), ("mov", "prores", "aac")])
def test_cut_out_videos_have_alpha_audio_and_every_frame(run: Path, kind: str, decoder: str, sound: str) -> None:
    path = write(run, kind)
    with av.open(str(path)) as container:
        packets = list(container.demux(container.streams.video[0]))
        assert container.streams.audio[0].codec_context.name.endswith(sound)
        context = av.CodecContext.create(decoder, "r")
        context.extradata = container.streams.video[0].codec_context.extradata
        if kind == "mov":
            frames = [frame for packet in packets for frame in packet.decode()]
        else:
            frames = [frame for packet in packets for frame in context.decode(packet)]  # type: ignore[attr-defined]
    assert len(frames) == COUNT
    assert [round(frame.time, 2) for frame in frames] == [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
    for t, frame in enumerate(frames):
        alpha = frame.to_ndarray(format="rgba")[..., 3] > 127
        truth = read_mask(Result(run).masks_dir / f"{t:05d}.png") > 0
        assert (alpha == truth).mean() > 0.99


def test_cut_out_images_are_the_frames_inside_the_masks(run: Path) -> None:
    images = images_in(write(run, "png", objects=[7]))
    assert list(images) == [f"cutout/{t:05d}.png" for t in range(COUNT)]
    for t, image in enumerate(images.values()):
        truth = read_mask(Result(run).masks_dir / f"{t:05d}.png") == 7
        assert np.array_equal(image[..., 3] == 255, truth)
        assert not image[~truth].any() and image[truth][:, :3].mean() > 20


def test_objects_have_folders_named_after_them(run: Path) -> None:
    images = images_in(write(run, "objects"))
    assert {name.split("/")[0] for name in images} == {"1", "7-a-dog"} and len(images) == 2 * COUNT
    truth = read_mask(Result(run).masks_dir / "00003.png")
    assert np.array_equal(images["7-a-dog/00003.png"], np.where(truth == 7, 255, 0))
    assert np.array_equal(images["1/00003.png"], np.where(truth == 1, 255, 0))


@pytest.mark.parametrize("kind", ["blur", "gray", "color"])
def test_another_background_keeps_the_objects_the_times_and_the_sound(run: Path, kind: str) -> None:
    path = write(run, kind, objects=[1], color=(0, 0, 255))
    with av.open(str(path)) as container:
        assert container.streams.audio
    clip, written = (list(VideoReader(file)) for file in (run.parent / "clip.mp4", path))
    assert [frame.time for frame in clip] == [frame.time for frame in written]
    for before, after in zip(clip, written, strict=True):
        mask = read_mask(Result(run).masks_dir / f"{after.index:05d}.png")
        inside = cv2.erode((mask == 1).astype(np.uint8), np.ones((9, 9))) > 0
        outside = cv2.erode((mask != 1).astype(np.uint8), np.ones((9, 9))) > 0
        change = np.abs(before.image.astype(int) - after.image)
        assert change[inside].mean() < 6 and change[outside].mean() > 1.5 * change[inside].mean()
        red, green, blue = after.image[outside].mean(0)
        if kind == "gray":
            assert np.ptp(after.image[outside].astype(int), axis=1).mean() < 4
        elif kind == "color":
            assert red < 10 and green < 10 and blue > 240
        else:
            rough = [cv2.Laplacian(image, cv2.CV_64F)[outside].std() for image in (before.image, after.image)]
            assert rough[1] < rough[0] / 1.5


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_an_animation_is_small_and_as_long_as_the_clip(run: Path, kind: str) -> None:
    path = write(run, kind)
    with PilImage.open(path) as animation:
        assert animation.n_frames == 3 and animation.info["loop"] == 0  # 25 frames/s become 12.5
        assert max(animation.size) <= 480
        durations = []
        for number in range(animation.n_frames):
            animation.seek(number)
            animation.load()
            durations.append(animation.info["duration"])
        animation.seek(2)
        last = np.asarray(animation.convert("RGB")).astype(int)
    assert durations == [80, 80, 80]
    overlay = list(VideoReader(Result(run).overlay))[4].image
    assert np.abs(last - overlay).mean() < 12


@pytest.mark.parametrize("kind", KINDS)
def test_unfinished_exports_are_deleted(run: Path, kind: str) -> None:
    before = sorted(run.iterdir())
    calls = iter(range(10))
    steps = list(export(run, run.parent / "clip.mp4", kind, should_stop=lambda: next(calls) == 2))
    assert len(steps) == 2 and sorted(run.iterdir()) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_one_sentence_and_keeps_an_earlier_export(run: Path, kind: str) -> None:
    complete = write(run, kind).read_bytes()
    before = sorted(run.iterdir())
    with full_disk(len(complete) // 2), pytest.raises(ResourceError, match=r"^The disk is full\.$"):
        list(export(run, run.parent / "clip.mp4", kind))
    assert sorted(run.iterdir()) == before and (run / KINDS[kind]).read_bytes() == complete


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_or_closed_export_keeps_an_earlier_one(run: Path, kind: str) -> None:
    complete = write(run, kind).read_bytes()
    list(export(run, run.parent / "clip.mp4", kind, should_stop=lambda: True))
    steps = export(run, run.parent / "clip.mp4", kind)
    next(steps)
    assert (run / KINDS[kind]).read_bytes() == complete, "unfinished files have another name"
    steps.close()  # type: ignore[attr-defined]
    assert (run / KINDS[kind]).read_bytes() == complete


def test_the_command_writes_exports_and_rejects_other_clips_and_objects(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(run.parent / "clip.mp4")
    assert main(["export", str(run), clip, "--kind", "webm", "--kind", "objects"]) == 0
    assert (run / "cutout.webm").exists() and (run / "objects.zip").exists()
    other = write_clip(run.parent / "other.mp4", [scene(t)[0] for t in range(3)])
    capsys.readouterr()
    assert main(["export", str(run), str(other), "--kind", "png"]) == 2
    assert "is not the clip of this run, which is clip.mp4" in capsys.readouterr().err
    assert main(["export", str(run), clip, "--kind", "png", "--object", "3"]) == 2
    assert "no object 3 in this run; there are 1, 7" in capsys.readouterr().err
    assert main(["export", str(run.parent), clip, "--kind", "png"]) == 2
