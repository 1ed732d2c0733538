import itertools

import numpy as np
import pytest

from mamp.interactive.graph_cut import cut


def nothing(shape: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.zeros(shape, bool)


def test_a_cut_follows_the_edges_of_the_image() -> None:
    colors = np.zeros((20, 40, 3), np.float32)
    colors[:, 23:] = 2
    log_odds = np.repeat(np.linspace(1, -1, 40, dtype=np.float32)[None], 20, axis=0)  # 0 at column 20
    mask = cut(log_odds, colors, nothing((20, 40)), nothing((20, 40)))
    np.testing.assert_array_equal(mask, colors[..., 0] == 0)


def test_marks_hold_against_the_log_odds() -> None:
    inside, outside = nothing((12, 12)), nothing((12, 12))
    inside[:, :3], outside[:, 9:] = True, True
    log_odds = np.where(inside, -5, 5).astype(np.float32)
    mask = cut(log_odds, np.zeros((12, 12, 3), np.float32), inside, outside)
    assert mask[inside].all() and not mask[outside].any()


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_cheapest_of_all_cuts(seed: int) -> None:
    """By trying all masks of a tiny image, with the costs of OpenCV's GrabCut."""
    rng = np.random.default_rng(seed)
    log_odds = np.asarray(np.round(4 * rng.normal(0, 20, (3, 4))) / 4, np.float32)  # whole gray levels
    colors = np.zeros((3, 4, 3), np.float32)
    levels = 128 + 4 * log_odds.clip(-16, 16)
    pairs = [
        ((y, x), (y + dy, x + dx), float(np.hypot(dy, dx)))
        for y, x in np.ndindex(3, 4)
        for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1))
        if y + dy < 3 and 0 <= x + dx < 4
    ]
    beta = 1 / (2 * np.mean([(levels[one] - levels[other]) ** 2 for one, other, _ in pairs]))

    def cost(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
        unary = -2 * ((levels - 128) / 4)[mask].sum()
        edges = [50 / d * np.exp(-beta * (levels[a] - levels[b]) ** 2) for a, b, d in pairs if mask[a] != mask[b]]
        return float(unary + sum(edges))

    cheapest = min(cost(np.reshape(bits, (3, 4))) for bits in itertools.product([False, True], repeat=12))
    assert cost(cut(log_odds, colors, nothing((3, 4)), nothing((3, 4)))) == pytest.approx(cheapest, abs=0.01)
