"""Runs in parts and edited runs: byte for byte the results of an unbroken run. A short part of ``scripts/soak long``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mamp.model.checkpoint import load_encoder
from mamp.settings import Settings
from tools.resume import faults, random_schedule

SMALL = {"short_side": 32, "weights": "patch"}


@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (1, {}),
        (4, {}),
        (2, SMALL),
        (3, SMALL | {"motion": "direct"}),
        (6, SMALL | {"flow": "none", "short_term": ()}),
        (7, SMALL | {"long_term": (), "discriminant_weight": 0.0}),
    ],
)
def test_runs_in_parts_and_after_edits_equal_unbroken_runs(tmp_path: Path, seed: int, settings: dict[str, Any]) -> None:
    chosen = Settings(**settings)
    assert faults(tmp_path, random_schedule(seed, 22), chosen, load_encoder(chosen.weights)) == []
