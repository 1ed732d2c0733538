"""Input masks in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np

from mamp.runs.packed_masks import PackedMasks


def test_packed_masks_are_the_masks_in_a_fraction_of_the_memory() -> None:
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 256, (9, 16), dtype=np.uint8), np.ones((120, 120), np.uint8))
    tracemalloc.start()
    packed = PackedMasks()
    for frame in (40, *range(20)):
        packed.add(frame, np.roll(mask, frame, axis=1))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < mask.nbytes, "less than one of 21 masks"
    assert len(packed) == 21 and set(packed) == {40, *range(20)} and 40 in packed and 20 not in packed
    assert all(np.array_equal(packed[frame], np.roll(mask, frame, axis=1)) for frame in packed)
    assert packed.get(20) is None and packed[3].flags.writeable
