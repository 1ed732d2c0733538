"""The command ``python -m mamp train``: one process or many, stopped and resumed as one likes."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from mamp import distributed
from mamp.model.checkpoint import file_sha256
from mamp.model.encoder import STRIDE, has_bfloat16
from mamp.training.trainer import TrainConfig, Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp train``."""
    paper = TrainConfig()
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
    parser.add_argument("--export-temperature", type=float, help="of the weights in use, when not that of training")
    parser.add_argument(
        "--start", choices=("random", "patches"), default=paper.start, help="the first weights (%(default)s)"
    )
    parser.add_argument(
        "--reconstruction-weight",
        type=float,
        default=paper.reconstruction_weight,
        help="of the paper's loss (%(default)s)",
    )
    parser.add_argument(
        "--correspondence-weight",
        type=float,
        default=paper.correspondence_weight,
        help="of the flow's cells (%(default)s)",
    )
    parser.add_argument(
        "--jitter", type=float, default=paper.jitter, help="of the light between the frames (%(default)s)"
    )
    parser.add_argument(
        "--warped", type=float, default=paper.warped, help="share of pairs of a frame and itself warped (%(default)s)"
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
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the encoder; auto: bfloat16 where the device is made for it (%(default)s)",
    )
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, help="between two checkpoints (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Trains, as the command line says; returns the exit code."""
    names = TrainConfig.__dataclass_fields__
    recipe = TrainConfig(**{name: value for name, value in vars(args).items() if name in names})
    if recipe.crop % STRIDE:
        raise ValueError(f"--crop must be a multiple of {STRIDE}, not {recipe.crop}")
    device = distributed.join(args.device)
    autocast = has_bfloat16(device) if args.precision == "auto" else args.precision == "bfloat16"
    trainer = Trainer(recipe, args.data, args.out, device=device, workers=args.workers, autocast=autocast)
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
        path = trainer.export(temperature=args.export_temperature)
        print(
            f"{trainer.progress.samples:,} samples in {_clock(trainer.progress.seconds)}: {path} {file_sha256(path)[:12]}"
        )
    distributed.leave()
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


def _report(rank: int, line: str) -> None:
    if rank == 0:
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
