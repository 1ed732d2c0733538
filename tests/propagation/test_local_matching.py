"""Local matching equals a brute-force loop over cells, with and without its shortcuts."""

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mamp.propagation.local_matching import logit_adjusted, propagate, reconstruct
from mamp.propagation.tile_shortcut import decided_by_neighbors
from mamp.propagation.window_topk import topk_indices


def rows_of(keys: Tensor) -> Callable[[slice], Tensor]:
    """Keys (N, C, h, w) as the function that ``propagate`` takes."""
    return lambda rows: keys[:, :, rows]


def one_hot(labels: Tensor) -> Tensor:
    """Masks (N, 2, h, w) of labels 0 and 1 (N, h, w)."""
    return torch.stack((labels == 0, labels == 1), dim=1).float()


def brute_force(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    radius: int,
    top_k: int | None,
    valid: Tensor | None = None,
) -> Tensor:
    """Eq. 1 and 2, cell by cell."""
    C, h, w = query.shape
    scores = torch.zeros(values.shape[1], h, w)
    for y in range(h):
        for x in range(w):
            top, left = max(0, y - radius), max(0, x - radius)
            window = (slice(None), slice(None), slice(top, y + radius + 1), slice(left, x + radius + 1))
            similarity = torch.einsum("c,nchw->nhw", query[:, y, x], keys[window]) / C**0.5
            similarity = similarity.flatten()
            window_values = values[window].transpose(0, 1).flatten(1)
            if valid is not None:
                is_valid = valid[:, window[2], window[3]].flatten()
                similarity, window_values = similarity[is_valid], window_values[:, is_valid]
            best, index = similarity.topk(min(top_k or len(similarity), len(similarity)))
            scores[:, y, x] = window_values[:, index] @ best.softmax(dim=0)
    return scores


@pytest.mark.parametrize("top_k", [None, 1, 9, 36])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("h", "w"), [(11, 13), (8, 16), (3, 20)])
def test_matching_equals_brute_force(top_k: int | None, masked: bool, h: int, w: int) -> None:
    torch.manual_seed(h)
    query, keys, values = torch.randn(5, h, w), torch.randn(3, 5, h, w), torch.rand(3, 4, h, w)
    valid = torch.rand(3, h, w) > 0.3 if masked else None
    expected = brute_force(query, keys, values, 3, top_k, valid)
    scores = propagate(query, rows_of(keys), values, valid=valid, radius=3, top_k=top_k)
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("shortcut", [False, True])
def test_random_problems_equal_brute_force(monkeypatch: pytest.MonkeyPatch, seed: int, shortcut: bool) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    N, K, C, radius = rng.randint(2, 5), rng.randint(2, 5), rng.randint(3, 9), rng.randint(2, 7)
    h, w, top_k = rng.randint(9, 34), rng.randint(9, 34), rng.choice([1, 4, 9])
    labels = torch.zeros(N, h, w, dtype=torch.long)
    for label in range(1, K):
        y, x = rng.randint(0, h - 4), rng.randint(0, w - 4)
        labels[:, y : y + rng.randint(2, 12), x : x + rng.randint(2, 12)] = label
    values = torch.nn.functional.one_hot(labels, K).permute(0, 3, 1, 2).float()
    features = (3 * torch.randn(K, C))[labels].permute(0, 3, 1, 2)
    query, keys = features[0] + torch.randn(C, h, w) / 2, features + torch.randn(N, C, h, w) / 2
    valid = torch.rand(N, h, w) > 0.1
    valid[0] = True  # every cell has a match
    if not shortcut:
        name = "mamp.propagation.local_matching.decided_by_neighbors"
        monkeypatch.setattr(name, lambda _, __, uniform, *___, **____: uniform != uniform)
    scores = propagate(query, rows_of(keys), values, valid=valid, radius=radius, top_k=top_k)
    torch.testing.assert_close(scores, brute_force(query, keys, values, radius, top_k, valid))


@pytest.mark.parametrize("k", [13, 36, 70])
@pytest.mark.parametrize("count", [100, 625, 1_000])
def test_the_indices_of_the_largest_are_those_of_torch_topk(k: int, count: int) -> None:
    numbers = torch.stack([torch.randperm(count, generator=torch.Generator().manual_seed(row)) for row in range(20)])
    indices = topk_indices(numbers.float() - count / 2, k)
    assert torch.equal(indices.sort().values, numbers.topk(k, dim=1).indices.sort().values)


def test_memory_does_not_grow_with_the_number_of_different_shapes() -> None:
    """A library that compiles and keeps a kernel for each shape of a matrix took a gigabyte in 25 frames."""
    script = (
        "import torch; from pathlib import Path; from mamp.propagation.local_matching import propagate\n"
        "torch.manual_seed(0)\n"
        "resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20\n"
        "def match(frame):\n"
        "    keys, labels = torch.rand(7, 32, 56, 56), torch.zeros(7, 56, 56, dtype=torch.long)\n"
        "    labels[:, 8 : 20 + frame % 30, 8 : 20 + frame * 7 % 30] = 1\n"
        "    values = torch.stack((labels == 0, labels == 1), dim=1).float()\n"
        "    propagate(keys[0], lambda rows: keys[:, :, rows], values, radius=12, top_k=9)\n"
        "for frame in range(4): match(frame)\n"
        "before = resident()\n"
        "for frame in range(4, 34): match(frame)\n"
        "print(resident() - before)"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(printed) < 30, "megabytes"


@pytest.mark.parametrize("top_k", [1, 36, 200])
def test_the_top_k_of_a_wide_window_are_selected_in_chunks(top_k: int) -> None:
    torch.manual_seed(3)
    query, keys, values = torch.randn(5, 20, 24), torch.randn(2, 5, 20, 24), torch.rand(2, 3, 20, 24)
    expected = brute_force(query, keys, values, 9, top_k)  # windows of 361 cells
    scores = propagate(query, rows_of(keys), values, radius=9, top_k=top_k)
    torch.testing.assert_close(scores, expected, atol=2e-3, rtol=0.0)  # near ties may be broken either way


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_with_one_label_in_reach_are_not_matched(masked: bool) -> None:
    torch.manual_seed(1)
    query, keys = torch.randn(5, 30, 44), torch.randn(3, 5, 30, 44)
    values = one_hot(torch.zeros(3, 30, 44))
    values[1, :, 20:24, 3:8] = torch.tensor([0.25, 1.0])[:, None, None]
    valid = None
    if masked:
        valid = torch.rand(3, 30, 44) > 0.2
        valid[:, :, 34:] = False  # no valid match for the last columns
        values[:, :, :, 36:] = 0.5
    expected = brute_force(query, keys, values, 3, 9, valid)
    torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=3, top_k=9), expected)
    query[:, :16], keys[:, :, :13] = torch.nan, torch.nan  # far from any other label
    torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=3, top_k=9), expected)


def distinct_object() -> tuple[Tensor, Tensor, Tensor]:
    """Query, keys and values of three references: object and background each have one feature, with noise."""
    torch.manual_seed(2)
    labels = torch.zeros(3, 40, 48)
    labels[:, 12:28, 30:44] = 1
    features = (4 * torch.randn(2, 10))[labels.long()].permute(0, 3, 1, 2)
    return features[0] + torch.randn(10, 40, 48) / 4, features + torch.randn(3, 10, 40, 48) / 4, one_hot(labels)


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_decided_by_their_neighborhood_equal_brute_force(monkeypatch: pytest.MonkeyPatch, masked: bool) -> None:
    query, keys, values = distinct_object()
    query[:, 4:12, 20:36] = query[:, 14:22, 26:42]  # some background looks like the object
    valid = torch.rand(3, 40, 48) > 0.1 if masked else None
    decided = []

    def recorded(*args: Any, **kwargs: Any) -> Tensor:
        decided.append(decided_by_neighbors(*args, **kwargs))
        return decided[-1]

    monkeypatch.setattr("mamp.propagation.local_matching.decided_by_neighbors", recorded)
    expected = brute_force(query, keys, values, 9, 9, valid)
    torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=9, top_k=9), expected)
    assert int(torch.cat(decided).sum()) >= 5


def test_tiles_decided_by_their_neighborhood_are_not_matched() -> None:
    query, keys, values = distinct_object()
    query_mask = torch.zeros(40, 48, dtype=torch.bool)
    query_mask[9:15, 16:24] = True
    query[:, [8, 15], 16:24] = keys[0, :, 20, 32, None, None]  # cells outside the query mask look like the object
    far = values[:, 0] == 1
    far[:, 7:17, 15:25] = False
    keys = keys.masked_fill(far[:, None], torch.nan)
    scores = propagate(query, rows_of(keys), values, query_mask=query_mask, radius=9, top_k=9)
    assert (scores[0, query_mask] == 1).all() and (scores[1, query_mask] == 0).all()
    query[:, 12, 20] = keys[0, :, 20, 32]
    scores = propagate(query, rows_of(keys), values, query_mask=query_mask, radius=9, top_k=9)
    assert scores[:, query_mask].isnan().any()


@pytest.mark.parametrize("radius", [0, 2, 5, 9])
@pytest.mark.parametrize("h", [24, 30, 33])
def test_matching_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch, h: int, radius: int) -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(8, h, 40), torch.randn(2, 8, h, 40), torch.rand(2, 2, h, 40)
    valid = torch.rand(2, h, 40) > 0.2
    monkeypatch.setattr("mamp.propagation.local_matching._TILE_ROWS_ON_CPU", 9)
    whole = propagate(query, rows_of(keys), values, valid=valid, radius=radius)
    monkeypatch.setattr("mamp.propagation.local_matching._BLOCK_ON_CPU", 1)
    for rows in (1, 2):
        monkeypatch.setattr("mamp.propagation.local_matching._TILE_ROWS_ON_CPU", rows)
        torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=radius), whole)


def test_only_tiles_in_the_query_mask_are_matched() -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(8, 30, 40), torch.randn(2, 8, 30, 40), torch.rand(2, 2, 30, 40)
    whole = propagate(query, rows_of(keys), values, radius=3)
    query_mask = torch.zeros(30, 40, dtype=torch.bool)
    query_mask[25:29, 20:31] = True
    query[:, :20] = torch.nan
    torch.testing.assert_close(
        propagate(query, rows_of(keys), values, query_mask=query_mask, radius=3)[:, query_mask], whole[:, query_mask]
    )


def test_scores_are_zero_without_a_valid_match() -> None:
    query, keys, values = torch.randn(4, 9, 9), torch.randn(2, 4, 9, 9), torch.ones(2, 3, 9, 9)
    valid = torch.zeros(2, 9, 9, dtype=torch.bool)
    valid[:, :2, :2] = True
    scores = propagate(query, rows_of(keys), values, valid=valid, radius=1, top_k=9)
    assert torch.allclose(scores[:, :3, :3], torch.ones(3, 3, 3))
    assert not scores[:, 3:].any() and not scores[:, :, 3:].any()


def test_mismatched_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        propagate(torch.zeros(4, 5, 5), rows_of(torch.zeros(1, 4, 5, 6)), torch.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match="do not fit"):
        propagate(torch.zeros(4, 5, 5), rows_of(torch.zeros(1, 4, 5, 5)), torch.zeros(1, 2, 5, 6))


def test_training_reconstructs_by_the_same_equations() -> None:
    torch.manual_seed(0)
    query, reference, target = torch.randn(2, 6, 9, 10), torch.randn(2, 6, 9, 10), torch.rand(2, 1, 9, 10)
    reconstructed = reconstruct(query, reference, target, radius=2)
    for index in range(2):
        expected = brute_force(query[index], reference[index, None], target[index, None], 2, None)
        torch.testing.assert_close(reconstructed[index], expected)


def test_logit_adjustment_divides_by_the_number_of_valid_cells_of_a_label() -> None:
    torch.manual_seed(0)
    scores, labels = torch.rand(3, 9, 11), torch.randint(3, (2, 9, 11))
    values = torch.stack([(labels == label).float() for label in range(3)], dim=1)
    valid = torch.rand(2, 9, 11) > 0.2
    scores[:, 0, 0] = 0
    adjusted = logit_adjusted(scores, values, valid=valid, radius=2, strength=0.3)
    for y, x in ((0, 0), (4, 5), (8, 10), (1, 9)):
        window = (slice(None), slice(None), slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3))
        cells = (values * valid[:, None])[window].sum(dim=(0, 2, 3))
        share = scores[:, y, x] / (cells + 1) ** 0.3
        expected = share / share.sum().clamp(min=1e-30) * scores[:, y, x].sum()
        torch.testing.assert_close(adjusted[:, y, x], expected)
    assert logit_adjusted(scores, values, valid=valid, radius=2, strength=0) is scores
