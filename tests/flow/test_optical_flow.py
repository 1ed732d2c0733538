"""Optical flow: signs, sizes and weights."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mamp.flow.optical_flow import (
    RAFT_FILENAME,
    DisFlow,
    FlowEstimator,
    ParallelDisFlow,
    fetch_raft,
    frame_at_cells,
    load_flow,
    raft_flow,
)
from mamp.flow.raft import RaftError, build_raft, load_raft
from mamp.settings import Settings
from tests.conftest import ROOT, Image

RAFT_FOLDER = Path(os.environ.get("MAMP_TEST_RAFT", ROOT.parent / "shared" / "data" / "weights"))


def shifted() -> tuple[Image, Image]:
    """Content moves 7 pixels right and 3 up from the first frame to the second."""
    rng = np.random.default_rng(1)
    coarse = torch.from_numpy(rng.random((1, 3, 40, 52), dtype=np.float32) * 255)
    large = torch.nn.functional.interpolate(coarse, scale_factor=5, mode="bicubic").clamp(0, 255)
    frame = large[0].permute(1, 2, 0).to(torch.uint8).numpy()
    return frame[20:164, 30:222], frame[23:167, 23:215]


DIS = [DisFlow(), ParallelDisFlow()]


@pytest.mark.parametrize("dis", DIS)
@pytest.mark.parametrize("fast", [False, True])
def test_dis_flow_points_from_the_query_to_the_reference(dis: FlowEstimator, fast: bool) -> None:
    flow = dis(*shifted(), fast=fast)[:, 30:-30, 30:-30]
    assert np.median(flow[0]) == pytest.approx(7, abs=0.3) and np.median(flow[1]) == pytest.approx(-3, abs=0.3)


@pytest.mark.parametrize("dis", DIS)
def test_dis_flow_finds_a_large_motion_only_from_an_initial_flow(dis: FlowEstimator) -> None:
    image = np.random.default_rng(0).integers(0, 256, (160, 320, 3)).astype(np.uint8)
    query, reference = image[:, 60:], image[:, :-60]  # 60 pixels to the right, without structure at coarser scales
    initial_flow = np.zeros((2, 160, 260), np.float32)
    initial_flow[0] = 60
    for fast in (False, True):
        guided, unguided = (dis(query, reference, fast=fast, initial_flow=initial) for initial in (initial_flow, None))
        assert abs(np.median(guided[0][:, :190]) - 60) < 1 < abs(np.median(unguided[0][:, :190]) - 60)
    assert (initial_flow[0] == 60).all()


@pytest.mark.parametrize("dis", DIS)
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [(1, 5), (15, 300), (16, 300), (31, 300), (300, 31)])
def test_small_frames_do_not_crash(dis: FlowEstimator, size: tuple[int, int], fast: bool) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    flow = dis(frame, frame, fast=fast)
    assert flow.shape == (2, *size) and not flow.round().any()


def test_a_frame_at_cells_is_centered_like_the_cells() -> None:
    for height, width in ((24, 40), (23, 37), (1, 5)):
        ramp = np.broadcast_to(np.arange(width, dtype=np.uint8)[:, None] * 6, (height, width, 3))
        small = frame_at_cells(np.ascontiguousarray(ramp))
        assert small.shape == (-(-height // 4), -(-width // 4), 3)
        inside = slice(1, width // 4)  # the mean of the pixels from two before the center to one after it
        np.testing.assert_allclose(small[0, inside, 0], ramp[0, ::4, 0][inside] - 3.0, atol=1)


def as_torchvision_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the parameter names of torchvision's raft_small and raft_large."""
    renames = (
        (r"^(fnet|cnet)\.(layer\d\.\d\.)?conv([123])\.", r"\1.\2convnormrelu\3.0."),
        (r"^(fnet|cnet)\.(layer\d\.\d\.)?norm([123])\.", r"\1.\2convnormrelu\3.1."),
        (r"^(fnet|cnet)\.convnormrelu1\.", r"\1.convnormrelu."),
        (r"^(fnet|cnet)\.convnormrelu2\.0\.", r"\1.conv."),
        (r"^fnet\.", "feature_encoder."),
        (r"^cnet\.", "context_encoder."),
        (r"encoder\.conv(\.[wb])", r"motion_encoder.conv.0\1"),
        (r"encoder\.convc(\d)", r"motion_encoder.convcorr\1.0"),
        (r"encoder\.convf(\d)", r"motion_encoder.convflow\1.0"),
        (r"gru\.conv([zrq])(\d?)", lambda m: f"recurrent_block.convgru{m[2] or 1}.conv{m[1]}"),
        (r"update_block\.mask\.0", "mask_predictor.convrelu.0"),
        (r"update_block\.mask\.2", "mask_predictor.conv"),
    )
    named = {}
    for key, value in state.items():
        if re.search(r"layer\d\.\d\.norm[34]\.", key) and key.replace("norm3", "downsample.1") in state:
            continue  # a shortcut's norm has only one name in torchvision
        name = key
        for pattern, replacement in renames:
            if not (name.startswith(("feature_", "context_")) and pattern.startswith("encoder")):
                name = re.sub(pattern, replacement, name)
        named[name] = value
    return named


@pytest.mark.parametrize("small", [True, False])
def test_raft_loads_weights_under_every_published_naming(small: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    raft = build_raft(small=small).eval()
    pair = torch.rand(2, 1, 3, 61, 83) * 255
    torch.save(raft.state_dict(), tmp_path / "plain.pth")
    torch.save({f"module.{key}": value for key, value in raft.state_dict().items()}, tmp_path / "module.pth")
    torch.save(as_torchvision_names(raft.state_dict()), tmp_path / "torchvision.pth")
    with torch.inference_mode():
        flow = raft(*pair, iterations=2)
        assert flow.shape == (1, 2, 61, 83)
        for name in ("plain.pth", "module.pth", "torchvision.pth"):
            torch.testing.assert_close(load_raft(tmp_path / name)(*pair, iterations=2), flow)


def test_weights_of_another_model_are_rejected(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    for name in ("other.pth", "text.pth", "missing.pth"):
        with pytest.raises(RaftError, match=name):
            load_raft(tmp_path / name)


def test_raft_takes_more_iterations_for_a_distant_reference(tmp_path: Path) -> None:
    weights = tmp_path / "raft.pth"
    torch.save(build_raft(small=True).state_dict(), weights)
    frames = shifted()
    flow = load_flow(Settings(flow="raft", raft_weights=str(weights), device="cpu"))
    assert flow is not None
    for frame_gap, iterations in ((1, 2), (15, 2), (16, 5)):
        expected = raft_flow(weights, iterations=iterations)(*frames)
        np.testing.assert_array_equal(flow(*frames, frame_gap=frame_gap), expected)
    assert not np.array_equal(flow(*frames), expected)
    with pytest.raises(ValueError, match="at least one iteration"):
        raft_flow(weights, iterations=0)


def test_raft_in_the_cache_of_the_hub_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, commit = tmp_path / "models--somebody--raft", 40 * "0"
    cached = repository / "snapshots" / commit / RAFT_FILENAME
    for path, content in ((repository / "refs" / "main", commit), (cached, "weights")):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: pytest.fail("it asks the network"))
    assert fetch_raft("somebody/raft") == cached
    assert fetch_raft(f"somebody/raft@{commit}") == cached


def test_raft_is_loaded_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    weights = tmp_path / "raft.pth"
    torch.save(build_raft(small=True).state_dict(), weights)
    settings = Settings(flow="raft", raft_weights=str(weights), device="cpu")
    first = load_flow(settings)
    assert load_flow(settings) is first
    torch.save(build_raft(small=True).state_dict(), weights)
    os.utime(weights, ns=(1, 1))
    assert load_flow(settings) is not first


@pytest.mark.skipif(not RAFT_FOLDER.is_dir(), reason="RAFT's published weights are missing")
@pytest.mark.parametrize("name", ["raft-small.pth", "raft-sintel.pth"])
def test_published_weights_estimate_the_motion(name: str) -> None:
    flow = raft_flow(RAFT_FOLDER / name, iterations=5)(*shifted())[:, 30:-30, 30:-30]
    assert np.median(flow[0]) == pytest.approx(7, abs=0.5) and np.median(flow[1]) == pytest.approx(-3, abs=0.5)
