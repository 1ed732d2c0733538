"""Which masks of a previous run stay valid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mamp.runs.finished import open_trackers
from mamp.runs.incremental import reusable_frames
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from tests.conftest import scene, write_clip

QUICK = Settings(short_side=96, flow="none", radius=3, weights="patch")


def test_runs_of_a_version_with_fewer_settings_stay_valid(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(3)])
    list(segment_video(clip, {0: scene(0)[1]}, tmp_path / "out", QUICK))
    result = Result(tmp_path / "out")
    receipt = result.receipt
    for name in ("detail", "execution"):
        del receipt["settings"][name]
    result.write_receipt(receipt)
    open_trackers(result, clip)
    names, masks = {t: f"{t:05d}" for t in range(3)}, {0: scene(0)[1]}
    assert reusable_frames(result, names, masks, {"settings": QUICK.to_dict()}) == {0, 1, 2}
    for other in (replace(QUICK, radius=4), replace(QUICK, detail="fine")):
        assert reusable_frames(result, names, masks, {"settings": other.to_dict()}) == set()
