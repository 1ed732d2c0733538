"""A method under evaluation: a tracker with its settings, or a folder of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mamp.settings import Settings
from mamp.tracker import MaskTracker


@dataclass(frozen=True)
class Method:
    """A tracker with ``settings``, or masks of any origin in ``folder`` without settings."""

    name: str
    settings: Settings | None
    folder: Path | None = None  # where its masks are stored
    tracker: type[MaskTracker] = MaskTracker
