"""The memory bank (Sec. 3.2): which frames a query asks, and what is kept of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mamp.propagation.object_discriminant import ClassStatistics

LONG_TERM = (0, 5)
SHORT_TERM = (1, 3, 5)
MAX_GIVEN = 4  # later given masks kept as references: two corrections and two latecomers cost what the short term costs


def reference_frames(
    t: int, *, long_term: Sequence[int] = LONG_TERM, short_term: Sequence[int] = SHORT_TERM, given: Collection[int] = ()
) -> list[int]:
    """The frames that query ``t`` is matched with: long term, short term, and later frames whose mask was given.

    Frames that do not exist yet are left out; where none is left, the first frame serves.

    Args:
        t: Number of the query [>= 1].
        long_term: Frame numbers.
        short_term: Ages, in frames.
        given: Numbers of frames, beyond frame 0, whose masks were given; the latest ``MAX_GIVEN`` are used.

    Returns:
        Frame numbers, ascending, each once.
    """
    recent = sorted(frame for frame in given if 0 < frame < t)[-MAX_GIVEN:]
    frames = {*long_term, *(t - age for age in short_term), *recent}
    return sorted(frame for frame in frames if 0 <= frame < t) or [0]


def frames_to_keep(
    t: int, *, long_term: Sequence[int] = LONG_TERM, short_term: Sequence[int] = SHORT_TERM, given: Collection[int] = ()
) -> list[int]:
    """The frames before ``t`` that query ``t`` or a later one can ask for, ascending; as ``reference_frames``."""
    recent = sorted(frame for frame in given if 0 < frame < t)[-MAX_GIVEN:]
    frames = {*long_term, *range(t - max(short_term, default=0), t), *recent}
    if t <= max((*long_term, *short_term), default=t):
        frames.add(0)  # stands in while there may be no other reference
    return sorted(frame for frame in frames if 0 <= frame < t)


@dataclass(frozen=True)
class MemoryFrame:
    """What is kept of one frame."""

    image: NDArray[np.uint8]  # RGB (H, W, 3), for the flow
    key: Tensor  # features (C, h, w) as the encoder gives them: in half precision where it works in that
    cues: Tensor  # what else tells cells apart (D, h, w)
    value: Tensor  # labels of the cells (h, w) uint8: one byte a cell, whatever the number of objects
    class_statistics: Mapping[int, ClassStatistics] = field(
        default_factory=dict
    )  # what they tell of the labels, where it is asked for
    given: bool = False  # its mask was given, not tracked
    motion: Tensor | None = None  # displacement of the newest frame to this one (2, h, w) [cells], where it is followed


class MemoryBank:
    """Keys and Values of exactly the frames that a later query can ask for: a bounded number, whatever the length.

    Args:
        long_term: Frame numbers kept for good.
        short_term: Ages at which a frame is asked, in frames.
    """

    def __init__(self, *, long_term: Sequence[int] = LONG_TERM, short_term: Sequence[int] = SHORT_TERM) -> None:
        self.long_term = tuple(long_term)
        self.short_term = tuple(short_term)
        self._frames: dict[int, MemoryFrame] = {}
        self._given: list[int] = []

    def __len__(self) -> int:
        return len(self._frames)

    def references(self, t: int) -> dict[int, MemoryFrame]:
        """What query ``t`` is matched with, by frame number."""
        wanted = reference_frames(t, long_term=self.long_term, short_term=self.short_term, given=self._given)
        return {frame: self._frames[frame] for frame in wanted if frame in self._frames}

    def all(self) -> dict[int, MemoryFrame]:
        """Everything that is kept, by frame number."""
        return dict(self._frames)

    def move(self, t: int, motion: Tensor) -> None:
        """Changes how far a kept frame is from the newest one (2, h, w) [cells]."""
        self._frames[t] = replace(self._frames[t], motion=motion)

    def replace(self, t: int, memory: MemoryFrame) -> None:
        """Changes what is kept of a frame."""
        self._frames[t] = memory

    def add(self, t: int, memory: MemoryFrame) -> None:
        """Keeps frame ``t``, and lets go of what no later query can ask for.

        Args:
            t: Number of the frame; they come in order.
            memory: What is kept of it; it stays a reference if its mask was given.
        """
        if memory.given and t > 0:
            self._given = [*self._given, t][-MAX_GIVEN:]
        self._frames[t] = memory
        keep = frames_to_keep(t + 1, long_term=self.long_term, short_term=self.short_term, given=self._given)
        self._frames = {frame: kept for frame, kept in self._frames.items() if frame in keep}
