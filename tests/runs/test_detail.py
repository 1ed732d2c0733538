"""Thin objects are processed at a larger size, unless the settings say otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mamp.runs.detail import mean_width, with_detail
from mamp.runs.finished import open_trackers
from mamp.runs.incremental import reusable_frames
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from tests.conftest import scene, write_clip

QUICK = Settings(short_side=96, flow="none", radius=3, weights="patch")


def rectangle(height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((480, 854), np.uint8)
    mask[100 : 100 + height, 200 : 200 + width] = 1
    return mask


def test_the_mean_width_of_a_bar_is_its_width() -> None:
    assert mean_width(rectangle(10, 400)) == pytest.approx(10, rel=0.05)
    both = rectangle(10, 400)
    both[300:460, 200:600] = 2
    assert 50 < mean_width(both) < 100  # large objects decide with thin ones
    assert mean_width(rectangle(0, 0)) == 0


@pytest.mark.parametrize(
    ("shape", "settings", "size"),
    [
        (rectangle(10, 400), Settings(), (720, 1281)),
        (rectangle(200, 400), Settings(), (480, 854)),
        (rectangle(40, 400), Settings(), (480, 854)),
        (rectangle(40, 400), Settings(short_side=240), (360, 640)),
        (rectangle(10, 400), Settings(short_side=0), (480, 854)),
        (rectangle(10, 400), Settings(detail="normal"), (480, 854)),
        (rectangle(200, 400), Settings(detail="fine"), (720, 1281)),
        (rectangle(10, 400), Settings.paper(), (480, 854)),
        (rectangle(10, 400), Settings.fast(), (192, 342)),
    ],
)
def test_thin_objects_are_processed_at_a_larger_size(
    shape: NDArray[np.uint8], settings: Settings, size: tuple[int, int]
) -> None:
    assert with_detail(settings, shape).processing_size((480, 854)) == size


@pytest.mark.parametrize(("height", "size"), [(6, [192, 144]), (60, [128, 96])])
def test_a_run_takes_the_detail_from_its_first_mask(tmp_path: Path, height: int, size: list[int]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(2)])
    mask = np.zeros((96, 128), np.uint8)
    mask[20 : 20 + height, 10:110] = 1
    list(segment_video(clip, {0: mask}, tmp_path / "out", QUICK))
    receipt = Result(tmp_path / "out").receipt
    assert receipt["processed_size"] == size


def test_runs_of_a_version_with_fewer_settings_stay_valid(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(3)])
    list(segment_video(clip, {0: scene(0)[1]}, tmp_path / "out", QUICK))
    result = Result(tmp_path / "out")
    receipt = result.receipt
    for name in ("detail", "execution"):
        del receipt["settings"][name]
    result.write_receipt(receipt)
    open_trackers(result, clip)
    names, identity = {t: f"{t:05d}" for t in range(3)}, {"settings": replace(QUICK, detail="normal").to_dict()}
    assert reusable_frames(result, names, {0: scene(0)[1]}, identity) == {0, 1, 2}
    identity["settings"]["radius"] = 4
    assert reusable_frames(result, names, {0: scene(0)[1]}, identity) == set()
