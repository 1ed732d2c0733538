"""What tells the objects of a clip apart, from the features in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mamp.propagation.local_matching import logit_adjusted, propagate
from mamp.propagation.object_discriminant import Discriminants, _functions, beside, class_statistics

SIDE, RADIUS = 24, 3


def one_hot(labels: Tensor, count: int) -> Tensor:
    return torch.stack([(labels == label).float() for label in range(count)], dim=1)


def some_memory(count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Features and cues of a query, those of two references, and their labels."""
    torch.manual_seed(0)
    query, keys = torch.randn(6, SIDE, SIDE), torch.randn(2, 6, SIDE, SIDE)
    of_query, of_keys = torch.randn(2, SIDE, SIDE), torch.randn(2, 2, SIDE, SIDE)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 4:9, 4:9] = 1
    if count > 2:
        labels[:, 8:12, 12:20] = 2
    keys[:, 1] += 2 * (labels == 1)
    of_keys[:, 1] += 3 * (labels == 2)
    return query, of_query, keys, of_keys, labels


def fitted(keys: Tensor, cues: Tensor, labels: Tensor, count: int = 3, strength: float = 0.2) -> Discriminants:
    told = [class_statistics(*of_frame, radius=RADIUS) for of_frame in zip(keys, cues, labels, strict=True)]
    return Discriminants(told, range(count), strength=strength)


def sides_by_definition(seen: Tensor, memory: Tensor, labels: Tensor) -> Tensor:
    """Where cells (n, L) lie between each object (1) and the others (-1), by memory (N, h, w, L), in NumPy (K - 1, n)."""
    near = np.zeros(labels.shape, bool)
    for number, y, x in torch.nonzero(labels).tolist():
        near[number, max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1] = True
    cells = memory.double().numpy()
    groups = [cells[(labels == label).numpy() & near] for label in range(int(labels.max()) + 1)]
    means = [group.mean(axis=0) for group in groups]
    within = np.mean([np.cov(group.T, bias=True) for group in groups], axis=0)
    power = np.mean([(group**2).sum(axis=1).mean() for group in groups])
    within += np.eye(len(within)) * (0.02 * np.trace(within) + 1e-6 * power) / len(within)
    found = []
    for label in range(1, len(groups)):
        others = np.mean([mean for other, mean in enumerate(means) if other != label], axis=0)
        direction = np.linalg.inv(within) @ (means[label] - others)
        near_end, far_end = others @ direction, means[label] @ direction
        along = seen.double().numpy() @ direction
        found.append(np.clip(2 * (along - near_end) / (far_end - near_end) - 1, -1, 1))
    return torch.from_numpy(np.stack(found))


def test_channels_take_from_matches_across_fishers_discriminants() -> None:
    query, of_query, keys, of_keys, labels = some_memory()
    discriminants = fitted(keys, of_keys, labels)
    asked = discriminants.of_query(query, discriminants.sides(query, of_query))
    offered = torch.stack([discriminants.of_key(*of_frame) for of_frame in zip(keys, of_keys, strict=True)])
    product = torch.einsum("k,nkhw->nhw", asked[:, 7, 9], offered).double()

    seen = [_functions(key.flatten(1).T, cues.flatten(1).T) for key, cues in zip(keys, of_keys, strict=True)]
    memory = torch.stack(seen).view(2, SIDE, SIDE, -1)
    here = sides_by_definition(_functions(query[None, :, 7, 9], of_query[None, :, 7, 9]), memory, labels)
    there = sides_by_definition(memory.flatten(0, 2), memory, labels)
    lost = 0.2 * query.square().sum(dim=0).mean() * ((here - there).square().sum(dim=0) / 2).view_as(product)
    assert torch.allclose(product - product[0, 0, 0], lost[0, 0, 0] - lost, atol=1e-4)


@pytest.mark.parametrize("shown", ["nothing", "one label only", "cells that are all the same", "all the frame"])
def test_where_nothing_tells_objects_apart_nothing_is_lost(shown: str) -> None:
    query, of_query, keys, of_keys, labels = some_memory()
    if shown == "nothing":
        labels[:] = 0
    elif shown == "all the frame":
        labels[:] = 1
    elif shown == "one label only":
        labels[:] = 2
    else:
        keys, of_keys = torch.zeros_like(keys), torch.zeros_like(of_keys)
    discriminants = fitted(keys, of_keys, labels)
    offered = torch.stack([discriminants.of_key(*of_frame) for of_frame in zip(keys, of_keys, strict=True)])
    product = torch.einsum(
        "khw,nkhw->nhw", discriminants.of_query(query, discriminants.sides(query, of_query)), offered
    )
    assert torch.allclose(product - product[0, 0, 0], torch.zeros_like(product), atol=1e-6)


def test_a_cell_on_the_other_side_than_its_label_loses_votes_where_it_is_doubted() -> None:
    _, _, keys, of_keys, labels = some_memory(2)
    discriminants = fitted(keys, of_keys, labels, count=2)
    values = one_hot(labels, 2)[0] > 0
    trusted = discriminants.of_key(keys[0], of_keys[0])
    doubted = discriminants.of_key(keys[0], of_keys[0], values)
    assert torch.equal(doubted[0], trusted[0])
    assert torch.allclose(trusted[1] - doubted[1], 0.2 * astray(trusted[0], labels[0]), atol=1e-6)
    turned = discriminants.of_key(keys[0], of_keys[0], ~values)
    assert torch.allclose(trusted[1] - turned[1], 0.2 * astray(trusted[0], 1 - labels[0]), atol=1e-6)
    assert (turned[1] < trusted[1]).any()


def test_an_object_is_doubted_by_its_own_discriminant_alone() -> None:
    _, _, keys, of_keys, labels = some_memory(3)
    discriminants = fitted(keys, of_keys, labels, count=3)
    of_keys[:, 1] += 3 * (labels == 1)  # the first looks like the second from now on
    trusted = discriminants.of_key(keys[0], of_keys[0])
    doubted = discriminants.of_key(keys[0], of_keys[0], one_hot(torch.ones_like(labels), 3)[0] > 0)
    first, second = trusted[:2]
    assert torch.allclose(trusted[2] - doubted[2], 0.2 * (-first).clamp(min=0), atol=1e-6)
    assert ((second - 0.3) / 0.7 > (-first).clamp(min=0)).any()  # the second's would say more


def astray(side: Tensor, label: Tensor) -> Tensor:
    """How far cells are from their label's side; background may be a little on the object's."""
    return torch.where(label == 1, (-side).clamp(min=0), (side - 0.3).clamp(min=0) / 0.7)


def test_moments_of_frames_add_up() -> None:
    _, _, keys, of_keys, labels = some_memory()
    one, other = (class_statistics(*of_frame, radius=RADIUS) for of_frame in zip(keys, of_keys, labels, strict=True))
    both = class_statistics(*(torch.cat(tuple(part), dim=-1) for part in (keys, of_keys, labels)), radius=RADIUS)
    together = one[1] + other[1]
    assert together.cells == both[1].cells == 50
    assert torch.allclose(together.products.float(), both[1].products) and torch.allclose(together.sums, both[1].sums)


def test_a_thin_object_that_one_direction_of_eight_tells_apart_is_found() -> None:
    torch.manual_seed(1)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 6:18, 11:14] = 1

    def features(labels: Tensor) -> Tensor:
        of_cells = torch.randn(*labels.shape, 8)
        of_cells[..., 0] = labels - 0.5 + 0.3 * of_cells[..., 0]
        return 3 * torch.nn.functional.normalize(of_cells, dim=-1).movedim(-1, -3)

    query, keys = features(labels[0]), features(labels)
    assert found_of(labels, query, keys, torch.zeros(2, 1, SIDE, SIDE), torch.zeros(1, SIDE, SIDE)) > 0.7


def test_an_object_that_its_features_do_not_tell_apart_is_found_by_its_colour_off_a_plane() -> None:
    torch.manual_seed(2)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 6:18, 9:15] = 1
    inner = labels[:, None].float()
    of_keys = torch.sign(torch.randn(2, 1, SIDE, SIDE)) * (1 - inner) * 1.5 + 0.1 * torch.randn(2, 1, SIDE, SIDE)
    keys = 3 * torch.nn.functional.normalize(torch.randn(2, 8, SIDE, SIDE), dim=1)
    query = 3 * torch.nn.functional.normalize(torch.randn(8, SIDE, SIDE), dim=0)
    assert found_of(labels, query, keys, of_keys, of_keys[0]) > 0.7


def found_of(labels: Tensor, query: Tensor, keys: Tensor, of_keys: Tensor, of_query: Tensor) -> float:
    """The share of an object that is found, which is less than half without its discriminant."""
    values = one_hot(labels, 2)

    def found(scores: Tensor) -> float:
        answer = scores.argmax(dim=0).bool()
        assert (answer & ~labels[0].bool()).float().mean() < 0.03
        return float(answer[labels[0].bool()].float().mean())

    assert found(propagate(query, lambda rows: keys[:, :, rows], values, radius=5, top_k=9)) < 0.6
    discriminants = fitted(keys, of_keys, labels, count=2)
    wider = torch.stack(
        [torch.cat((key, discriminants.of_key(key, cues))) for key, cues in zip(keys, of_keys, strict=True)]
    )
    asked = beside(query, discriminants.of_query(query, discriminants.sides(query, of_query)))
    return found(propagate(asked, lambda rows: wider[:, :, rows], values, radius=5, top_k=9))


def test_adjustment_gives_the_thin_what_is_near_to_it() -> None:
    values, inside = torch.zeros(1, 2, SIDE, SIDE), torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    values[:, 1, :, 12], values[:, 0] = 1, 1
    values[:, 0, :, 12] = 0
    scores = torch.full((2, SIDE, SIDE), 0.5)
    fair = logit_adjusted(scores, values, valid=inside, radius=5, strength=0.2)
    assert (fair[1, :, 12] > 0.55).all() and torch.allclose(fair.sum(dim=0), scores.sum(dim=0))
    assert logit_adjusted(scores, values, valid=inside, radius=5, strength=0) is scores
