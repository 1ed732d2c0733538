"""Matching equals its definition."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mamp.propagation.local_matching import logit_adjusted, propagate, reconstruct
from mamp.propagation.tile_shortcut import decided_by_neighbors


def rows_of(keys: Tensor) -> Callable[[slice], Tensor]:
    """Keys (N, C, h, w) as ``propagate`` asks for them."""
    return lambda rows: keys[:, :, rows]


def labelled(labels: Tensor) -> Tensor:
    """Masks (N, 2, h, w) of labels 0 and 1 (N, h, w)."""
    return torch.stack((labels == 0, labels == 1), dim=1).float()


def by_definition(
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
            carried = values[window].transpose(0, 1).flatten(1)
            if valid is not None:
                may = valid[:, window[2], window[3]].flatten()
                similarity, carried = similarity[may], carried[:, may]
            best, index = similarity.topk(min(top_k or len(similarity), len(similarity)))
            scores[:, y, x] = carried[:, index] @ best.softmax(dim=0)
    return scores


@pytest.mark.parametrize("top_k", [None, 1, 9, 36])
@pytest.mark.parametrize("muted", [False, True])
@pytest.mark.parametrize(("h", "w"), [(11, 13), (8, 16), (3, 20)])
def test_matching_equals_its_definition(top_k: int | None, muted: bool, h: int, w: int) -> None:
    torch.manual_seed(h)
    query, keys, values = torch.randn(5, h, w), torch.randn(3, 5, h, w), torch.rand(3, 4, h, w)
    valid = torch.rand(3, h, w) > 0.3 if muted else None
    expected = by_definition(query, keys, values, 3, top_k, valid)
    found = propagate(query, rows_of(keys), values, valid=valid, radius=3, top_k=top_k)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("top_k", [1, 36, 200])
def test_the_best_of_a_wide_window_are_found_in_parts(top_k: int) -> None:
    torch.manual_seed(3)
    query, keys, values = torch.randn(5, 20, 24), torch.randn(2, 5, 20, 24), torch.rand(2, 3, 20, 24)
    expected = by_definition(query, keys, values, 9, top_k)  # 361 places
    found = propagate(query, rows_of(keys), values, radius=9, top_k=top_k)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0.0)  # of two that are nearly as good either may vote


@pytest.mark.parametrize("muted", [False, True])
def test_nothing_is_compared_where_all_that_may_vote_say_the_same(muted: bool) -> None:
    torch.manual_seed(1)
    query, keys = torch.randn(5, 30, 44), torch.randn(3, 5, 30, 44)
    values = labelled(torch.zeros(3, 30, 44))
    values[1, :, 20:24, 3:8] = torch.tensor([0.25, 1.0])[:, None, None]
    valid = None
    if muted:
        valid = torch.rand(3, 30, 44) > 0.2
        valid[:, :, 34:] = False  # nothing may vote on the last columns
        values[:, :, :, 36:] = 0.5
    expected = by_definition(query, keys, values, 3, 9, valid)
    torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=3, top_k=9), expected)
    query[:, :16], keys[:, :, :13] = torch.nan, torch.nan  # far from what says something else
    torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=3, top_k=9), expected)


def of_two_looks() -> tuple[Tensor, Tensor, Tensor]:
    """A query, and what three references show of an object that looks the same everywhere before such a background."""
    torch.manual_seed(2)
    labels = torch.zeros(3, 40, 48)
    labels[:, 12:28, 30:44] = 1
    shown = (4 * torch.randn(2, 10))[labels.long()].permute(0, 3, 1, 2)
    return shown[0] + torch.randn(10, 40, 48) / 4, shown + torch.randn(3, 10, 40, 48) / 4, labelled(labels)


@pytest.mark.parametrize("muted", [False, True])
def test_what_lies_nearest_may_tell(monkeypatch: pytest.MonkeyPatch, muted: bool) -> None:
    query, keys, values = of_two_looks()
    query[:, 4:12, 20:36] = query[:, 14:22, 26:42]  # here background looks like the object, in part
    valid = torch.rand(3, 40, 48) > 0.1 if muted else None
    told = []

    def spied(*arguments: Any, **settings: Any) -> Tensor:
        told.append(decided_by_neighbors(*arguments, **settings))
        return told[-1]

    monkeypatch.setattr("mamp.propagation.local_matching.decided_by_neighbors", spied)
    expected = by_definition(query, keys, values, 9, 9, valid)
    torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=9, top_k=9), expected)
    assert int(torch.cat(told).sum()) >= 5


def test_what_is_told_by_what_lies_nearest_needs_no_more() -> None:
    query, keys, values = of_two_looks()
    query_mask = torch.zeros(40, 48, dtype=torch.bool)
    query_mask[9:15, 16:24] = True
    query[:, [8, 15], 16:24] = keys[0, :, 20, 32, None, None]  # what is not asked for looks like the object
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
def test_matching_does_not_depend_on_how_it_is_cut_into_blocks(
    monkeypatch: pytest.MonkeyPatch, h: int, radius: int
) -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(8, h, 40), torch.randn(2, 8, h, 40), torch.rand(2, 2, h, 40)
    valid = torch.rand(2, h, 40) > 0.2
    monkeypatch.setattr("mamp.propagation.local_matching._TILE_ROWS_ON_CPU", 9)
    whole = propagate(query, rows_of(keys), values, valid=valid, radius=radius)
    monkeypatch.setattr("mamp.propagation.local_matching._BLOCK_ON_CPU", 1)
    for rows in (1, 2):
        monkeypatch.setattr("mamp.propagation.local_matching._TILE_ROWS_ON_CPU", rows)
        torch.testing.assert_close(propagate(query, rows_of(keys), values, valid=valid, radius=radius), whole)


def test_only_what_is_asked_for_is_compared() -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(8, 30, 40), torch.randn(2, 8, 30, 40), torch.rand(2, 2, 30, 40)
    whole = propagate(query, rows_of(keys), values, radius=3)
    query_mask = torch.zeros(30, 40, dtype=torch.bool)
    query_mask[25:29, 20:31] = True
    query[:, :20] = torch.nan
    torch.testing.assert_close(
        propagate(query, rows_of(keys), values, query_mask=query_mask, radius=3)[:, query_mask], whole[:, query_mask]
    )


def test_nothing_is_voted_where_no_reference_may_vote() -> None:
    query, keys, values = torch.randn(4, 9, 9), torch.randn(2, 4, 9, 9), torch.ones(2, 3, 9, 9)
    valid = torch.zeros(2, 9, 9, dtype=torch.bool)
    valid[:, :2, :2] = True
    scores = propagate(query, rows_of(keys), values, valid=valid, radius=1, top_k=9)
    assert torch.allclose(scores[:, :3, :3], torch.ones(3, 3, 3))
    assert not scores[:, 3:].any() and not scores[:, :, 3:].any()


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        propagate(torch.zeros(4, 5, 5), rows_of(torch.zeros(1, 4, 5, 6)), torch.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match="do not fit"):
        propagate(torch.zeros(4, 5, 5), rows_of(torch.zeros(1, 4, 5, 5)), torch.zeros(1, 2, 5, 6))


def test_training_rebuilds_by_the_same_equations() -> None:
    torch.manual_seed(0)
    query, reference, target = torch.randn(2, 6, 9, 10), torch.randn(2, 6, 9, 10), torch.rand(2, 1, 9, 10)
    rebuilt = reconstruct(query, reference, target, radius=2)
    for index in range(2):
        expected = by_definition(query[index], reference[index, None], target[index, None], 2, None)
        torch.testing.assert_close(rebuilt[index], expected)


def test_adjustment_divides_by_how_many_cells_of_a_label_could_vote() -> None:
    torch.manual_seed(0)
    scores, labels = torch.rand(3, 9, 11), torch.randint(3, (2, 9, 11))
    values = torch.stack([(labels == label).float() for label in range(3)], dim=1)
    valid = torch.rand(2, 9, 11) > 0.2
    scores[:, 0, 0] = 0
    found = logit_adjusted(scores, values, valid=valid, radius=2, strength=0.3)
    for y, x in ((0, 0), (4, 5), (8, 10), (1, 9)):
        window = (slice(None), slice(None), slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3))
        cells = (values * valid[:, None])[window].sum(dim=(0, 2, 3))
        fair = scores[:, y, x] / (cells + 1) ** 0.3
        expected = fair / fair.sum().clamp(min=1e-30) * scores[:, y, x].sum()
        torch.testing.assert_close(found[:, y, x], expected)
    assert logit_adjusted(scores, values, valid=valid, radius=2, strength=0) is scores
