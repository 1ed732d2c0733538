"""Training without labels (Sec. 3.1): rebuild the colour of one frame from that of another.

One command trains on any folder of videos or frame folders, resumes from its own checkpoint, and runs on a CPU, a GPU, or
many of them through torchrun.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset

from mamp.datasets import FramePairs
from mamp.encoder import STRIDE, Encoder, ResidualBlock, file_sha256, save_encoder, to_channels_last
from mamp.lab import A, B, drop_ab_channel, rgb_to_lab
from mamp.losses import colour_loss, motion_loss

PAPER_HALVINGS = (400_000, 600_000, 800_000, 1_000_000)  # samples after which Sec. 4 halves the learning rate
COLOUR_GAIN = 3.5  # colours span a third of the range of the lightness; at the start they shall count as much
WARM_UP = 100  # steps


@dataclass(frozen=True)
class Recipe:
    """What decides the result of a run; a resumed run must have the same. The defaults are the paper's (Sec. 4)."""

    batch: int = 24  # pairs a step, over all processes
    crop: int = 256  # [pixels]
    radius: int = 6  # [cells]
    samples: int = 1_100_000  # pairs
    learning_rate: float = 1e-3
    schedule: str = "paper"
    temperature: float | None = None
    start: str = "random"
    colour_weight: float = 1.0
    motion_weight: float = 0.0
    jitter: float = 0.0
    max_gap: float = 0.4  # [s]
    max_scale: float = 2.0
    pairs_per_window: int = 1
    seed: int = 0


@dataclass
class Progress:
    """Where a run stands."""

    samples: int = 0
    seconds: float = 0.0


def learning_rate(recipe: Recipe, samples: int) -> float:
    """The learning rate after so many samples: the paper's halvings, or a warm-up and a cosine down to zero."""
    if recipe.schedule == "paper":
        return recipe.learning_rate * 0.5 ** sum(samples >= mark for mark in PAPER_HALVINGS)
    warm = min(1.0, (samples / recipe.batch + 1) / WARM_UP)
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, samples / recipe.samples)))


def jitter(lab: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Changes gain and offset of every channel of every frame (..., 3, H, W) at random, as light does over time."""
    if not strength:
        return lab
    shape = (*lab.shape[:-2], 1, 1)
    gain, offset = (torch.randn(shape, generator=rng).to(lab.device) for _ in range(2))
    # Colours span less than the lightness, so the same offset would be a larger change.
    span = lab.new_tensor((1.0, 0.5, 0.5)).view(3, 1, 1)
    return lab * (1 + strength * gain) + 0.5 * strength * span * offset


@torch.no_grad()
def start_as_patches(encoder: Encoder, pairs: Tensor) -> None:
    """Changes random weights so that, untrained, they already tell patches apart.

    Every residual block starts as its shortcut, colours count as much as lightness, and the features are centred: what
    is left is a random projection of the colours around each cell, which keeps their distances.

    Args:
        encoder: Randomly initialised.
        pairs: Some frames (B, 2, H, W, 3) uint8, to centre on.
    """
    for module in encoder.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.left.get_parameter("4.weight"))
    encoder.conv1.get_parameter("0.weight")[:, 1:] *= COLOUR_GAIN
    temperature, encoder.temperature = encoder.temperature, None
    features = encoder(rgb_to_lab(pairs).flatten(0, 1))
    assert encoder.post_convolution.bias is not None
    encoder.post_convolution.bias -= features.mean(dim=(0, 2, 3))
    encoder.temperature = temperature


@torch.no_grad()
def settle_batch_norm(encoder: Encoder, batches: list[Tensor]) -> None:
    """Measures batch-norm statistics anew on whole colours: in training one colour was always missing.

    Args:
        encoder: Left in evaluation mode.
        batches: RGB pairs (B, 2, H, W, 3) uint8 each.
    """
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    encoder.train()
    for pairs in batches:
        encoder(rgb_to_lab(pairs).flatten(0, 1))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()


class Trainer:
    """One run: its model, its optimiser and where it stands.

    Args:
        recipe: What decides the result.
        data: Folder of clips.
        out: Folder for ``checkpoint.pt`` and ``mamp.safetensors``.
        device: Where it runs.
        workers: Processes that decode ahead.
        autocast: Whether the encoder runs in bfloat16.
    """

    def __init__(
        self, recipe: Recipe, data: Path, out: Path, *, device: torch.device, workers: int = 0, autocast: bool = False
    ) -> None:
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if recipe.batch % (self.world * recipe.pairs_per_window):
            raise ValueError(
                f"the batch must be a multiple of {self.world * recipe.pairs_per_window}, not {recipe.batch}"
            )
        self.recipe, self.out, self.device = recipe, out, device
        self.workers, self.autocast = workers, autocast
        self.pairs = FramePairs(
            data,
            length=recipe.samples // recipe.pairs_per_window,
            crop=recipe.crop,
            pairs=recipe.pairs_per_window,
            max_gap=recipe.max_gap,
            max_scale=recipe.max_scale,
            motion=recipe.motion_weight > 0,
            seed=recipe.seed,
        )
        torch.manual_seed(recipe.seed)
        self.encoder = Encoder(recipe.temperature)
        if recipe.start == "patches":
            start_as_patches(self.encoder, self._some_pairs(1)[0])
        to_channels_last(self.encoder.to(device))
        self.model: nn.Module = self.encoder
        if self.world > 1:
            self.model = DistributedDataParallel(self.encoder, broadcast_buffers=False)
        self.optimiser = torch.optim.Adam(self.encoder.parameters(), lr=recipe.learning_rate)
        self.progress = Progress()

    def steps(self) -> Iterator[tuple[Progress, Tensor]]:
        """Trains on from where it stands; yields the progress and the loss of each step."""
        recipe = self.recipe
        self.model.train()
        for item in self._loader():
            began = time.monotonic()
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(recipe, self.progress.samples)
            loss = self._loss(
                {name: part.flatten(0, 1).to(self.device, non_blocking=True) for name, part in item.items()}
            )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.progress.samples += recipe.batch
            self.progress.seconds += time.monotonic() - began
            yield self.progress, loss.detach()

    def _loss(self, item: dict[str, Tensor]) -> Tensor:
        """The loss of one batch: ``frames`` (B, 2, H, W, 3) uint8, and ``flow`` (B, 2, 2, H, W) if motion counts."""
        recipe = self.recipe
        # Drawn from the step alone: every process drops the same colour, and so does a resumed run.
        rng = torch.Generator().manual_seed(recipe.seed + self.progress.samples // recipe.batch)
        lab = rgb_to_lab(item["frames"])  # (B, 2, 3, H, W)
        seen = jitter(lab, recipe.jitter, rng)
        if recipe.colour_weight:
            channel = (A, B)[int(torch.randint(2, (), generator=rng))]
            seen, _ = drop_ab_channel(seen, channel)
            _, target = drop_ab_channel(lab, channel)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            features = self.model(seen.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        features = features.float().unflatten(0, seen.shape[:2])  # (B, 2, C, h, w)
        loss: Tensor = features.new_zeros(())
        if recipe.colour_weight:
            loss = loss + recipe.colour_weight * colour_loss(features, target, radius=recipe.radius)
        if recipe.motion_weight:
            loss = loss + recipe.motion_weight * motion_loss(features, item["flow"])
        return loss

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        if self.rank:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        state = {
            "recipe": asdict(self.recipe),
            "progress": asdict(self.progress),
            "encoder": self.encoder.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        partial = self.out / "checkpoint.pt.partial"
        torch.save(state, partial)
        partial.replace(self.out / "checkpoint.pt")

    def resume(self) -> bool:
        """Goes on from the checkpoint in the folder, if there is one.

        Raises:
            ValueError: It is of a run with another recipe.
        """
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return False
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} is of a run with another recipe: {state['recipe']}")
        self.encoder.load_state_dict(state["encoder"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        return True

    def export(self) -> Path:
        """Writes the encoder as it is used: statistics on whole colours, half precision.

        The training state is not touched.
        """
        encoder = Encoder(self.recipe.temperature).to(self.device)
        encoder.load_state_dict(self.encoder.state_dict())
        settle_batch_norm(encoder, [pairs.to(self.device) for pairs in self._some_pairs(4)])
        path = self.out / "mamp.safetensors"
        notes = {"samples": str(self.progress.samples), "recipe": str(asdict(self.recipe))}
        save_encoder(encoder, path, notes)
        return path

    def _some_pairs(self, batches: int) -> list[Tensor]:
        """A few batches (B, 2, H, W, 3) from the end of the sequence of items."""
        windows = max(1, 16 // self.recipe.pairs_per_window)
        return [
            torch.cat([self.pairs[len(self.pairs) + batch * windows + index]["frames"] for index in range(windows)])
            for batch in range(batches)
        ]

    def _loader(self) -> DataLoader[dict[str, Tensor]]:
        """This process's share of the items that are left."""
        windows = self.recipe.batch // self.recipe.pairs_per_window
        first = self.progress.samples // self.recipe.batch * windows
        own = [
            index for index in range(first, len(self.pairs)) if index % windows // (windows // self.world) == self.rank
        ]
        items: Dataset[dict[str, Tensor]] = Subset(self.pairs, own)
        return DataLoader(
            items,
            batch_size=windows // self.world,
            num_workers=self.workers,
            drop_last=True,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4 if self.workers else None,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp train``."""
    paper = Recipe()
    parser.add_argument("data", type=Path, help="folder with videos, or with folders of frames")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/train"), help="checkpoint and weights go here; resumes from it"
    )
    parser.add_argument("--samples", type=int, default=paper.samples, help="pairs of frames in all (%(default)s)")
    parser.add_argument("--batch", type=int, default=paper.batch, help="pairs a step over all processes (%(default)s)")
    parser.add_argument("--crop", type=int, default=paper.crop, help="side of the frames in pixels (%(default)s)")
    parser.add_argument("--radius", type=int, default=paper.radius, help="of the window in cells (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=paper.learning_rate, help="of Adam (%(default)s)")
    parser.add_argument(
        "--schedule", choices=("paper", "cosine"), default=paper.schedule, help="halvings, or cosine to zero"
    )
    parser.add_argument(
        "--temperature", type=float, help="unit-length features with this temperature (none: the paper)"
    )
    parser.add_argument(
        "--start", choices=("random", "patches"), default=paper.start, help="the first weights (%(default)s)"
    )
    parser.add_argument(
        "--colour-weight", type=float, default=paper.colour_weight, help="of the paper's loss (%(default)s)"
    )
    parser.add_argument(
        "--motion-weight", type=float, default=paper.motion_weight, help="of the flow's cells (%(default)s)"
    )
    parser.add_argument(
        "--jitter", type=float, default=paper.jitter, help="of the light between the frames (%(default)s)"
    )
    parser.add_argument(
        "--max-gap", type=float, default=paper.max_gap, help="seconds between the two frames (%(default)s)"
    )
    parser.add_argument(
        "--max-scale", type=float, default=paper.max_scale, help="how much larger than the crop (%(default)s)"
    )
    parser.add_argument(
        "--pairs-per-window", type=int, default=paper.pairs_per_window, help="pairs cut from one decoded window"
    )
    parser.add_argument("--seed", type=int, default=paper.seed, help="of everything random (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode ahead (%(default)s)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="bfloat16", help="of the encoder (%(default)s)"
    )
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, help="between two checkpoints (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Trains, as the command line says; returns the exit code."""
    names = Recipe.__dataclass_fields__
    recipe = Recipe(**{name: value for name, value in vars(args).items() if name in names})
    if recipe.crop % STRIDE:
        raise ValueError(f"--crop must be a multiple of {STRIDE}, not {recipe.crop}")
    device = _join(args.device)
    trainer = Trainer(
        recipe, args.data, args.out, device=device, workers=args.workers, autocast=args.precision == "bfloat16"
    )
    if trainer.resume():
        print(f"resuming after {trainer.progress.samples:,} samples", file=sys.stderr)
    stop = _StopSignal()
    saved = time.monotonic()
    smooth: float | None = None
    began, first = time.monotonic(), trainer.progress.samples
    for progress, loss in trainer.steps():
        step = progress.samples // recipe.batch
        if step % 20 == 0 or smooth is None:
            smooth = loss.item() if smooth is None else 0.8 * smooth + 0.2 * loss.item()
            rate = (progress.samples - first) / (time.monotonic() - began)
            left = (recipe.samples - progress.samples) / rate
            _report(
                trainer.rank,
                f"{progress.samples:,}/{recipe.samples:,}  loss {smooth:.4f}  {rate:.1f} samples/s  {_clock(left)} left",
            )
        if stop.asked_anywhere(device):
            break
        if time.monotonic() - saved > args.checkpoint_minutes * 60:
            trainer.save()
            saved = time.monotonic()
    trainer.save()
    if trainer.rank == 0:
        path = trainer.export()
        print(
            f"{trainer.progress.samples:,} samples in {_clock(trainer.progress.seconds)}: {path} {file_sha256(path)[:12]}"
        )
    if dist.is_initialized():
        dist.destroy_process_group()
    return 128 + stop.number if stop.number else 0


class _StopSignal:
    """Notes SIGINT and SIGTERM, so that a run ends after its step with a checkpoint."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number

    def asked_anywhere(self, device: torch.device) -> bool:
        """Whether any process was told to stop: they must leave the loop at the same step."""
        if not dist.is_initialized():
            return bool(self.number)
        flag = torch.tensor(self.number, device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())


def _join(name: str) -> torch.device:
    """Joins the processes that torchrun started, if it did, and picks this one's device."""
    cuda = name.startswith("cuda") or (name == "auto" and torch.cuda.is_available())
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if cuda else "gloo")
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda" if name == "auto" and cuda else "cpu" if name == "auto" else name)


def _report(rank: int, line: str) -> None:
    if rank == 0:
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
