"""Training on synthetic clips."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mamp.cli.main import main
from mamp.model.checkpoint import load_encoder
from mamp.model.color import rgb_to_lab
from mamp.model.encoder import Encoder
from mamp.training.frame_pairs import FramePairs, NoReadableClipError, random_affine_warp, split_shots
from mamp.training.losses import correspondence_loss, distillation_loss, reconstruction_loss
from mamp.training.trainer import TrainConfig, Trainer, learning_rate
from tests.conftest import ROOT, TORCHRUN, scene, write_clip

CONFIG = TrainConfig(
    batch=4,
    crop=32,
    samples=48,
    schedule="cosine",
    temperature=0.05,
    start="patches",
    correspondence_weight=1.0,
    max_scale=1.5,
)
CPU = torch.device("cpu")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        write_clip(folder / f"{number}.mp4", [scene(t, speed=1 + number)[0] for t in range(12)])
    return folder


def test_pairs_depend_on_their_index_alone(clips: Path) -> None:
    pairs = FramePairs(clips, length=8, crop=32, pairs=2, with_flow=True)
    again = FramePairs(clips, length=8, crop=32, pairs=2, with_flow=True)
    assert pairs[3]["frames"].shape == (2, 2, 32, 32, 3) and pairs[3]["flow"].shape == (2, 2, 2, 32, 32)
    assert all(torch.equal(pairs[3][name], again[3][name]) for name in pairs[3])
    assert not torch.equal(pairs[3]["frames"], pairs[4]["frames"])


def test_the_flow_of_a_synthetic_pair_is_exact() -> None:
    rng = np.random.default_rng(3)
    frame = scene(0, 96, 96)[0]
    second, forward, backward = random_affine_warp(frame, rng)
    rows, columns = np.mgrid[:96, :96].astype(np.float32)
    for one, other, flow in ((frame, second, forward), (second, frame, backward)):
        x, y = columns + flow[0], rows + flow[1]
        warped = cv2.remap(other, x, y, cv2.INTER_LINEAR).astype(int)
        inside = (x > 1) & (x < 94) & (y > 1) & (y < 94) & one.any(axis=2) & warped.any(axis=2)
        assert inside.mean() > 0.4 and np.abs(warped - one)[inside].mean() < 6
    assert np.abs(forward).max() > 3


def test_all_pairs_of_a_run_can_be_synthetic(clips: Path) -> None:
    item = FramePairs(clips, length=2, crop=32, pairs=2, with_flow=True, synthetic_pair_ratio=1.0)[0]
    assert item["flow"].shape == (2, 2, 2, 32, 32) and item["flow"].abs().max() > 1


def test_no_pair_spans_a_shot_change() -> None:
    one = [scene(t)[0] for t in range(5)]
    other = [255 - frame for frame in one]
    assert [len(shot) for shot in split_shots([*one, *other])] == [5, 5]
    assert [len(shot) for shot in split_shots(one)] == [5]


def test_the_paper_halves_the_learning_rate_and_the_cosine_ends_at_zero() -> None:
    paper = TrainConfig()
    rates = [learning_rate(paper, samples) for samples in (0, 399_999, 400_000, 600_000, 800_000, 1_000_000)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4, 1.25e-4, 6.25e-5])
    assert learning_rate(TrainConfig(schedule="cosine"), paper.samples) == pytest.approx(0)


def test_the_loss_falls_on_fixed_pairs(clips: Path) -> None:
    torch.manual_seed(0)
    item = FramePairs(clips, length=1, crop=32, pairs=4, with_flow=True)[0]
    encoder = Encoder(0.05)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    lab = torch.rand(4, 2, 3, 32, 32) * 0.1 + item["frames"].permute(0, 1, 4, 2, 3) / 255
    losses = []
    for _ in range(20):
        features = encoder(lab.flatten(0, 1)).unflatten(0, (4, 2))
        loss = reconstruction_loss(features, lab[:, :, 1:2], radius=6) + correspondence_loss(features, item["flow"])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_the_correspondence_loss_is_low_if_features_follow_the_flow() -> None:
    torch.manual_seed(0)
    first = torch.randn(1, 64, 8, 8) * 2
    flow = torch.zeros(1, 2, 2, 32, 32)
    flow[:, 0, 0], flow[:, 1, 0] = 8, -8  # two cells right, and back
    following, contrary = first.roll(2, dims=3), first.roll(-2, dims=3)
    right = correspondence_loss(torch.stack((first, following), dim=1), flow)
    wrong = correspondence_loss(torch.stack((first, contrary), dim=1), flow)
    assert right < 0.1 < wrong


def test_a_resumed_run_takes_the_same_steps_as_an_uninterrupted_one(clips: Path, tmp_path: Path) -> None:
    uninterrupted = Trainer(CONFIG, clips, tmp_path / "uninterrupted", device=CPU)
    losses = [loss.item() for _, loss in zip(range(4), (loss for _, loss in uninterrupted.steps()), strict=False)]
    interrupted = Trainer(CONFIG, clips, tmp_path / "interrupted", device=CPU)
    for progress, _ in interrupted.steps():
        if progress.samples == 2 * CONFIG.batch:
            break
    interrupted.save()
    resumed = Trainer(CONFIG, clips, tmp_path / "interrupted", device=CPU)
    assert resumed.resume()
    again = [loss.item() for _, loss in zip(range(2), (loss for _, loss in resumed.steps()), strict=False)]
    assert again == losses[2:]
    with pytest.raises(ValueError, match="another configuration"):
        Trainer(TrainConfig(batch=8), clips, tmp_path / "interrupted", device=CPU).resume()


DISTILLATION = replace(TrainConfig.distillation(), batch=4, crop=32, samples=48, width=16, depth=1)


def test_a_small_encoder_learns_the_features_of_its_teacher(clips: Path, tmp_path: Path) -> None:
    trainer = Trainer(replace(DISTILLATION, samples=160), clips, tmp_path, device=CPU)
    lab = rgb_to_lab(torch.from_numpy(np.stack([scene(t)[0] for t in (3, 7)])))

    def similarity() -> float:
        student, teacher = load_encoder(trainer.export(), device="cpu"), load_encoder("table1", device="cpu")
        with torch.inference_mode():
            return F.cosine_similarity(student(lab), teacher(lab)).mean().item()

    untrained = similarity()
    losses = [loss.item() for _, loss in trainer.steps()]
    assert len(losses) == 40 and np.mean(losses[-5:]) < 0.5 * losses[0]
    assert similarity() > untrained + 0.2


def test_the_distillation_loss_is_zero_for_the_features_of_the_teacher() -> None:
    target = torch.randn(2, 2, 8, 6, 7)
    rng = torch.Generator().manual_seed(0)
    same = distillation_loss(3 * target, target, radius=12, rng=rng)
    other = distillation_loss(target.flip(2), target, radius=12, rng=rng)
    assert same.item() == pytest.approx(0, abs=1e-5) and other > 0.5


def test_a_resumed_distillation_takes_the_same_steps(clips: Path, tmp_path: Path) -> None:
    uninterrupted = Trainer(DISTILLATION, clips, tmp_path / "uninterrupted", device=CPU)
    losses = [loss.item() for _, loss in itertools.islice(uninterrupted.steps(), 4)]
    interrupted = Trainer(DISTILLATION, clips, tmp_path / "interrupted", device=CPU)
    assert [loss.item() for _, loss in itertools.islice(interrupted.steps(), 2)] == losses[:2]
    interrupted.save()
    resumed = Trainer(DISTILLATION, clips, tmp_path / "interrupted", device=CPU)
    assert resumed.resume()
    assert [loss.item() for _, loss in itertools.islice(resumed.steps(), 2)] == losses[2:]


def test_a_checkpoint_from_before_distillation_resumes(clips: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, clips, tmp_path, device=CPU)
    trainer.save()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name in ("width", "depth", "teacher", "min_scale"):
        del state["config"][name]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert trainer.resume()


def test_crops_below_the_size_of_the_network_input_are_enlarged(clips: Path) -> None:
    """An enlarged crop is smooth: neighbors differ less than in one that is not."""
    differences = [
        FramePairs(clips, length=1, crop=48, min_scale=scale, max_scale=scale)[0]["frames"]
        .float()
        .diff(dim=3)
        .abs()
        .mean()
        for scale in (1 / 3, 1.0)
    ]
    assert differences[0] < 0.7 * differences[1]


def damage(folder: Path) -> list[Path]:
    """Adds clips that cannot be read: a text, a cut file, an audio file and a folder of broken frames."""
    whole = next(folder.glob("*.mp4")).read_bytes()
    for name, content in (("text.mp4", b"hello"), ("cut.mp4", whole[: len(whole) // 3]), ("empty.mkv", b"")):
        (folder / name).write_bytes(content)
    (folder / "frames").mkdir()
    for number in range(3):
        (folder / "frames" / f"{number}.png").write_bytes(b"no image")
    return [folder / name for name in ("cut.mp4", "empty.mkv", "frames", "text.mp4")]


def test_unreadable_clips_are_named_and_replaced_by_others(clips: Path) -> None:
    unreadable = damage(clips)
    pairs = FramePairs(clips, length=30, crop=32, seed=1)
    items = [pairs[index]["frames"] for index in range(30)]
    assert pairs.unreadable_clips == unreadable
    again = FramePairs(clips, length=30, crop=32, seed=1)
    assert all(torch.equal(again[index]["frames"], items[index]) for index in (29, 3, 11))


def test_frames_of_other_sizes_and_single_frames_make_no_pair(tmp_path: Path) -> None:
    for number, size in enumerate((64, 64, 48, 64)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), scene(number, size, size)[0])
    pairs = FramePairs(tmp_path, length=4, crop=32)
    assert all(pairs[index]["frames"].shape == (1, 2, 32, 32, 3) for index in range(4))
    for number in (0, 1):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(NoReadableClipError, match=r"^None of the 1 clips in .* has two frames in a row"):
        FramePairs(tmp_path, length=4, crop=32)


def test_training_without_a_readable_clip_ends_with_one_sentence_and_a_checkpoint(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(clips)
    save = Trainer.save

    def save_and_lose_the_clips(trainer: Trainer) -> None:
        save(trainer)
        for path in clips.glob("*.mp4"):
            path.write_bytes(b"")

    monkeypatch.setattr(Trainer, "save", save_and_lose_the_clips)
    out = tmp_path / "run"
    arguments = command(clips, out, "--samples", "4000", "--checkpoint-minutes", "0")
    assert main(arguments[2:]) == 2
    *report, last = capsys.readouterr().err.splitlines()
    assert last == f"mamp: None of the 6 clips in {clips} has two frames in a row that can be read."
    assert any("cannot be read, in full or in part" in line for line in report)
    resumed = Trainer(CONFIG, write_clip(clips / "new.mp4", [scene(t)[0] for t in range(12)]).parent, out, device=CPU)
    with pytest.raises(ValueError, match="another configuration"):
        resumed.resume()
    (out / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is damaged; delete it"):
        resumed.resume()


def test_the_sentence_is_the_same_from_a_process_of_the_data_loader(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(CONFIG, clips, tmp_path / "run", device=CPU)

    def fail() -> None:
        raise NoReadableClipError("Caught NoReadableClipError in DataLoader worker process 0.\nOriginal Traceback")

    monkeypatch.setattr(trainer, "_loader", fail)
    with pytest.raises(NoReadableClipError, match=r"^None of the 2 clips in .* can be read\.$"):
        next(trainer.steps())


def command(clips: Path, out: Path, *more: str) -> list[str]:
    flags = "--batch 4 --crop 32 --workers 0 --precision float32 --device cpu --temperature 0.05"
    return ["-m", "mamp", "train", str(clips), "--out", str(out), *flags.split(" "), *more]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_terminated_run_leaves_a_checkpoint_and_weights(clips: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "run"
    arguments = command(clips, out, "--samples", "400000", "--workers", str(workers))
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        assert run.stderr is not None
        assert b"loss" in run.stderr.readline()
        time.sleep(0.2)
        os.killpg(run.pid, signal.SIGTERM)  # as schedulers do: the workers get it too
        assert run.wait(60) == 128 + signal.SIGTERM
        assert b"Traceback" not in run.stderr.read()
    assert (out / "checkpoint.pt").exists()
    load_encoder(out / "mamp.safetensors")


def test_data_loader_processes_start_while_opencv_has_threads(clips: Path, tmp_path: Path) -> None:
    arguments = command(clips, tmp_path / "run", "--samples", "8", "--workers", "1")[2:]
    start_threads = "cv2.setNumThreads(4); cv2.GaussianBlur(np.zeros((2000, 2000), np.uint8), (9, 9), 3); sleep(1)"
    train = f"from mamp.cli.main import main; raise SystemExit(main({arguments!r}))"
    code = f"import cv2; import numpy as np; from time import sleep; {start_threads}; {train}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["train", "distill"])
def test_two_processes_train_one_encoder(clips: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "two"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [*TORCHRUN, *command(clips, out, "--samples", "12")]
    arguments[arguments.index("train")] = name
    run = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert "12 samples" in run.stdout
    load_encoder(out / "mamp.safetensors")


def test_weights_can_be_exported_with_another_temperature(clips: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, clips, tmp_path, device=CPU)
    lab = torch.rand(1, 3, 32, 32)
    trained = load_encoder(trainer.export())(lab)
    sharper = load_encoder(trainer.export(temperature=0.0125))(lab)
    assert torch.allclose(sharper, 2 * trained, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_is_used_only_on_devices_that_support_it(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    dtypes = set()
    forward = Encoder.forward

    def recorded(encoder: Encoder, lab: torch.Tensor) -> torch.Tensor:
        features = forward(encoder, lab)
        dtypes.add(features.dtype)
        return features

    monkeypatch.setattr(Encoder, "forward", recorded)
    monkeypatch.setattr("mamp.cli.train.has_bfloat16", lambda device: supported)
    arguments = command(clips, tmp_path / "run", "--samples", "4", "--precision", "auto")
    assert main(arguments[2:]) == 0
    assert (torch.bfloat16 in dtypes) == supported
