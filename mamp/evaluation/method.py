"""A method under evaluation: a tracker with its settings, or a folder of masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mamp.flow.optical_flow import FlowFunction, load_flow
from mamp.model.checkpoint import load_encoder
from mamp.model.encoder import EncoderFunction
from mamp.settings import Settings
from mamp.tracker import MaskTracker


@dataclass(frozen=True)
class Method:
    """A tracker with ``settings``, or masks of any origin in ``folder`` without settings."""

    name: str
    settings: Settings | None
    folder: Path | None = None  # where its masks are stored
    tracker: type[MaskTracker] = MaskTracker


@cache
def encoder_of(settings: Settings) -> EncoderFunction:
    """The encoder of the settings, loaded once."""
    return load_encoder(settings.weights, device=settings.device)


@cache
def flow_of(settings: Settings) -> FlowFunction | None:
    """The flow function of the settings, loaded once."""
    return load_flow(settings)
