"""Nothing that a run or an export reads is overwritten or deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mamp import MaskError, Settings, VideoError, VideoReader, segment_video, write_mask
from mamp.cli.main import main
from mamp.runs.export import export
from mamp.video.writer import cut_clip
from tests.conftest import scene, write_clip

FAST = Settings(short_side=0, flow="none", radius=3, weights="patch")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def link(source: Path, target: Path) -> Path:
    target.symlink_to(source)
    return target


def hard_link(source: Path, target: Path) -> Path:
    os.link(source, target)
    return target


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The results of a run over two frames."""
    write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(2)])
    write_mask(tmp_path / "mask.png", scene(0)[1])
    list(segment_video(tmp_path / "clip.mp4", {0: tmp_path / "mask.png"}, tmp_path / "out", FAST))
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("clip", "mask"),
    [
        (lambda out: out / "overlay.mp4", None),
        (lambda out: link(out / "overlay.mp4", out.parent / "link.mp4"), None),
        (lambda out: hard_link(out / "overlay.mp4", out.parent / "link.mp4"), None),
        (lambda out: link(out, out.parent / "other") / "overlay.mp4", None),
        (lambda out: out / "masks", None),
        (lambda out: out / "input_masks", None),
        (None, lambda out: out / "masks" / "00001.png"),
        (None, lambda out: out / "input_masks" / "000000.png"),
        (None, lambda out: link(out / "masks" / "00000.png", out.parent / "link.png")),
    ],
    ids=["clip", "symbolic link", "hard link", "linked folder", "masks", "input masks", "mask", "input mask", "linked"],
)
def test_an_input_among_the_results_is_refused(
    finished: Path, clip: Callable[[Path], Path] | None, mask: Callable[[Path], Path] | None
) -> None:
    clip_path = clip(finished) if clip else finished.parent / "clip.mp4"
    mask_path = mask(finished) if mask else finished.parent / "mask.png"
    before = snapshot(finished.parent)
    with pytest.raises(MaskError, match="would be overwritten") as caught:
        list(segment_video(clip_path, {0: mask_path}, finished, FAST))
    assert str(finished.parent) not in str(caught.value)
    assert snapshot(finished.parent) == before


def test_a_clip_named_like_the_overlay_is_refused_without_earlier_results(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "overlay.mp4", [scene(t)[0] for t in range(2)])
    write_mask(tmp_path / "mask.png", scene(0)[1])
    before = snapshot(tmp_path)
    assert main(["segment", str(clip), "--mask", str(tmp_path / "mask.png"), "--out", str(tmp_path)]) == 2
    assert snapshot(tmp_path) == before


def test_an_export_does_not_replace_its_clip(finished: Path) -> None:
    clip = shutil.copy(finished.parent / "clip.mp4", finished / "cutout.webm")
    before = snapshot(finished)
    with pytest.raises(MaskError, match="would be overwritten"):
        list(export(finished, clip, "webm"))
    assert snapshot(finished) == before


def test_a_part_does_not_replace_its_clip(finished: Path) -> None:
    clip = finished.parent / "clip.mp4"
    before = clip.read_bytes()
    with pytest.raises(VideoError, match="would be overwritten"):
        cut_clip(VideoReader(clip), 0, 0, link(clip, finished.parent / "part.mp4"))
    assert clip.read_bytes() == before
