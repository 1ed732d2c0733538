"""Matching with a fixed amount of work equals ``propagate``."""

import random

import pytest
import torch

from mamp.propagation.dense_matching import propagate_densely
from mamp.propagation.local_matching import propagate


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("half", [False, True])
def test_random_problems_equal_local_matching(seed: int, half: bool) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    N, K, C, radius = rng.randint(1, 5), rng.randint(2, 5), rng.randint(3, 9), rng.randint(1, 7)
    h, w, top_k = rng.randint(5, 34), rng.randint(5, 34), rng.choice([1, 4, 9, None])
    query, keys = torch.randn(C, h, w), torch.randn(C, N, h, w)
    labels = torch.tensor([0, 3, 7, 200, 255][:K], dtype=torch.uint8)
    values = labels[torch.randint(K, (N, h, w))]
    sources, valid = torch.randint(h * w, (N, h, w)), torch.rand(N, h, w) > 0.2

    scores = propagate_densely(
        query, keys, sources, valid, values, labels, radius=radius, top_k=top_k, half=half, block=20_000
    )

    at = sources.flatten(1)
    warped = keys.flatten(2).gather(2, at.expand(C, N, -1)).view_as(keys).transpose(0, 1)
    masks = values.flatten(1).gather(1, at).view(N, 1, h, w) == labels[:, None, None]
    expected = propagate(query, lambda rows: warped[:, :, rows], masks.float(), valid=valid, radius=radius, top_k=top_k)
    if half:  # of two candidates that are equal in half precision, either may be taken
        assert (scores - expected).abs().mean() < 2e-3
    else:
        torch.testing.assert_close(scores, expected)
