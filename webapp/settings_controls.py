"""The settings that a visitor may choose, and those that are allowed from outside."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from mamp import Settings
from mamp.model.patch_encoder import PATCH
from mamp.propagation.memory_bank import LONG_TERM, SHORT_TERM

WEIGHTS = os.environ.get("MAMP_WEIGHTS") or None
RAFT = os.environ.get("MAMP_RAFT_WEIGHTS") or Settings().raft_weights

QUICK_LOOK = "240 pixels: quick look"
SIZES = {
    "192 pixels: quickest": 192,
    QUICK_LOOK: 240,
    "360 pixels": 360,
    "480 pixels: as in the paper": 480,
    "As the clip is": 0,
}
FLOWS = {
    "On, from frame to frame (DIS)": ("dis", "chained"),
    "On, to each remembered frame (DIS: slower)": ("dis", "direct"),
    "On, to each, as in the paper (RAFT: slow on a CPU)": ("raft", "direct"),
    "Off": ("none", "chained"),
}
FEATURES = {"Trained encoder": WEIGHTS, "Colour patches, untrained": PATCH}
EDGES = {"Those of the image": "guided", "As voted, as in the paper": "bilinear"}
VOTES = {
    "Fitted to the objects": (Settings().discriminant_weight, Settings().logit_adjustment),
    "By likeness alone, as in the paper": (0.0, 0.0),
}
MEMORY = {
    "First and recent frames": (Settings().long_term, SHORT_TERM),
    "First and recent frames, as in the paper": (LONG_TERM, SHORT_TERM),
    "Recent frames only": ((), SHORT_TERM),
    "First frames only": (Settings().long_term, ()),
}
PRESETS = {
    "Usual": Settings(),
    "Paper": Settings(
        motion="direct",
        upsampling="bilinear",
        top_k=36,
        long_term=LONG_TERM,
        discriminant_weight=0.0,
        logit_adjustment=0.0,
    ),
    "Fast": Settings(short_side=192),
}
MAX_RADIUS = 24


class Chosen(NamedTuple):
    """What the page's controls show, in their order."""

    size: str
    flow: str
    memory: str
    features: str
    edges: str
    votes: str
    top_k: float
    radius: float


USUAL = Chosen(
    size=QUICK_LOOK,
    flow=next(iter(FLOWS)),
    memory=next(iter(MEMORY)),
    features=next(iter(FEATURES)),
    edges=next(iter(EDGES)),
    votes=next(iter(VOTES)),
    top_k=Settings().top_k or 0,
    radius=Settings().radius,
)


def as_chosen(settings: Settings) -> tuple[Any, ...]:
    """Settings as the page's controls show them; what they do not offer stays as it is. Weights are never taken over."""
    memory = (settings.long_term, settings.short_term)
    flow = (settings.flow, settings.motion)
    pairs: list[tuple[dict[str, Any], Any]] = [
        (SIZES, settings.short_side),
        (FLOWS, flow),
        (MEMORY, memory),
        (FEATURES, settings.weights),
        (EDGES, settings.upsampling),
        (VOTES, (settings.discriminant_weight, settings.logit_adjustment)),
    ]
    names = [next((name for name, offer in offers.items() if offer == value), None) for offers, value in pairs]
    chosen = [gr.skip() if name is None else name for name in names]
    return (*chosen, settings.top_k or 0, settings.radius)


def settings_of(
    size: str, flow: str, memory: str, features: str, edges: str, votes: str, top_k: float, radius: float
) -> Settings:
    """The settings that the page's controls name."""
    long_term, short_term = MEMORY[memory]
    kind, motion = FLOWS[flow]
    discriminant_weight, logit_adjustment = VOTES[votes]
    return Settings(
        short_side=SIZES[size],
        flow=kind,
        motion=motion,
        upsampling=EDGES[edges],
        discriminant_weight=discriminant_weight,
        logit_adjustment=logit_adjustment,
        top_k=int(top_k) or None,
        radius=int(radius),
        long_term=long_term,
        short_term=short_term,
        weights=FEATURES[features],
        raft_weights=RAFT,
    )


def allowed(settings: Settings) -> Settings:
    """Settings from outside, with this page's own weights, and none that cost without end."""
    usual = Settings()
    memory = (settings.long_term, settings.short_term)
    long_term, short_term = memory if memory in MEMORY.values() else (usual.long_term, usual.short_term)
    votes = (settings.discriminant_weight, settings.logit_adjustment)
    usual_votes = (usual.discriminant_weight, usual.logit_adjustment)
    discriminant_weight, logit_adjustment = votes if votes in VOTES.values() else usual_votes
    return replace(
        settings,
        short_side=max(0, settings.short_side),
        radius=min(max(1, settings.radius), MAX_RADIUS),
        top_k=None if settings.top_k is None else max(1, settings.top_k),
        discriminant_weight=discriminant_weight,
        logit_adjustment=logit_adjustment,
        long_term=long_term,
        short_term=short_term,
        weights=PATCH if settings.weights == PATCH else WEIGHTS,
        raft_weights=RAFT,
        device=usual.device,
    )
