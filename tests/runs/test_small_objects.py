"""A run says which objects are too small for its processing size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mamp import Result, Settings, write_mask
from mamp.cli.main import main
from mamp.runs.small_objects import small_objects
from tests.conftest import scene, write_clip
from webapp.run_handler import warning_text


@pytest.mark.parametrize(
    ("width", "height", "short_side", "small"),
    [
        (8, 8, 240, True),
        (12, 12, 240, True),
        (16, 16, 240, False),
        (8, 8, 480, False),
        (6, 60, 240, True),
        (60, 6, 240, True),
        (12, 60, 240, False),
        (4, 4, 0, True),
        (854, 480, 240, False),
    ],
)
def test_objects_of_a_few_pixels_are_small(width: int, height: int, short_side: int, small: bool) -> None:
    mask = np.zeros((480, 854), np.uint8)
    mask[:height, :width] = 3
    size = Settings(short_side=short_side).processing_size(mask.shape)
    assert small_objects(mask, size) == ([3] if small else [])


def test_a_small_object_is_noted_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(2)])
    mask = scene(0)[1]
    mask[2:7, 100:105] = 2
    write_mask(tmp_path / "mask.png", mask)
    command = ["segment", str(clip), "--mask", str(tmp_path / "mask.png"), "--out", str(tmp_path / "out")]
    assert main([*command, "--short-side", "64", "--flow", "none", "--weights", "patch"]) == 0
    sentence = "Object 2 is very small at the processing size 85x64 and may be lost; choose a larger size."
    assert f"note: {sentence}\n" in capsys.readouterr().out
    receipt = Result(tmp_path / "out").receipt
    assert receipt["notes"] == [sentence]
    assert warning_text(receipt) == f" {sentence}"
