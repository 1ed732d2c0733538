"""A CUDA GPU gives the results of the CPU. Skipped without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mamp import Settings, load_encoder, read_mask, segment_video
from mamp.cli.main import main
from mamp.flow.optical_flow import load_flow
from mamp.propagation.frame_answer import FrameAnswer, unpack_answer
from mamp.propagation.local_matching import SMALL_BLOCK, propagate
from mamp.propagation.object_discriminant import Discriminants, class_statistics
from mamp.runs.results import Result
from mamp.tracker import Frame, MaskTracker
from mamp.video.synthetic import synthetic_clip, synthetic_frames, synthetic_mask

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")

SIZE = (240, 426)


def random_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


EXECUTIONS = ["synchronous", "asynchronous"]


def tracker_on(device: str, execution: str) -> MaskTracker:
    settings = Settings(device=device, execution=execution)
    return MaskTracker.from_settings(settings, load_encoder(device=device), load_flow(settings))


def track(device: str, objects: int, frames: int = 24, execution: str = "synchronous") -> list[Frame]:
    tracker = tracker_on(device, execution)
    return list(tracker.track(synthetic_frames(SIZE, frames), {0: synthetic_mask(SIZE, objects)}))


@pytest.mark.parametrize("top_k", [1, 9, None])
@pytest.mark.parametrize("block", [None, SMALL_BLOCK])
def test_matching_equals_that_of_the_cpu(top_k: int | None, block: int | None) -> None:
    N, C, K, h, w = 3, 16, 4, 27, 45
    query, keys = 4 * random_normal(C, h, w), 4 * random_normal(N, C, h, w, seed=1)
    values = torch.nn.functional.one_hot(torch.arange(N * h * w).view(N, h, w) // 7 % K, K).permute(0, 3, 1, 2).float()
    valid = random_normal(N, h, w, seed=2) > -1
    tensors = (query, keys, values, valid)

    def scores(device: str) -> torch.Tensor:
        query, keys, values, valid = (tensor.to(device) for tensor in tensors)
        return propagate(
            query, lambda rows: keys[:, :, rows], values, valid=valid, radius=5, top_k=top_k, block=block
        ).cpu()

    torch.testing.assert_close(scores("cuda"), scores("cpu"), atol=2e-3, rtol=0)


def test_discriminant_scores_equal_those_of_the_cpu() -> None:
    key, features = 4 * random_normal(64, 30, 40), random_normal(22, 30, 40, seed=1)
    value = torch.zeros(30, 40, dtype=torch.uint8)
    value[8:20, 5:15], value[8:20, 20:30] = 1, 2
    key[:3] += 3 * value

    def scores(device: str) -> torch.Tensor:
        tensors = [tensor.to(device) for tensor in (key, features, value)]
        statistics = class_statistics(*tensors, radius=6)
        return Discriminants([statistics], [0, 1, 2], strength=0.2).scores(*tensors[:2]).cpu()

    torch.testing.assert_close(scores("cuda"), scores("cpu"), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("objects", [1, 3])
def test_masks_equal_those_of_the_cpu(objects: int, execution: str) -> None:
    one, other = (track(device, objects, execution=execution) for device in ("cuda", "cpu"))
    assert min((a == b).mean() for a, b in zip(one, other, strict=True)) > 0.995


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_same_clip_gives_the_same_masks_twice(execution: str) -> None:
    np.testing.assert_array_equal(*(track("cuda", 3, execution=execution) for _ in range(2)))


def test_asynchronous_execution_waits_only_for_the_answer_of_a_usual_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, frames = tracker_on("cuda", "asynchronous"), list(synthetic_frames(SIZE, 30))
    for t in range(28):  # the memory is full, and constants are on the device
        tracker.step(frames[t], synthetic_mask(SIZE, 3) if t == 0 else None)

    def wait_for_answer(*arguments: Any) -> FrameAnswer:
        torch.cuda.set_sync_debug_mode("default")
        answer = unpack_answer(*arguments)
        assert answer.change is not None and not answer.change.needs_search
        torch.cuda.set_sync_debug_mode("error")
        return answer

    monkeypatch.setattr("mamp.tracker.unpack_answer", wait_for_answer)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for frame in frames[28:]:
            tracker.step(frame)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_gpu_short_of_memory_continues_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = track("cuda", 1, frames=8)
    _, total = torch.cuda.mem_get_info()

    def greedy(*arguments: Any, block: int | None, **settings: Any) -> torch.Tensor:
        if block is None:
            torch.empty(2 * total, dtype=torch.uint8, device="cuda")
        return propagate(*arguments, block=block, **settings)

    monkeypatch.setattr("mamp.propagation.memory_readout.propagate", greedy)
    masks = track("cuda", 1, frames=8)
    assert min((one == other).mean() for one, other in zip(masks, expected, strict=True)) > 0.995


def test_segment_video_writes_the_masks_of_the_cpu(tmp_path: Path) -> None:
    clip = synthetic_clip(tmp_path / "clip.mp4", SIZE[0], 12)
    mask = synthetic_mask(SIZE, 2)

    def masks(device: str) -> list[Frame]:
        folder = tmp_path / device
        list(segment_video(clip, {4: mask}, folder, settings=Settings(device=device)))
        return [read_mask(path) for path in sorted(Result(folder).masks_dir.glob("*.png"))]

    equal = [(one == other).mean() for one, other in zip(masks("cuda"), masks("cpu"), strict=True)]
    assert min(equal) > 0.995


@pytest.mark.parametrize("command", ["train", "distill"])
def test_training_resumes_and_exports_finite_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "clips").mkdir()
    synthetic_clip(tmp_path / "clips" / "one.mp4", 120, 24)
    options = [command, str(tmp_path / "clips"), "--out", str(tmp_path / "run"), "--device", "cuda", "--batch", "4"]
    options += [
        "--crop",
        "64",
        "--workers",
        "0",
        "--correspondence-weight",
        "1",
        "--temperature",
        "0.05",
        "--start",
        "patches",
    ]
    assert main([*options, "--samples", "40"]) == 0
    assert main([*options, "--samples", "40"]) == 0
    assert "resuming after 40 samples" in capsys.readouterr().err
    encoder = load_encoder(tmp_path / "run" / "mamp.safetensors", device="cuda")
    assert encoder(random_normal(1, 3, 64, 64).cuda()).isfinite().all()
