"""Warnings about painted masks."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import scene
from webapp.mask_check import mask_problem


def empty() -> NDArray[np.uint8]:
    return np.zeros((480, 854), np.uint8)


def test_filled_shapes_and_an_empty_mask_are_fine() -> None:
    mask = empty()
    assert not mask_problem(mask)
    cv2.circle(mask, (200, 200), 60, 1, cv2.FILLED)
    cv2.rectangle(mask, (500, 100), (540, 300), 2, cv2.FILLED)
    mask[::50, ::50] = 1  # specks
    assert not mask_problem(mask)
    assert not mask_problem(scene(0)[1])


@pytest.mark.parametrize("thickness", [1, 3, 16])
def test_a_stroke_is_reported(thickness: int) -> None:
    mask = empty()
    cv2.circle(mask, (200, 200), 60, 1, cv2.FILLED)
    cv2.polylines(mask, [np.array([(400, 100), (600, 120), (450, 200)], np.int32)], False, 2, thickness)
    assert "Object 2 is only a line" in mask_problem(mask)
    hair = np.zeros_like(mask)
    hair[20, 10:90] = 1
    assert "about 1 pixel wide" in mask_problem(hair)


def test_a_speck_is_reported() -> None:
    mask = empty()
    mask[100:103, 100:104] = 7
    assert "Object 7 is only 3 pixels wide" in mask_problem(mask)


def test_many_pieces_are_reported_and_two_are_not() -> None:
    mask = empty()
    for index in range(5):
        assert bool(mask_problem(mask)) == (index > 3)
        cv2.circle(mask, (100 + 100 * index, 200), 30, 3, cv2.FILLED)
    assert "Object 3 is in 5 pieces" in mask_problem(mask)
