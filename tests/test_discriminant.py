"""What tells the objects of a clip apart, from the features in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mamp.discriminant import beside, discriminant_channels
from mamp.matching import adjusted, propagate

SIDE, RADIUS = 24, 3


def one_hot(labels: Tensor, count: int) -> Tensor:
    return torch.stack([(labels == label).float() for label in range(count)], dim=1)


def some_memory(count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A query, two references, their values and which of their cells may vote."""
    torch.manual_seed(0)
    query, keys = torch.randn(6, SIDE, SIDE), torch.randn(2, 6, SIDE, SIDE)
    labels = torch.zeros(2, SIDE, SIDE)
    labels[:, 4:9, 4:9], labels[:, 8:12, 12:20] = 1, 2
    keys[:, 1] += 2 * (labels == 1)
    keys[:, 2] += 3 * (labels == 2)
    return query, keys, one_hot(labels, count), torch.rand(2, SIDE, SIDE) > 0.1


def sides_by_definition(features: Tensor, keys: Tensor, values: Tensor, inside: Tensor) -> Tensor:
    """Where features (6, ...) lie between each object (1) and the others (-1), cell by cell in NumPy (K - 1, ...)."""
    near = np.zeros((len(keys), SIDE, SIDE), bool)
    for number, y, x in torch.nonzero((values[:, 1:].sum(dim=1) > 0) & inside).tolist():
        near[number, max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1] = True
    cells = keys.permute(0, 2, 3, 1).double().numpy()
    which = values.argmax(dim=1).numpy()
    groups = [cells[(which == label) & inside.numpy() & near] for label in range(values.shape[1])]
    means = [group.mean(axis=0) for group in groups]
    within = np.mean([np.cov(group.T, bias=True) for group in groups], axis=0)
    power = np.mean([(group**2).sum(axis=1).mean() for group in groups])
    within += np.eye(6) * (0.1 * np.trace(within) + 1e-4 * power) / 6
    found = []
    for label in range(1, len(groups)):
        others = np.mean([mean for other, mean in enumerate(means) if other != label], axis=0)
        direction = np.linalg.inv(within) @ (means[label] - others)
        near_end, far_end = others @ direction, means[label] @ direction
        along = np.tensordot(direction, features.double().numpy(), axes=1)
        found.append(np.clip(2 * (along - near_end) / (far_end - near_end) - 1, -1, 1))
    return torch.from_numpy(np.stack(found))


def test_channels_take_from_matches_across_fishers_discriminants() -> None:
    query, keys, values, inside = some_memory()
    of_query, of_keys = discriminant_channels(query, keys, values, inside=inside, radius=RADIUS, strength=0.2)
    product = (of_query[:, 7, 9, None, None, None] * of_keys.transpose(0, 1)).sum(dim=0).double()
    asked = sides_by_definition(query[:, 7, 9], keys, values, inside)
    offered = sides_by_definition(keys.transpose(0, 1), keys, values, inside)
    lost = (asked[:, None, None, None] - offered).square().sum(dim=0) / 2
    differences = -(lost - lost[0, 0, 0])
    share = (product - product[0, 0, 0]) / differences
    share = share[differences.abs() > 0.1]
    assert share.min() > 0 and torch.allclose(share, share[0].expand_as(share), rtol=1e-4)


def test_strength_is_a_share_of_the_likeness_of_a_feature_to_itself() -> None:
    query, keys, values, inside = some_memory(2)
    keys = torch.nn.functional.normalize(keys, dim=1) * 5
    of_query, of_keys = discriminant_channels(query, keys, values, inside=inside, radius=RADIUS, strength=0.2)
    assert of_query[0].abs().max() == pytest.approx(0.2 * 25) and of_keys[:, 0].abs().max() == 1
    assert of_keys[:, 1].min() == pytest.approx(-0.1 * 25) and (of_query[1] == 1).all()


@pytest.mark.parametrize("shown", ["nothing", "one label only", "features that are all the same", "all the frame"])
def test_where_nothing_tells_objects_apart_nothing_is_lost(shown: str) -> None:
    query, keys, values, inside = some_memory()
    if shown == "nothing":
        inside = torch.zeros_like(inside)
    elif shown == "one label only":
        values = one_hot(torch.zeros(2, SIDE, SIDE), 3)
    elif shown == "all the frame":
        values = one_hot(torch.ones(2, SIDE, SIDE), 3)
    else:
        keys = torch.zeros_like(keys)
    of_query, of_keys = discriminant_channels(query, keys, values, inside=inside, radius=RADIUS, strength=0.2)
    assert not (of_query[:, None] * of_keys.transpose(0, 1)).any()


def test_a_thin_object_that_one_direction_of_eight_tells_apart_is_found() -> None:
    torch.manual_seed(1)
    labels = torch.zeros(2, SIDE, SIDE)
    labels[:, 6:18, 11:14] = 1
    values, inside = one_hot(labels, 2), torch.ones_like(labels, dtype=torch.bool)

    def features(labels: Tensor) -> Tensor:
        of_cells = torch.randn(*labels.shape, 8)
        of_cells[..., 0] = labels - 0.5 + 0.3 * of_cells[..., 0]
        return 3 * torch.nn.functional.normalize(of_cells, dim=-1).movedim(-1, -3)

    query, keys = features(labels[0]), features(labels)

    def found(scores: Tensor) -> float:
        answer = scores.argmax(dim=0).bool()
        assert (answer & ~labels[0].bool()).float().mean() < 0.01
        return float(answer[labels[0].bool()].float().mean())

    plain = propagate(query, keys, values, radius=5, top_k=9)
    channels, of_keys = discriminant_channels(query, keys, values, inside=inside, radius=5, strength=0.2)
    told_apart = propagate(beside(query, channels), torch.cat((keys, of_keys), dim=1), values, radius=5, top_k=9)
    assert found(plain) < 0.5 < 0.7 < found(told_apart)
    assert found(adjusted(plain, values, inside=inside, radius=5, strength=0.2)) > found(plain) + 0.1
