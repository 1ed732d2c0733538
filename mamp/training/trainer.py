"""Self-supervised training of the encoder (Sec. 3.1), on a CPU or on one or several GPUs.

It trains on any folder of videos or frame folders and resumes from its own checkpoint.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset

from mamp import distributed
from mamp.files import atomic_path
from mamp.model.checkpoint import TABLE_1_WEIGHTS, load_encoder, save_encoder
from mamp.model.color import A_CHANNEL, B_CHANNEL, drop_ab_channel, rgb_to_lab
from mamp.model.encoder import DEPTH, Encoder, ResidualBlock, to_channels_last
from mamp.training.frame_pairs import FramePairs, NoReadableClipError
from mamp.training.losses import correspondence_loss, distillation_loss, reconstruction_loss

PAPER_HALVINGS = (400_000, 600_000, 800_000, 1_000_000)  # samples after which Sec. 4 halves the learning rate
COLOR_GAIN = 3.5  # a and b span a third of the range of L; the initial weights compensate for that
WARM_UP = 100  # steps


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of a run, by default the paper's (Sec. 4); a resumed run must have the same ones."""

    batch: int = 24  # pairs per step, over all processes
    crop: int = 256  # [pixels]
    radius: int = 6  # of the window [cells]
    samples: int = 1_100_000  # pairs
    learning_rate: float = 1e-3
    schedule: str = "paper"  # or "cosine"
    width: int | None = None  # see Encoder, also for the next two
    depth: int = DEPTH
    temperature: float | None = None
    start: str = "random"  # or "patches", see start_as_patches
    reconstruction_weight: float = 1.0
    correspondence_weight: float = 0.0
    teacher: str | None = None  # weights whose features are the target of distillation; None for no such loss
    jitter: float = 0.0  # see jitter
    synthetic_pair_ratio: float = 0.0  # [0, 1]; see FramePairs, also for the next four
    max_gap: float = 0.4  # [s]
    min_scale: float = 1.0
    max_scale: float = 2.0
    pairs_per_window: int = 1
    seed: int = 0

    @classmethod
    def distillation(cls) -> TrainConfig:
        """Hyperparameters of a small encoder that learns the features of Table 1."""
        return cls(
            batch=6,
            crop=128,
            radius=12,  # that of the tracker
            samples=6_600,
            learning_rate=2e-3,
            schedule="cosine",
            width=64,
            temperature=0.03,
            start="patches",
            reconstruction_weight=0.0,
            teacher=TABLE_1_WEIGHTS,
            min_scale=0.6,
            max_scale=1.6,
        )


@dataclass
class Progress:
    """Progress of a run: pairs seen, and training time [s]."""

    samples: int = 0
    seconds: float = 0.0


def learning_rate(config: TrainConfig, samples: int) -> float:
    """Learning rate after some samples: the paper's halvings, or a warm-up and a cosine decay to zero."""
    if config.schedule == "paper":
        return config.learning_rate * 0.5 ** sum(samples >= mark for mark in PAPER_HALVINGS)
    warm = min(1.0, (samples / config.batch + 1) / WARM_UP)
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, samples / config.samples)))


def jitter(lab: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Random gain and offset of every channel of every frame (..., 3, H, W), like a change of illumination."""
    if not strength:
        return lab
    shape = (*lab.shape[:-2], 1, 1)
    gain, offset = (torch.randn(shape, generator=rng).to(lab.device) for _ in range(2))
    # a and b span less than L, so the same offset would be a larger change.
    span = lab.new_tensor((1.0, 0.5, 0.5)).view(3, 1, 1)
    return lab * (1 + strength * gain) + 0.5 * strength * span * offset


@torch.no_grad()
def start_as_patches(encoder: Encoder, pairs: Tensor) -> None:
    """Adapts random weights so that the untrained encoder already discriminates patches.

    Every residual block starts as its shortcut, a and b count as much as L, and the features are centered. The result is a
    random projection of the colors around each cell, which preserves distances.

    Args:
        encoder: A randomly initialized encoder, changed in place.
        pairs: Frames (B, 2, H, W, 3) uint8, for the mean of the features.
    """
    for module in encoder.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.residual.get_parameter("4.weight"))
    encoder.conv1.get_parameter("0.weight")[:, 1:] *= COLOR_GAIN
    temperature, encoder.temperature = encoder.temperature, None
    features = encoder(rgb_to_lab(pairs).flatten(0, 1))
    assert encoder.post_convolution.bias is not None
    encoder.post_convolution.bias -= features.mean(dim=(0, 2, 3))
    encoder.temperature = temperature


@torch.no_grad()
def recalibrate_batch_norm(encoder: Encoder, batches: list[Tensor]) -> None:
    """Recomputes batch-norm statistics on complete Lab frames: in training one color channel is always zero.

    Args:
        encoder: Changed in place; in evaluation mode afterwards.
        batches: RGB pairs (B, 2, H, W, 3) uint8 each.
    """
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    encoder.train()
    for pairs in batches:
        encoder(rgb_to_lab(pairs).flatten(0, 1))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()


class Trainer:
    """One training run: its encoder, optimizer and progress.

    Args:
        config: Hyperparameters.
        data: Folder of clips.
        out: Folder of ``checkpoint.pt`` and ``mamp.safetensors``.
        device: Device of the encoder.
        workers: Number of data loader processes.
        autocast: Whether the encoder runs in bfloat16.

    Raises:
        FileNotFoundError: There is no clip under ``data``.
        NoReadableClipError: None of them can be read.
        ValueError: The batch size is no multiple of the processes times the pairs per window.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Path,
        out: Path,
        *,
        device: torch.device,
        workers: int = 0,
        autocast: bool = False,
    ) -> None:
        self.rank, self.world = distributed.rank_and_world()
        if config.batch % (self.world * config.pairs_per_window):
            raise ValueError(
                f"the batch must be a multiple of {self.world * config.pairs_per_window}, not {config.batch}"
            )
        self.config, self.out, self.device = config, out, device
        self.workers, self.autocast = workers, autocast
        self.pairs = FramePairs(
            data,
            length=config.samples // config.pairs_per_window,
            crop=config.crop,
            pairs=config.pairs_per_window,
            max_gap=config.max_gap,
            min_scale=config.min_scale,
            max_scale=config.max_scale,
            with_flow=config.correspondence_weight > 0,
            synthetic_pair_ratio=config.synthetic_pair_ratio,
            seed=config.seed,
        )
        torch.manual_seed(config.seed)
        self.encoder = self._new_encoder()
        if config.start == "patches":
            start_as_patches(self.encoder, self._calibration_pairs(1)[0])
        to_channels_last(self.encoder.to(device))
        self.model: nn.Module = self.encoder
        if self.world > 1:
            self.model = DistributedDataParallel(self.encoder, broadcast_buffers=False)
        self.optimizer = torch.optim.Adam(self.encoder.parameters(), lr=config.learning_rate)
        self.progress = Progress()
        self.teacher = None if config.teacher is None else load_encoder(config.teacher, device=device)

    def steps(self) -> Iterator[tuple[Progress, Tensor]]:
        """Trains from the current progress on; yields the progress and the loss of each step.

        Raises:
            NoReadableClipError: No clip can be read any more.
        """
        config = self.config
        self.model.train()
        for item in self._items():
            began = time.monotonic()
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(config, self.progress.samples)
            loss = self._loss(
                {name: part.flatten(0, 1).to(self.device, non_blocking=True) for name, part in item.items()}
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.progress.samples += config.batch
            self.progress.seconds += time.monotonic() - began
            yield self.progress, loss.detach()

    def _loss(self, item: dict[str, Tensor]) -> Tensor:
        """Loss of one batch: ``frames`` (B, 2, H, W, 3) uint8 and, for correspondence, ``flow`` (B, 2, 2, H, W)."""
        config = self.config
        # Seeded by the step alone: every process, and a resumed run, drops the same channel.
        rng = torch.Generator().manual_seed(config.seed + self.progress.samples // config.batch)
        lab = rgb_to_lab(item["frames"])  # (B, 2, 3, H, W)
        inputs = jitter(lab, config.jitter, rng)
        if config.reconstruction_weight:
            channel = (A_CHANNEL, B_CHANNEL)[int(torch.randint(2, (), generator=rng))]
            inputs, _ = drop_ab_channel(inputs, channel)
            _, target = drop_ab_channel(lab, channel)
        frames = inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            features = self.model(frames)
            with torch.no_grad():
                taught = None if self.teacher is None else self.teacher(frames)
        features = features.float().unflatten(0, inputs.shape[:2])  # (B, 2, C, h, w)
        loss: Tensor = features.new_zeros(())
        if config.reconstruction_weight:
            loss = loss + config.reconstruction_weight * reconstruction_loss(features, target, radius=config.radius)
        if config.correspondence_weight:
            loss = loss + config.correspondence_weight * correspondence_loss(features, item["flow"])
        if taught is not None:
            target = taught.float().view_as(features)
            loss = loss + distillation_loss(features, target, radius=config.radius, rng=rng)
        return loss

    def _new_encoder(self) -> Encoder:
        return Encoder(self.config.temperature, width=self.config.width, depth=self.config.depth)

    def save(self) -> None:
        """Writes the checkpoint atomically."""
        if self.rank:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        state = {
            "config": asdict(self.config),
            "progress": asdict(self.progress),
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(self.out / "checkpoint.pt") as partial:
            torch.save(state, partial)

    def resume(self) -> bool:
        """Resumes from the checkpoint in the output folder; returns whether there is one.

        Raises:
            ValueError: The checkpoint is damaged, or its hyperparameters differ.
        """
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return False
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{path} is damaged; delete it to train from the start.") from error
        # A checkpoint written before a hyperparameter existed has its default.
        if asdict(TrainConfig()) | state.get("config", {}) != asdict(self.config):
            raise ValueError(f"{path} is from a run with another configuration: {state.get('config')}")
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        return True

    def export(self, *, temperature: float | None = None) -> Path:
        """Writes the encoder for inference, in half precision and with recalibrated batch norm; the run is unchanged.

        Args:
            temperature: Temperature for inference; that of training by default.

        Returns:
            The weights file.
        """
        encoder = self._new_encoder().to(self.device)
        encoder.load_state_dict(self.encoder.state_dict())
        recalibrate_batch_norm(encoder, [pairs.to(self.device) for pairs in self._calibration_pairs(4)])
        encoder.temperature = temperature or encoder.temperature
        path = self.out / "mamp.safetensors"
        notes = {"samples": str(self.progress.samples), "config": str(asdict(self.config))}
        save_encoder(encoder, path, notes)
        return path

    def _calibration_pairs(self, batches: int) -> list[Tensor]:
        """Batches (B, 2, H, W, 3) from beyond the items of training."""
        windows = max(1, 16 // self.config.pairs_per_window)
        return [
            torch.cat([self.pairs[len(self.pairs) + batch * windows + index]["frames"] for index in range(windows)])
            for batch in range(batches)
        ]

    def _items(self) -> Iterator[dict[str, Tensor]]:
        try:
            yield from self._loader()
        except NoReadableClipError as error:  # from a process of the loader it comes with a traceback as its message
            raise NoReadableClipError(self.pairs.none_left) from error

    def _loader(self) -> DataLoader[dict[str, Tensor]]:
        """Loader of this process's shard of the remaining items."""
        if self.workers:
            # Threads of several workers would compete for the cores; and a worker that inherits them waits for ever when
            # it ends them, since they are not in its process.
            cv2.setNumThreads(1)
        windows = self.config.batch // self.config.pairs_per_window
        first = self.progress.samples // self.config.batch * windows
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
            worker_init_fn=_start_worker,
        )


def _start_worker(_worker: int) -> None:
    # Schedulers signal all processes of a run; the main process ends its workers after the checkpoint.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
