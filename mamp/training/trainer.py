"""Training without labels (Sec. 3.1): rebuild the colour of one frame from that of another.

Trains on any folder of videos or frame folders and resumes from its own checkpoint, on a CPU, a GPU, or one of many.
"""

from __future__ import annotations

import math
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
from mamp.model.checkpoint import save_encoder
from mamp.model.color import A, B, drop_ab_channel, rgb_to_lab
from mamp.model.encoder import Encoder, ResidualBlock, to_channels_last
from mamp.training.frame_pairs import FramePairs
from mamp.training.losses import correspondence_loss, reconstruction_loss

PAPER_HALVINGS = (400_000, 600_000, 800_000, 1_000_000)  # samples after which Sec. 4 halves the learning rate
COLOUR_GAIN = 3.5  # colours span a third of the range of the lightness; at the start they shall count as much
WARM_UP = 100  # steps


@dataclass(frozen=True)
class TrainConfig:
    """What decides the result of a run; a resumed run must have the same. The defaults are the paper's (Sec. 4)."""

    batch: int = 24  # pairs a step, over all processes
    crop: int = 256  # [pixels]
    radius: int = 6  # [cells]
    samples: int = 1_100_000  # pairs
    learning_rate: float = 1e-3
    schedule: str = "paper"
    temperature: float | None = None
    start: str = "random"
    reconstruction_weight: float = 1.0
    correspondence_weight: float = 0.0
    jitter: float = 0.0
    warped: float = 0.0  # share of pairs
    max_gap: float = 0.4  # [s]
    max_scale: float = 2.0
    pairs_per_window: int = 1
    seed: int = 0


@dataclass
class Progress:
    """Where a run stands."""

    samples: int = 0
    seconds: float = 0.0


def learning_rate(recipe: TrainConfig, samples: int) -> float:
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
def recalibrate_batch_norm(encoder: Encoder, batches: list[Tensor]) -> None:
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
        self,
        recipe: TrainConfig,
        data: Path,
        out: Path,
        *,
        device: torch.device,
        workers: int = 0,
        autocast: bool = False,
    ) -> None:
        self.rank, self.world = distributed.rank_and_world()
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
            motion=recipe.correspondence_weight > 0,
            warped=recipe.warped,
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
        if recipe.reconstruction_weight:
            channel = (A, B)[int(torch.randint(2, (), generator=rng))]
            seen, _ = drop_ab_channel(seen, channel)
            _, target = drop_ab_channel(lab, channel)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            features = self.model(seen.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        features = features.float().unflatten(0, seen.shape[:2])  # (B, 2, C, h, w)
        loss: Tensor = features.new_zeros(())
        if recipe.reconstruction_weight:
            loss = loss + recipe.reconstruction_weight * reconstruction_loss(features, target, radius=recipe.radius)
        if recipe.correspondence_weight:
            loss = loss + recipe.correspondence_weight * correspondence_loss(features, item["flow"])
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
        with atomic_path(self.out / "checkpoint.pt") as partial:
            torch.save(state, partial)

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

    def export(self, *, temperature: float | None = None) -> Path:
        """Writes the encoder as it is used: statistics on whole colours, half precision.

        The training state is not touched.

        Args:
            temperature: Of the features in use; that of training if not given.
        """
        encoder = Encoder(self.recipe.temperature).to(self.device)
        encoder.load_state_dict(self.encoder.state_dict())
        recalibrate_batch_norm(encoder, [pairs.to(self.device) for pairs in self._some_pairs(4)])
        encoder.temperature = temperature or encoder.temperature
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
            worker_init_fn=_work_alone,
        )


def _work_alone(_worker: int) -> None:
    """A worker beside others: threads of its own would stand in each other's way."""
    cv2.setNumThreads(1)
