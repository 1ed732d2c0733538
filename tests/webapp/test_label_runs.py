"""Masks as run lengths."""

from typing import Any

import numpy as np
import pytest

from mamp import MaskError
from webapp.label_runs import mask_to_runs, runs_to_mask


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (48, 64)])
def test_any_mask_survives_the_round_trip(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 0, 0, 1, 7, 255], np.uint8), shape)
    assert np.array_equal(runs_to_mask(mask_to_runs(mask), shape), mask)


def test_runs_go_on_from_row_to_row() -> None:
    mask = np.array([[0, 0, 2], [2, 2, 2], [1, 0, 0]], np.uint8)
    assert mask_to_runs(mask) == [0, 2, 2, 4, 1, 1, 0, 2]


@pytest.mark.parametrize(
    "runs",
    [
        *(None, "0,12", {}, [], [0], [0, 12, 1]),
        *([0, 11], [0, 13], [0, 6, 1, 7], [256, 12], [-1, 12], [0, 13, 1, -1], [0, 12.0], [True, 12], [0, 1 << 62]),
        [0, 1] * 13,
    ],
)
def test_other_values_are_refused(runs: Any) -> None:
    with pytest.raises(MaskError):
        runs_to_mask(runs, (3, 4))
