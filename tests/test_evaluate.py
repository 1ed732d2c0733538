"""J, F and the evaluation of a folder in the layout of DAVIS."""

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from mamp.__main__ import main
from mamp.metrics import contour_accuracy, region_similarity, statistics
from tests.conftest import scene


def square(size: int, at: int = 10) -> np.ndarray:  # type: ignore[type-arg]
    mask = np.zeros((60, 80), bool)
    mask[at : at + size, at : at + size] = True
    return mask


def test_region_similarity_is_intersection_over_union() -> None:
    assert region_similarity(square(20), square(10)) == pytest.approx(0.25)
    assert region_similarity(square(0), square(0)) == 1
    assert region_similarity(square(0), square(5)) == 0


def test_contours_within_the_tolerance_count_as_found() -> None:
    # The diagonal is 100 pixels, so a contour may be off by one.
    # Off by one to both sides, a corner is off by more than the disk of radius one.
    assert 0.95 < contour_accuracy(square(20), square(20, 11)) < 1
    assert contour_accuracy(square(20), np.roll(square(20), 1, axis=1)) == 1
    assert contour_accuracy(square(20), square(20, 13)) < 0.6
    assert contour_accuracy(square(0), square(0)) == 1
    assert contour_accuracy(square(0), square(9)) == 0


def test_statistics_are_mean_recall_and_decay() -> None:
    mean, recall, decay = statistics(np.array([1.0, 0.9, 0.8, 0.7, 0.4, 0.3, 0.2, 0.1]))
    assert (mean, recall) == (pytest.approx(0.55), pytest.approx(0.5))
    assert decay == pytest.approx(np.mean([1, 0.9, 0.8]) - np.mean([0.2, 0.1]), abs=0.06)


def official_decay(values: np.ndarray) -> float:  # type: ignore[type-arg]
    """As davis2017-evaluation words it."""
    ids = np.round(np.linspace(1, len(values), 5) + 1e-10) - 1
    ids = ids.astype(np.uint8)
    bins = [values[int(ids[i]) : int(ids[i + 1]) + 1] for i in range(4)]
    return float(np.nanmean(bins[0]) - np.nanmean(bins[3]))


@pytest.mark.parametrize("length", [1, 2, 5, 50, 104, 256])
def test_decay_is_that_of_the_official_tool(length: int) -> None:
    values = np.random.default_rng(length).random(length)
    assert statistics(values)[2] == pytest.approx(official_decay(values), abs=1e-12)


def test_decay_has_the_official_quirk_beyond_256_frames() -> None:
    values = np.random.default_rng(0).random(400)
    assert np.isnan(statistics(values)[2]) == np.isnan(official_decay_or_nan(values))


def official_decay_or_nan(values: np.ndarray) -> float:  # type: ignore[type-arg]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return official_decay(values)


def test_a_davis_folder_is_measured_and_the_last_line_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "480p" / "disk").mkdir(parents=True)
    for t in range(6):
        frame, mask = scene(t)
        cv2.imwrite(str(tmp_path / f"JPEGImages/480p/disk/{t:05d}.jpg"), frame[..., ::-1])
        Pictures.fromarray(mask * 255).save(tmp_path / f"Annotations/480p/disk/{t:05d}.png")
    lists = tmp_path / "ImageSets/2016"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("disk\n")
    assert main(["evaluate", str(tmp_path), "--weights", "patch", "--baseline", "--save", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    summary = json.loads(lines[-1])
    assert summary["encoder"] == summary["patches"] and summary["encoder"]["J-Mean"] > 80
    assert sorted(path.name for path in (tmp_path / "out/disk").iterdir()) == [f"{t:05d}.png" for t in range(6)]
    tables = [(tmp_path / f"out/{name}_results-val.csv").read_text() for name in ("global", "per-sequence")]
    assert tables[0].startswith("J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n")
    assert tables[1].startswith("Sequence,J-Mean,F-Mean\ndisk_1,0.")

    assert main(["evaluate", str(tmp_path), "--score", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["out"] == summary["encoder"]
    Pictures.fromarray(np.full((96, 128), 2, np.uint8)).save(tmp_path / "out/disk/00003.png")
    assert main(["evaluate", str(tmp_path), "--score", str(tmp_path / "out")]) == 2
    assert "disk/00003.png has a label" in capsys.readouterr().err
    (tmp_path / "out/disk/00003.png").unlink()
    assert main(["evaluate", str(tmp_path), "--score", str(tmp_path / "out")]) == 2
    assert main(["evaluate", str(tmp_path / "nothing")]) == 2
