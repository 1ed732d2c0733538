"""The calibration recovers a map from masks, and its table compares expectation and truth."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mamp import write_mask
from mamp.evaluation.vos_datasets import find_sequences
from tools import calibrate


def test_masks_that_grow_and_get_worse_are_expected_to_be_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.zeros((48, 64), np.uint8)
    truth[10:30, 10:30] = 1
    for name, growth in (("still", 0), ("spreading", 1)):
        for t in range(30):
            for folder in ("JPEGImages", "Annotations"):
                (tmp_path / "data" / folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / f"data/JPEGImages/{name}/{t:05d}.jpg"), np.zeros((48, 64, 3), np.uint8))
            write_mask(tmp_path / f"data/Annotations/{name}/{t:05d}.png", truth)
            mask = truth.copy()
            mask[10 : 30 + growth * min(t, 17), 10 : 30 + growth * t] = 1
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            write_mask(tmp_path / f"masks/{name}/{t:05d}.png", mask)
    tracks = calibrate.read_tracks(find_sequences(tmp_path / "data"), tmp_path / "masks")
    assert sorted(track.name for track in tracks) == ["spreading", "still"]
    constants = calibrate.fit(tracks)
    assert constants[1] > 0 and constants[2] >= 0
    lost = [replace(entry, area=0) for entry in tracks[0].object_frames[-5:]]
    tracks[0].object_frames[-5:], tracks[0].overlap[-5:] = lost, [0.0] * 5
    shorter = [replace(track, object_frames=track.object_frames[:25], overlap=track.overlap[:25]) for track in tracks]
    # An object that was not found has no expected overlap.
    assert calibrate.fit(tracks) == pytest.approx(calibrate.fit([shorter[0], tracks[1]]), abs=1e-4)
    write_mask(tmp_path / "masks/still/00029.png", np.zeros_like(truth))
    curve = tmp_path / "curve.png"
    arguments = ["calibrate", str(tmp_path / "data"), str(tmp_path / "masks"), "--curve", str(curve)]
    monkeypatch.setattr("sys.argv", arguments)
    calibrate.main()
    printed = capsys.readouterr().out
    assert "INTERCEPT, AREA_WEIGHT, TIME_WEIGHT = " in printed and "frames with J below 0.5: " in printed
    assert curve.exists()
