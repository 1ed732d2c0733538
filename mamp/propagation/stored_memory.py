"""What a tracker remembers, but for what follows from the frames themselves: enough to go on in constant time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredFrame:
    """A frame in memory, without its image, features, colors and class statistics; see ``MemoryFrame``.

    Attributes:
        value: Labels of the cells (h, w) uint8.
        motion_cue: Its independent motion (1, h, w) float32; (0, h, w) where it is not used.
        motion: Displacement from the last frame to this one (2, h, w) float32 [cells], if it is tracked.
        given: Whether it has an input mask.
    """

    value: NDArray[np.uint8]
    motion_cue: NDArray[np.float32]
    motion: NDArray[np.float32] | None
    given: bool


@dataclass(frozen=True)
class StoredMemory:
    """The memory of a tracker between two frames.

    Attributes:
        t: Number of the next frame, counted from the first tracked frame.
        labels: Labels of the objects so far, with 0.
        frames: The frames in memory by number, ascending.
        directions: Principal directions of the features (C, D) float32; ``None`` where they are not used.
    """

    t: int
    labels: list[int]
    frames: Mapping[int, StoredFrame]
    directions: NDArray[np.float32] | None

    def write(self, file: BinaryIO, key: str) -> None:
        """Writes the memory as npz, whose entries have checksums.

        Args:
            file: The file.
            key: What the memory belongs to; see ``read``.
        """
        frames = list(self.frames.values())
        shape = (2, *frames[0].value.shape)
        motions = [np.zeros(shape, np.float32) if frame.motion is None else frame.motion for frame in frames]
        np.savez(
            file,
            key=np.array(key),
            t=np.array(self.t),
            labels=np.array(self.labels),
            numbers=np.array(list(self.frames)),
            given=np.array([frame.given for frame in frames]),
            moved=np.array([frame.motion is not None for frame in frames]),
            values=np.stack([frame.value for frame in frames]),
            motion_cues=np.stack([frame.motion_cue for frame in frames]),
            motions=np.stack(motions),
            directions=np.zeros((0, 0), np.float32) if self.directions is None else self.directions,
        )

    @classmethod
    def read(cls, path: Path, key: str) -> StoredMemory | None:
        """Reads a memory; ``None`` if the file is damaged or belongs to something else."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if file["key"] != key:
                    return None
                columns = (file[name] for name in ("numbers", "values", "motion_cues", "motions", "moved", "given"))
                frames = {
                    int(number): StoredFrame(value, motion_cue, motion if moved else None, bool(given))
                    for number, value, motion_cue, motion, moved, given in zip(*columns, strict=True)
                }
                directions = file["directions"] if file["directions"].size else None
                return cls(int(file["t"]), file["labels"].tolist(), frames, directions)
        except Exception:  # a damaged file raises many kinds; everything in it can be computed again
            return None
