"""The memory bank (Sec. 3.2): the reference frames of a query, and what is stored of each frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mamp.propagation.object_discriminant import ClassStatistics
from mamp.settings import Settings

_PAPER = Settings.paper()
MAX_GIVEN = 4  # later frames with an input mask kept as references; two corrections and two new objects fit


def reference_frames(
    t: int,
    *,
    long_term: Sequence[int] = _PAPER.long_term,
    short_term: Sequence[int] = _PAPER.short_term,
    given: Collection[int] = (),
) -> list[int]:
    """The references of query ``t``: long term, short term, and later frames with an input mask.

    Frames before the first are left out; if no reference remains, frame 0 is used.

    Args:
        t: Number of the query [>= 1].
        long_term: Frame numbers.
        short_term: Ages [frames].
        given: Numbers of frames with an input mask; the latest ``MAX_GIVEN`` after frame 0 are used.

    Returns:
        Frame numbers, ascending and unique.
    """
    recent = sorted(frame for frame in given if 0 < frame < t)[-MAX_GIVEN:]
    frames = {*long_term, *(t - age for age in short_term), *recent}
    return sorted(frame for frame in frames if 0 <= frame < t) or [0]


def frames_to_keep(
    t: int,
    *,
    long_term: Sequence[int] = _PAPER.long_term,
    short_term: Sequence[int] = _PAPER.short_term,
    given: Collection[int] = (),
) -> list[int]:
    """The frames before ``t`` that are references of query ``t`` or a later one, ascending; see ``reference_frames``."""
    recent = sorted(frame for frame in given if 0 < frame < t)[-MAX_GIVEN:]
    frames = {*long_term, *range(t - max(short_term, default=0), t), *recent}
    if t <= max((*long_term, *short_term), default=t):
        frames.add(0)  # used while there may be no other reference
    return sorted(frame for frame in frames if 0 <= frame < t)


@dataclass(frozen=True)
class MemoryFrame:
    """A frame in memory."""

    image: NDArray[np.uint8]  # RGB (H, W, 3), for the flow
    key: Tensor  # features (C, h, w), in the encoder's precision
    cues: Tensor  # auxiliary features (D, h, w), see cell_features
    value: Tensor  # labels (h, w) uint8: one byte per cell for any number of objects
    class_statistics: Mapping[int, ClassStatistics] = field(default_factory=dict)  # by label; empty if not used
    given: bool = False  # the mask is an input mask, not a prediction
    motion: Tensor | None = None  # displacement from the newest frame to this one (2, h, w) [cells], if it is tracked


class MemoryBank:
    """Holds the frames that a later query will reference: a bounded number, whatever the length of the clip.

    Args:
        long_term: Numbers of the frames that are never removed.
        short_term: Ages of the other references [frames].
    """

    def __init__(
        self, *, long_term: Sequence[int] = _PAPER.long_term, short_term: Sequence[int] = _PAPER.short_term
    ) -> None:
        self.long_term = tuple(long_term)
        self.short_term = tuple(short_term)
        self._frames: dict[int, MemoryFrame] = {}
        self._given: list[int] = []

    def __len__(self) -> int:
        return len(self._frames)

    def references(self, t: int) -> dict[int, MemoryFrame]:
        """The references of query ``t``, by frame number."""
        numbers = reference_frames(t, long_term=self.long_term, short_term=self.short_term, given=self._given)
        return {number: self._frames[number] for number in numbers if number in self._frames}

    def all(self) -> dict[int, MemoryFrame]:
        """All frames in memory, by frame number."""
        return dict(self._frames)

    def move(self, t: int, motion: Tensor) -> None:
        """Sets the displacement from the newest frame to frame ``t`` (2, h, w) [cells]."""
        self._frames[t] = replace(self._frames[t], motion=motion)

    def replace(self, t: int, memory: MemoryFrame) -> None:
        """Replaces frame ``t``."""
        self._frames[t] = memory

    def add(self, t: int, memory: MemoryFrame) -> None:
        """Adds frame ``t`` and drops the frames that no later query references.

        Args:
            t: Number of the frame, larger than those before.
            memory: The frame; with an input mask it stays a reference.
        """
        if memory.given and t > 0:
            self._given = [*self._given, t][-MAX_GIVEN:]
        self._frames[t] = memory
        keep = frames_to_keep(t + 1, long_term=self.long_term, short_term=self.short_term, given=self._given)
        self._frames = {number: frame for number, frame in self._frames.items() if number in keep}
