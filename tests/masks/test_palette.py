"""Painted strokes become labels, also on large frames."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from mamp.masks.palette import OBJECT_COLORS, OPAQUE, color_of, strokes_to_mask


def test_strokes_have_the_label_of_the_nearest_brush() -> None:
    rng = np.random.default_rng(0)
    strokes = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
    for colors in (OBJECT_COLORS.tolist(), [color_of(label) for label in range(1, 256)]):
        distance = ((strokes[..., None, :3].astype(int) - np.array(colors)) ** 2).sum(axis=-1)
        expected = np.where(strokes[..., 3] >= OPAQUE, distance.argmin(axis=-1) + 1, 0)
        assert np.array_equal(strokes_to_mask(strokes, colors), expected)


@pytest.mark.parametrize("noise", [False, True])
def test_painting_a_4k_frame_takes_neither_long_nor_much_memory(noise: bool) -> None:
    rng = np.random.default_rng(0)
    strokes = np.full((2160, 3840, 4), 255, np.uint8)
    strokes[..., :3] = OBJECT_COLORS[rng.integers(0, 8, strokes.shape[:2])]
    if noise:
        strokes[::8, :, :3] = rng.integers(0, 256, strokes[::8, :, :3].shape)
    start = time.process_time()
    strokes_to_mask(strokes, OBJECT_COLORS.tolist())
    assert time.process_time() - start < 1
    tracemalloc.start()
    strokes_to_mask(strokes, OBJECT_COLORS.tolist())
    assert tracemalloc.get_traced_memory()[1] < 3e8
    tracemalloc.stop()
