"""The benchmark measures real runs, and the reference implementation produces the same masks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mamp import MaskTracker, PatchEncoder, Settings
from mamp.cli.main import main
from mamp.evaluation.benchmark import STAGES
from mamp.evaluation.reference_implementation import ReferenceImplementation
from mamp.evaluation.throughput import encoder_throughput
from mamp.flow.optical_flow import dis_flow
from mamp.model.encoder import Encoder
from tests.conftest import Image, scene

TINY = ["benchmark", "--frames", "2", "--short-side", "48", "--objects", "3"]


def test_the_reference_implementation_produces_the_same_masks() -> None:
    tracker = MaskTracker.from_settings(replace(Settings.paper(), radius=4, top_k=9), PatchEncoder(), dis_flow)
    reference = ReferenceImplementation(PatchEncoder(), dis_flow, radius=4, top_k=9)
    for t in range(9):
        frame, mask = scene(t, 192, 256)  # large enough that near ties at borders are under 0.1%
        first = mask if t == 0 else None
        mask_of_tracker, expected = tracker.step(frame, first), reference.step(frame, first)
        assert (mask_of_tracker == expected).mean() > 0.999
        assert np.count_nonzero(expected) > 100


def test_the_last_line_is_json_with_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--against", "reference"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(report["stages"]) == set(STAGES) and all(spent >= 0 for spent in report["stages"].values())
    matching = report["stages"]["match"] + report["stages"]["read-out"]
    assert matching * 0.9 < report["ms_per_frame"] < sum(report["stages"].values()) * 2
    assert report["of_slowest_chain"] > 0.9
    assert report["frames"] == 2 and report["peak_memory_mb"] > 50
    against = report["against"]
    assert against["pixels_equal"] > 0.98
    assert against["times_slower"] == pytest.approx(against["ms_per_frame"] / against["ours_ms_per_frame"], rel=0.05)
    assert report["of_matrix_product"] > 0


def test_the_operations_are_counted_of_the_encoder_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mamp.evaluation.throughput.median_seconds", lambda function: 1.0)
    table_1, small = (
        encoder_throughput(encoder, (64, 64), 1e-3) for encoder in (Encoder(), Encoder(width=64, depth=3))
    )
    assert 0.03 < float(small["encoder_gflops"]) / float(table_1["encoder_gflops"]) < 0.05


@pytest.fixture
def tracked_labels(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[set[int]]]:
    """The labels on each tracked frame, in order, of the tracker and the reference implementation."""
    labels: dict[str, list[set[int]]] = {"ours": [], "reference": []}

    class Recording(ReferenceImplementation):
        def step(self, frame: Image, mask: Image | None = None) -> Image:
            tracked = super().step(frame, mask)
            labels["reference"].append(set(np.unique(tracked).tolist()))
            return tracked

    def record_overlay(image: Image, mask: Image) -> Image:
        labels["ours"].append(set(np.unique(mask).tolist()))
        return image

    monkeypatch.setattr("mamp.evaluation.comparisons.ReferenceImplementation", Recording)
    for module in ("benchmark", "comparisons"):
        monkeypatch.setattr(f"mamp.evaluation.{module}.overlay", record_overlay)
    return labels


def test_the_reference_implementation_tracks_the_same_objects(tracked_labels: dict[str, list[set[int]]]) -> None:
    assert main([*TINY, "--against", "reference"]) == 0
    assert set.union(*tracked_labels["ours"]) == set.union(*tracked_labels["reference"]) == {0, 1, 2, 3}


def test_all_objects_their_area_and_one_object_are_interleaved(
    tracked_labels: dict[str, list[set[int]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--against", "one-object"]) == 0
    frames = len(tracked_labels["ours"]) // 4
    alone, interleaved = tracked_labels["ours"][:frames], tracked_labels["ours"][frames:]
    assert set.union(*alone) == set.union(*interleaved[::3]) == {0, 1, 2, 3}
    assert set.union(*interleaved[1::3]) == set.union(*interleaved[2::3]) == {0, 1}
    against = json.loads(capsys.readouterr().out.splitlines()[-1])["against"]
    for other in ("same_area", "one_object"):
        assert against[f"times_{other}"] == pytest.approx(against["objects"] / against[other], rel=0.02)
