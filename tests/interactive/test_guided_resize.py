import numpy as np

from mamp.interactive.guided_resize import guided_resize
from mamp.interactive.surroundings import resized
from tests.conftest import overlap


def test_the_edge_of_a_small_mask_follows_the_colors() -> None:
    rows, columns = np.mgrid[:120, :160]
    truth = columns + 6 * np.sin(rows / 5) > 80
    colors = np.repeat(truth[..., None], 3, axis=2).astype(np.float32)
    colors += np.random.default_rng(0).normal(0, 0.05, colors.shape).astype(np.float32)
    size = (30, 40)
    mask = resized(truth, size) > 0.5
    mask[10:14] = np.roll(mask[10:14], 1, axis=1)  # a pixel too far at some places
    small = resized(colors, size)
    plain = resized(mask, truth.shape) > 0.5
    assert overlap(plain, truth) < 0.975 < 0.99 < overlap(guided_resize(mask, small, colors), truth)


def test_a_mask_stays_where_colors_say_nothing() -> None:
    mask = np.zeros((30, 30), bool)
    mask[5:25, 6:28] = True
    gray = np.zeros((60, 60, 3), np.float32)
    assert overlap(guided_resize(mask, gray[:30, :30], gray), resized(mask, (60, 60)) > 0.5) > 0.8


def test_a_mask_of_the_same_size_stays() -> None:
    rng = np.random.default_rng(0)
    mask, colors = rng.random((9, 12)) > 0.5, rng.random((9, 12, 3)).astype(np.float32)
    np.testing.assert_array_equal(guided_resize(mask, colors, colors), mask)
