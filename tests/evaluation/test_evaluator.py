"""J and F, and the evaluation of folders in the layouts of DAVIS and YouTube-VOS."""

import json
import os
import shutil
import subprocess
import warnings
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pictures

from mamp import MaskTracker, read_mask, write_mask
from mamp.cli.main import main
from mamp.evaluation.ablations import ABLATIONS
from mamp.evaluation.davis_metrics import contour_accuracy, region_similarity, statistics
from mamp.evaluation.score_tables import seen_table
from mamp.evaluation.sharding import shard_sequences
from mamp.flow.raft import build_raft
from tests.conftest import ROOT, TORCHRUN, scene

Masks = NDArray[np.bool_]


def square(size: int, at: int = 10) -> np.ndarray:  # type: ignore[type-arg]
    mask = np.zeros((60, 80), bool)
    mask[at : at + size, at : at + size] = True
    return mask


def test_region_similarity_is_intersection_over_union() -> None:
    assert region_similarity(square(20), square(10)) == pytest.approx(0.25)
    assert region_similarity(square(0), square(0)) == 1
    assert region_similarity(square(0), square(5)) == 0


def test_contours_within_the_tolerance_match() -> None:
    # The diagonal is 100 pixels, so the tolerance is one pixel. Corners shifted by one along both axes are outside it.
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
    """The decay as davis2017-evaluation computes it."""
    ids = np.round(np.linspace(1, len(values), 5) + 1e-10) - 1
    ids = ids.astype(np.uint8)
    bins = [values[int(ids[i]) : int(ids[i + 1]) + 1] for i in range(4)]
    return float(np.nanmean(bins[0]) - np.nanmean(bins[3]))


@pytest.mark.parametrize("length", [1, 2, 5, 50, 104, 256])
def test_decay_equals_the_official_tool(length: int) -> None:
    values = np.random.default_rng(length).random(length)
    assert statistics(values)[2] == pytest.approx(official_decay(values), abs=1e-12)


def test_decay_has_the_official_quirk_beyond_256_frames() -> None:
    values = np.random.default_rng(0).random(400)
    assert np.isnan(statistics(values)[2]) == np.isnan(official_decay_or_nan(values))


def official_decay_or_nan(values: np.ndarray) -> float:  # type: ignore[type-arg]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return official_decay(values)


def disks(seed: int, size: tuple[int, int], count: int = 7) -> Masks:
    """Masks (count, H, W) bool of a few disks each, some with holes or cut by the border; equal on every machine."""
    state = seed * 2654435761 % 2**32
    masks = np.zeros((count, *size), bool)
    y, x = np.mgrid[: size[0], : size[1]]
    for index in range(5 * count):
        numbers = []
        for _ in range(3):
            state = (state * 1664525 + 1013904223) % 2**32
            numbers.append(state >> 16)
        row, column, radius = numbers[0] % size[0], numbers[1] % size[1], 1 + numbers[2] % (min(size) // 3)
        masks[index % count] ^= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return masks


# Mean, recall and decay of J, then of F, that davis2017-evaluation (commit ac7c43f) computes from these masks.
OFFICIAL = {
    (48, 64): (0.650261987, 0.857142857, 0.124586263, 0.670707317, 0.857142857, 0.195632841),
    (97, 121): (0.72451288, 0.857142857, 0.281027074, 0.763607442, 0.857142857, 0.355866334),
    (240, 427): (0.71642111, 0.857142857, 0.247132965, 0.754196345, 0.857142857, 0.338939124),
    (480, 854): (0.709021049, 0.714285714, 0.205568336, 0.758921107, 0.857142857, 0.335553423),
}


@pytest.mark.parametrize(("seed", "size"), list(enumerate(OFFICIAL, 1)))
def test_scores_equal_the_official_tool(seed: int, size: tuple[int, int]) -> None:
    truth = disks(seed, size)
    result = truth ^ (disks(seed + 10, size) & disks(seed + 20, size))
    result[2] = np.roll(truth[2], 2, axis=1)
    result[5] = False
    result[6] = truth[6]
    pairs = list(zip(truth, result, strict=True))
    j = np.array([region_similarity(*pair) for pair in pairs])
    f = np.array([contour_accuracy(*pair) for pair in pairs])
    assert (*statistics(j), *statistics(f)) == pytest.approx(OFFICIAL[size], abs=1e-8)


def write_davis(root: Path, names: tuple[str, ...] = ("disk",), frames: int = 6) -> None:
    for name in names:
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / "480p" / name).mkdir(parents=True)
        for t in range(frames):
            frame, mask = scene(t)
            cv2.imwrite(str(root / f"JPEGImages/480p/{name}/{t:05d}.jpg"), frame[..., ::-1])
            Pictures.fromarray(mask * 255).save(root / f"Annotations/480p/{name}/{t:05d}.png")
    lists = root / "ImageSets/2016"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(names))


def summary_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def test_a_davis_folder_is_evaluated_and_the_last_line_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_davis(tmp_path)
    assert main(["evaluate", str(tmp_path), "--weights", "patch", "--baseline", "--save", str(tmp_path / "out")]) == 0
    summary = summary_of(capsys)
    assert summary["encoder"] == summary["patches"] and summary["encoder"]["J-Mean"] > 80
    assert sorted(path.name for path in (tmp_path / "out/disk").iterdir()) == [f"{t:05d}.png" for t in range(6)]
    tables = [(tmp_path / f"out/{name}_results-val.csv").read_text() for name in ("global", "per-sequence")]
    assert tables[0].startswith("J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n")
    assert tables[1].startswith("Sequence,J-Mean,F-Mean\ndisk_1,0.")
    with zipfile.ZipFile(tmp_path / "out/masks.zip") as file:
        assert file.namelist() == [f"disk/{t:05d}.png" for t in range(6)]

    assert main(["evaluate", str(tmp_path), "--score", str(tmp_path / "out")]) == 0
    assert summary_of(capsys)["out"] == summary["encoder"]
    Pictures.fromarray(np.full((96, 128), 2, np.uint8)).save(tmp_path / "out/disk/00003.png")
    assert main(["evaluate", str(tmp_path), "--score", str(tmp_path / "out")]) == 1
    assert "disk/00003.png has a label" in capsys.readouterr().err
    (tmp_path / "out/disk/00003.png").unlink()
    assert main(["evaluate", str(tmp_path), "--score", str(tmp_path / "out")]) == 1
    assert main(["evaluate", str(tmp_path / "nothing")]) == 2


def test_sequences_that_fail_do_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_davis(tmp_path, ("good", "bad", "empty", "gone", "maskless", "two"))
    frames, masks = tmp_path / "JPEGImages/480p", tmp_path / "Annotations/480p"
    (frames / "bad/00003.jpg").write_bytes(b"not an image")
    for path in (frames / "empty").iterdir():
        path.unlink()
    shutil.rmtree(frames / "gone")
    (masks / "maskless/00000.png").write_bytes(b"not an image")
    for path in list((frames / "two").iterdir()):
        path.with_name(f"other{path.name}").write_bytes(path.read_bytes())
    assert main(["evaluate", str(tmp_path), "--weights", "patch", "--baseline"]) == 1
    summary = summary_of(capsys)
    assert summary["encoder"]["objects"] == summary["patches"]["objects"] == 1
    assert "several series of images" in summary["failures"].pop("two")
    assert summary["failures"] == {
        "bad": "The frame 00003.jpg cannot be read as an image.",
        "empty": "empty has no frames",
        "gone": "gone has no frames",
        "maskless": "The mask 00000.png cannot be read as an image.",
    }


def test_a_rerun_tracks_only_sequences_with_missing_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_davis(tmp_path, ("one", "two"))
    command = ["evaluate", str(tmp_path), "--weights", "patch", "--save", str(tmp_path / "out")]
    assert main(command) == 0
    summary = summary_of(capsys)
    (tmp_path / "out/two/00004.png").unlink()
    tracked = []
    step = MaskTracker.step
    monkeypatch.setattr(MaskTracker, "step", lambda *args, **kwargs: tracked.append(1) or step(*args, **kwargs))
    assert main(command) == 0
    assert len(tracked) == 6, "only the sequence with a missing mask"
    assert summary_of(capsys) == summary
    assert main([*command, "--top-k", "8"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_two_folders_are_compared_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_davis(tmp_path, ("one", "two"))
    for folder, shift in (("exact", 0), ("shifted", 6)):
        for path in (tmp_path / "Annotations/480p").glob("*/*.png"):
            mask = np.roll(np.asarray(Pictures.open(path)), shift, axis=1)
            (tmp_path / folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            Pictures.fromarray(mask).save(tmp_path / folder / path.parent.name / path.name)
    folders = [str(tmp_path / "exact"), str(tmp_path / "shifted")]
    assert main(["evaluate", str(tmp_path), "--compare", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("two") and line.split()[1] == "100.0")
    assert -60 < float(row.split()[-1]) < -20
    summary = json.loads(lines[-1])
    assert summary["exact"]["J&F-Mean"] == 100 > summary["shifted"]["J&F-Mean"]


def test_a_method_that_fails_on_a_sequence_keeps_its_other_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_davis(tmp_path, ("one", "two"))
    for folder in ("complete", "incomplete"):
        shutil.copytree(tmp_path / "Annotations/480p", tmp_path / folder)
    (tmp_path / "incomplete/two/00003.png").unlink()
    folders = [str(tmp_path / "complete"), str(tmp_path / "incomplete")]
    assert main(["evaluate", str(tmp_path), "--compare", *folders]) == 1
    summary = summary_of(capsys)
    assert (summary["complete"]["objects"], summary["incomplete"]["objects"]) == (2, 1)
    assert list(summary["failures"]) == ["two"]


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_has_its_rows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_davis(tmp_path)
    raft = build_raft(small=True)
    for parameter in raft.parameters():  # its flow is zero
        torch.nn.init.zeros_(parameter)
    torch.save(raft.state_dict(), tmp_path / "raft.pth")
    options = ["--weights", "patch", "--raft-weights", str(tmp_path / "raft.pth")]
    assert main(["evaluate", str(tmp_path), *options, "--ablate", name]) == 0
    summary = summary_of(capsys)
    assert list(summary) == list(ABLATIONS[name])
    assert all(row["J-Mean"] > 50 for row in summary.values())
    if name == "alignment":
        assert summary["on"]["J&F-Mean"] > summary["off"]["J&F-Mean"]
    if name == "flow":
        assert summary["raft"] == summary["none"]


def test_two_processes_shard_the_sequences(tmp_path: Path) -> None:
    write_davis(tmp_path, ("one", "two", "three"))
    command = ["-m", "mamp", "evaluate", str(tmp_path), "--weights", "patch", "--save", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([*TORCHRUN, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout.splitlines()[-1])
    assert summary["encoder"]["objects"] == 3
    table = (tmp_path / "out/per-sequence_results-val.csv").read_text().split()
    assert [row.split(",")[0] for row in table[1:]] == ["one_1", "two_1", "three_1"]


def test_sequences_are_sharded_by_length() -> None:
    class SequenceOfLength:
        def __init__(self, length: int) -> None:
            self.length = length

        def __len__(self) -> int:
            return self.length

    shards = shard_sequences([SequenceOfLength(length) for length in (10, 50, 20, 30, 5)], 2)  # type: ignore[misc]
    assert [[len(sequence) for sequence in shard] for shard in shards] == [[50, 10], [30, 20, 5]]


def write_youtube(root: Path, *, dense: bool) -> None:
    """Two objects, the second one from frame 10 on; only every fifth frame number exists."""
    folders = [root / "valid" / kind / "abc" for kind in ("JPEGImages", "Annotations")]
    for folder in folders:
        folder.mkdir(parents=True)
    for t in range(0, 30, 5):
        frame, mask = scene(t // 5, 192, 256)
        mask = np.where(mask, 2, 0).astype(np.uint8) if t >= 10 else np.zeros_like(mask)
        frame[150:180, 10:60] = (20, 200, 40)
        mask[150:180, 10:60] = 1
        cv2.imwrite(str(folders[0] / f"{t:05d}.jpg"), frame[..., ::-1])
        if dense or t in (0, 10):
            write_mask(folders[1] / f"{t:05d}.png", mask)
    frames = [f"{t:05d}" for t in range(0, 30, 5)]
    objects = {"1": {"category": "box", "frames": frames[:5]}, "2": {"category": "disk", "frames": frames[2:5]}}
    (root / "valid/meta.json").write_text(json.dumps({"videos": {"abc": {"objects": objects}}}))


def test_a_youtube_vos_folder_is_evaluated_by_seen_and_unseen_categories(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_youtube(tmp_path, dense=True)
    (tmp_path / "train").mkdir()
    training = {"xyz": {"objects": {"1": {"category": "box", "frames": ["00000"]}}}}
    (tmp_path / "train/meta.json").write_text(json.dumps({"videos": training}))
    assert main(["evaluate", str(tmp_path), "--weights", "patch", "--save", str(tmp_path / "out")]) == 0
    scores = summary_of(capsys)["encoder"]
    assert scores["objects"] == 2 and scores["J-Seen"] > 80 and scores["J-Unseen"] > 80
    assert scores["Overall"] == pytest.approx(
        np.mean([scores[name] for name in ("J-Seen", "F-Seen", "J-Unseen", "F-Unseen")]), abs=0.02
    )
    assert sorted(path.name for path in (tmp_path / "out/abc").iterdir()) == [f"{t:05d}.png" for t in range(0, 25, 5)]
    first = read_mask(tmp_path / "out/abc/00000.png")
    assert first.shape == (192, 256) and 2 not in first
    assert 2 in read_mask(tmp_path / "out/abc/00010.png")


def test_youtube_vos_without_public_masks_is_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_youtube(tmp_path, dense=False)
    assert main(["evaluate", str(tmp_path), "--weights", "patch", "--save", str(tmp_path / "out")]) == 0
    assert summary_of(capsys)["encoder"] == {"objects": 0}
    with zipfile.ZipFile(tmp_path / "out/masks.zip") as file:
        assert file.namelist() == [f"Annotations/abc/{t:05d}.png" for t in range(0, 25, 5)]
    (tmp_path / "valid/meta.json").write_text("[]")
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "no list of YouTube-VOS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "gap"),  # J and F of seen, then of unseen objects: MAMP, MAST and STM in Table 3
    [((67.0, 68.4, 64.5, 73.2), -1.2), ((63.9, 64.9, 60.3, 67.7), 0.4), ((79.7, 84.2, 72.8, 80.9), 5.1)],
)
def test_generalization_gap_equals_table_3(values: tuple[float, ...], gap: float) -> None:
    j_seen, f_seen, j_unseen, f_unseen = (value / 100 for value in values)
    scores = {"a": {1: (j_seen, 0, 0, f_seen, 0, 0)}, "b": {1: (j_unseen, 0, 0, f_unseen, 0, 0)}}
    table = seen_table(scores, {"a": {1: "cat"}, "b": {1: "dog"}}, {"cat"})
    assert round(100 * table["Gen-Gap"] + 1e-9 * np.sign(gap), 1) == pytest.approx(gap, abs=0.06)
    assert 100 * table["Overall"] == pytest.approx(np.mean(values))
