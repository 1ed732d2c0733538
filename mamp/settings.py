"""The settings of the method, from the words of a command line or a page to what the tracker takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from mamp.flow.optical_flow import RAFT_WEIGHTS, FlowEstimator, FlowFunction, dis_flow, raft_flow
from mamp.model.checkpoint import load_encoder
from mamp.model.encoder import EncoderFunction
from mamp.propagation.memory_bank import SHORT_TERM
from mamp.tracker import MaskTracker

FLOWS = ("dis", "raft", "none")


@dataclass(frozen=True)
class Settings:
    """How a clip is processed. The defaults won (docs/ABLATIONS.md); ``short_side`` is what decides the time it takes."""

    short_side: int = 480  # [pixels]; 0 for the clip's own; never enlarged
    flow: str = "dis"  # one of FLOWS
    motion: str = "chained"  # one of MOTIONS
    upsampling: str = "guided"  # one of UPSAMPLINGS
    discriminant_weight: float = 0.2  # a share of likeness; 0 for none
    logit_adjustment: float = 0.1  # an exponent; 0 for none
    device: str = "auto"
    top_k: int | None = 9
    radius: int = 12  # [cells]
    long_term: tuple[int, ...] = (0, 5, 10, 20)
    short_term: tuple[int, ...] = SHORT_TERM
    weights: str | None = None  # None for the shipped ones, "patch" for none at all
    raft_weights: str = RAFT_WEIGHTS

    def encoder(self) -> EncoderFunction:
        """Loads the encoder onto the device."""
        return load_encoder(self.weights, device=_resolved(self.device))

    def flow_function(self) -> FlowEstimator | None:
        """The optical flow, or ``None`` for matching without motion.

        Raises:
            ValueError: There is no such flow.
        """
        if self.flow not in FLOWS:
            raise ValueError(f"flow must be one of {', '.join(FLOWS)}, not {self.flow}")
        if self.flow == "none":
            return None
        if self.flow == "dis":
            return dis_flow
        return raft_flow(self.raft_weights, device=_resolved(self.device))

    def tracker(self, encoder: EncoderFunction, flow: FlowFunction | None) -> MaskTracker:
        """A tracker at its first frame."""
        return MaskTracker(encoder, flow=flow, **self.tracker_kwargs())

    def tracker_kwargs(self) -> dict[str, Any]:
        """Those of the settings that are keywords of ``MaskTracker``."""
        return {name: getattr(self, name) for name in _OF_TRACKER}

    def with_short_warmup(self) -> tuple[Settings, int]:
        """Settings that cost as much a frame, to measure by: as many references, and the frame at which all are there."""
        first = tuple(range(len(self.long_term)))
        return replace(self, long_term=first), len(first) + max(self.short_term, default=0)

    def processing_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (H, W) at which frames of a size (H, W) are matched."""
        scale = min(1.0, self.short_side / min(size)) if self.short_side else 1.0
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


_OF_TRACKER = (
    "radius",
    "top_k",
    "long_term",
    "short_term",
    "motion",
    "upsampling",
    "discriminant_weight",
    "logit_adjustment",
)


def default_device() -> str:
    """CUDA where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _resolved(device: str) -> str:
    return default_device() if device == "auto" else device
