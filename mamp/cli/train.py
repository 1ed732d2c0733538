"""The command ``python -m mamp train``: one process or several; a stopped run can be resumed."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from mamp import distributed
from mamp.model.checkpoint import file_sha256
from mamp.model.encoder import STRIDE, has_bfloat16
from mamp.training.trainer import TrainConfig, Trainer


def add_arguments(parser: argparse.ArgumentParser, defaults: TrainConfig | None = None) -> None:
    """Declares the options of ``python -m mamp train``; the defaults are the paper's unless given."""
    defaults = defaults or TrainConfig()
    parser.add_argument("data", type=Path, help="folder with videos, or with folders of frames")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/train"),
        help="folder of the checkpoint, from which it resumes, and the weights",
    )
    parser.add_argument("--samples", type=int, default=defaults.samples, help="total number of pairs (%(default)s)")
    parser.add_argument(
        "--batch", type=int, default=defaults.batch, help="pairs per step, over all processes (%(default)s)"
    )
    parser.add_argument("--crop", type=int, default=defaults.crop, help="side of the crops in pixels (%(default)s)")
    parser.add_argument("--radius", type=int, default=defaults.radius, help="window radius in cells (%(default)s)")
    parser.add_argument(
        "--learning-rate", type=float, default=defaults.learning_rate, help="learning rate of Adam (%(default)s)"
    )
    parser.add_argument(
        "--schedule",
        choices=("paper", "cosine"),
        default=defaults.schedule,
        help="paper: halvings; cosine: warm-up and decay to zero (%(default)s)",
    )
    parser.add_argument(
        "--width", type=int, default=defaults.width, help="channels of a small encoder (%(default)s; None for Table 1)"
    )
    parser.add_argument(
        "--depth", type=int, default=defaults.depth, help="residual blocks of a small encoder (%(default)s)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=defaults.temperature,
        help="unit-length features with this temperature (%(default)s; None for raw features, as in the paper)",
    )
    parser.add_argument(
        "--export-temperature", type=float, help="temperature of the exported weights (default: that of training)"
    )
    parser.add_argument(
        "--start", choices=("random", "patches"), default=defaults.start, help="initial weights (%(default)s)"
    )
    parser.add_argument(
        "--reconstruction-weight",
        type=float,
        default=defaults.reconstruction_weight,
        help="weight of the paper's reconstruction loss (%(default)s)",
    )
    parser.add_argument(
        "--correspondence-weight",
        type=float,
        default=defaults.correspondence_weight,
        help="weight of the optical flow's correspondence loss (%(default)s)",
    )
    parser.add_argument("--jitter", type=float, default=defaults.jitter, help="strength of color jitter (%(default)s)")
    parser.add_argument(
        "--synthetic-pair-ratio",
        type=float,
        default=defaults.synthetic_pair_ratio,
        help="share of pairs made from one frame by an affine warp (%(default)s)",
    )
    parser.add_argument(
        "--max-gap",
        type=float,
        default=defaults.max_gap,
        help="longest time between the two frames in seconds (%(default)s)",
    )
    parser.add_argument(
        "--min-scale",
        type=float,
        default=defaults.min_scale,
        help="smallest crop before resizing, as a multiple of --crop (%(default)s)",
    )
    parser.add_argument(
        "--max-scale",
        type=float,
        default=defaults.max_scale,
        help="largest crop before resizing, likewise (%(default)s)",
    )
    parser.add_argument(
        "--pairs-per-window",
        type=int,
        default=defaults.pairs_per_window,
        help="pairs from one decoded window (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="random seed (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="data loader processes (%(default)s)")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="precision of the encoder; auto: bfloat16 on devices with native support (%(default)s)",
    )
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, help="minutes between two checkpoints (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Trains with the parsed options; returns the exit code."""
    names = TrainConfig.__dataclass_fields__
    config = TrainConfig(**{name: value for name, value in vars(args).items() if name in names})
    if config.crop % STRIDE:
        raise ValueError(f"--crop must be a multiple of {STRIDE}, not {config.crop}")
    device = distributed.join(args.device)
    autocast = has_bfloat16(device) if args.precision == "auto" else args.precision == "bfloat16"
    trainer = Trainer(config, args.data, args.out, device=device, workers=args.workers, autocast=autocast)
    if trainer.resume():
        print(f"resuming after {trainer.progress.samples:,} samples", file=sys.stderr)
    stop = _StopSignal()
    try:
        _train(trainer, stop, checkpoint_seconds=60 * args.checkpoint_minutes)
    except Exception:
        with suppress(OSError, ValueError):  # what is done is kept
            trainer.save()
        raise
    trainer.save()
    if trainer.rank == 0:
        path = trainer.export(temperature=args.export_temperature)
        print(
            f"{trainer.progress.samples:,} samples in {_clock(trainer.progress.seconds)}: {path} {file_sha256(path)[:12]}"
        )
    distributed.leave()
    return 128 + stop.number if stop.number else 0


def _train(trainer: Trainer, stop: _StopSignal, *, checkpoint_seconds: float) -> None:
    """Trains up to the end or a signal; reports the progress and the clips that cannot be read."""
    config, unreadable = trainer.config, set[Path]()
    smooth: float | None = None
    began = saved = time.monotonic()
    first = trainer.progress.samples
    for progress, loss in trainer.steps():
        step = progress.samples // config.batch
        for clip in set(trainer.pairs.unreadable_clips) - unreadable:
            print(f"{clip} cannot be read, in full or in part; the run goes on without it", file=sys.stderr)
            unreadable.add(clip)
        if step % 20 == 0 or smooth is None:
            smooth = loss.item() if smooth is None else 0.8 * smooth + 0.2 * loss.item()
            rate = (progress.samples - first) / (time.monotonic() - began)
            left = (config.samples - progress.samples) / rate
            _report(
                trainer.rank,
                f"{progress.samples:,}/{config.samples:,}  loss {smooth:.4f}  {rate:.1f} samples/s  {_clock(left)} left",
            )
        if stop.received_anywhere(trainer.device):
            break
        if time.monotonic() - saved > checkpoint_seconds:
            trainer.save()
            saved = time.monotonic()


class _StopSignal:
    """Records SIGINT and SIGTERM, so that a run ends after its current step and writes a checkpoint."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._record)

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self.number = number

    def received_anywhere(self, device: torch.device) -> bool:
        """Whether any process received a signal: all must leave the loop at the same step."""
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
