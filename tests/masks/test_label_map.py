"""Label maps from arrays of any type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mamp.masks.label_map import MaskError, as_label_map

LABELS = np.array([[0, 1], [1, 0]])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float64])
def test_whole_numbers_of_any_type_are_labels(dtype: Any) -> None:
    mask = as_label_map(LABELS.astype(dtype))
    assert mask.dtype == np.uint8 and np.array_equal(mask, LABELS)


def test_read_only_and_strided_arrays_become_writable_and_contiguous() -> None:
    mask = np.arange(24, dtype=np.uint8).reshape(4, 6)
    mask.flags.writeable = False
    for view in (mask, mask[::-1, ::-2], mask.T):
        label_map = as_label_map(view)
        assert np.array_equal(label_map, view) and label_map.flags.c_contiguous and label_map.flags.writeable


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (LABELS * -1, "holds -1, but labels are whole numbers from 0 to 255"),
        (LABELS * 256, "holds 256"),
        (LABELS * 0.3, "holds 0.3"),
        (np.where(LABELS, np.nan, 0), "holds nan"),
        (np.where(LABELS, np.inf, 0), "holds inf"),
        (LABELS[None], "two dimensions .* not 3"),
        (LABELS[0], "two dimensions .* not 1"),
        (np.array([["a"]]), "must hold numbers"),
        (LABELS * 1j, "must hold numbers"),
        (np.array([[None]]), "must hold numbers"),
    ],
)
def test_other_arrays_are_refused(mask: Any, message: str) -> None:
    with pytest.raises(MaskError, match=f"^The mask of frame 3 .*{message}"):
        as_label_map(mask, "The mask of frame 3")
