"""Linear discriminants of the objects, fitted to the features in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mamp.propagation.local_matching import logit_adjusted, propagate
from mamp.propagation.object_discriminant import Discriminants, append_channels, class_statistics, discriminant_inputs

SIDE, RADIUS = 24, 3


def one_hot(labels: Tensor, count: int) -> Tensor:
    return torch.stack([(labels == label).float() for label in range(count)], dim=1)


def random_memory(count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Features and cues of a query, those of two references, and their labels."""
    torch.manual_seed(0)
    query, keys = torch.randn(6, SIDE, SIDE), torch.randn(2, 6, SIDE, SIDE)
    query_cues, key_cues = torch.randn(2, SIDE, SIDE), torch.randn(2, 2, SIDE, SIDE)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 4:9, 4:9] = 1
    if count > 2:
        labels[:, 8:12, 12:20] = 2
    keys[:, 1] += 2 * (labels == 1)
    key_cues[:, 1] += 3 * (labels == 2)
    return query, query_cues, keys, key_cues, labels


def fitted(keys: Tensor, cues: Tensor, labels: Tensor, count: int = 3, strength: float = 0.2) -> Discriminants:
    statistics = [class_statistics(*frame, radius=RADIUS) for frame in zip(keys, cues, labels, strict=True)]
    return Discriminants(statistics, range(count), strength=strength)


def scores_by_definition(inputs: Tensor, memory: Tensor, labels: Tensor) -> Tensor:
    """Discriminant scores of cells (n, L) for a memory (N, h, w, L), in NumPy: (K - 1, n)."""
    near = np.zeros(labels.shape, bool)
    for number, y, x in torch.nonzero(labels).tolist():
        near[number, max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1] = True
    cells = memory.double().numpy()
    groups = [cells[(labels == label).numpy() & near] for label in range(int(labels.max()) + 1)]
    means = [group.mean(axis=0) for group in groups]
    within = np.mean([np.cov(group.T, bias=True) for group in groups], axis=0)
    power = np.mean([(group**2).sum(axis=1).mean() for group in groups])
    within += np.eye(len(within)) * (0.02 * np.trace(within) + 1e-6 * power) / len(within)
    scores = []
    for label in range(1, len(groups)):
        others = np.mean([mean for other, mean in enumerate(means) if other != label], axis=0)
        direction = np.linalg.inv(within) @ (means[label] - others)
        near_end, far_end = others @ direction, means[label] @ direction
        along = inputs.double().numpy() @ direction
        scores.append(np.clip(2 * (along - near_end) / (far_end - near_end) - 1, -1, 1))
    return torch.from_numpy(np.stack(scores))


def test_a_sample_of_many_cells_has_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    key, cues = torch.randn(2, 64, 6, 90, 90, generator=torch.Generator().manual_seed(0))[:, 0]
    labels = torch.zeros(90, 90, dtype=torch.uint8)
    labels[10:80, 10:80] = 1
    sample = class_statistics(key, cues, labels, radius=RADIUS)
    monkeypatch.setattr("mamp.propagation.object_discriminant._MAX_CELLS", 90 * 90)
    every = class_statistics(key, cues, labels, radius=RADIUS)
    assert int(every[1].count) == 4900 and int(sample[1].count) == 1634
    for label in (0, 1):
        means, true_means = (each[label].sums / each[label].count for each in (sample, every))
        torch.testing.assert_close(means, true_means, atol=0.1, rtol=0)


def test_the_channels_penalize_matches_across_fishers_discriminants() -> None:
    query, query_cues, keys, key_cues, labels = random_memory()
    discriminants = fitted(keys, key_cues, labels)
    query_channels = discriminants.query_channels(query, discriminants.scores(query, query_cues))
    key_channels = torch.stack([discriminants.key_channels(*frame) for frame in zip(keys, key_cues, strict=True)])
    product = torch.einsum("k,nkhw->nhw", query_channels[:, 7, 9], key_channels).double()

    inputs = [
        discriminant_inputs(key.flatten(1).T, cues.flatten(1).T) for key, cues in zip(keys, key_cues, strict=True)
    ]
    memory = torch.stack(inputs).view(2, SIDE, SIDE, -1)
    query_score = scores_by_definition(
        discriminant_inputs(query[None, :, 7, 9], query_cues[None, :, 7, 9]), memory, labels
    )
    key_scores = scores_by_definition(memory.flatten(0, 2), memory, labels)
    penalty = (
        0.2 * query.square().sum(dim=0).mean() * ((query_score - key_scores).square().sum(dim=0) / 2).view_as(product)
    )
    assert torch.allclose(product - product[0, 0, 0], penalty[0, 0, 0] - penalty, atol=1e-4)


@pytest.mark.parametrize("shown", ["no object", "one label", "identical cells", "a frame-filling object"])
def test_without_a_discriminant_no_match_is_penalized(shown: str) -> None:
    query, query_cues, keys, key_cues, labels = random_memory()
    if shown == "no object":
        labels[:] = 0
    elif shown == "a frame-filling object":
        labels[:] = 1
    elif shown == "one label":
        labels[:] = 2
    else:
        keys, key_cues = torch.zeros_like(keys), torch.zeros_like(key_cues)
    discriminants = fitted(keys, key_cues, labels)
    key_channels = torch.stack([discriminants.key_channels(*frame) for frame in zip(keys, key_cues, strict=True)])
    product = torch.einsum(
        "khw,nkhw->nhw", discriminants.query_channels(query, discriminants.scores(query, query_cues)), key_channels
    )
    assert torch.allclose(product - product[0, 0, 0], torch.zeros_like(product), atol=1e-6)


def test_unreliable_cells_whose_score_contradicts_their_label_are_penalized() -> None:
    _, _, keys, key_cues, labels = random_memory(2)
    discriminants = fitted(keys, key_cues, labels, count=2)
    values = one_hot(labels, 2)[0] > 0
    reliable = discriminants.key_channels(keys[0], key_cues[0])
    unreliable = discriminants.key_channels(keys[0], key_cues[0], values)
    assert torch.equal(unreliable[0], reliable[0])
    assert torch.allclose(reliable[1] - unreliable[1], 0.2 * contradiction(reliable[0], labels[0]), atol=1e-6)
    inverted = discriminants.key_channels(keys[0], key_cues[0], ~values)
    assert torch.allclose(reliable[1] - inverted[1], 0.2 * contradiction(reliable[0], 1 - labels[0]), atol=1e-6)
    assert (inverted[1] < reliable[1]).any()


def test_object_cells_are_checked_by_their_own_discriminant_alone() -> None:
    _, _, keys, key_cues, labels = random_memory(3)
    discriminants = fitted(keys, key_cues, labels, count=3)
    key_cues[:, 1] += 3 * (labels == 1)  # now the first object looks like the second
    reliable = discriminants.key_channels(keys[0], key_cues[0])
    unreliable = discriminants.key_channels(keys[0], key_cues[0], one_hot(torch.ones_like(labels), 3)[0] > 0)
    first, second = reliable[:2]
    assert torch.allclose(reliable[2] - unreliable[2], 0.2 * (-first).clamp(min=0), atol=1e-6)
    assert ((second - 0.3) / 0.7 > (-first).clamp(min=0)).any()  # the second's score would contradict more


def contradiction(score: Tensor, label: Tensor) -> Tensor:
    """By how much scores contradict labels; background may have a small positive score."""
    return torch.where(label == 1, (-score).clamp(min=0), (score - 0.3).clamp(min=0) / 0.7)


def test_statistics_of_frames_add_up() -> None:
    _, _, keys, key_cues, labels = random_memory()
    one, other = (class_statistics(*frame, radius=RADIUS) for frame in zip(keys, key_cues, labels, strict=True))
    both = class_statistics(*(torch.cat(tuple(part), dim=-1) for part in (keys, key_cues, labels)), radius=RADIUS)
    together = one[1] + other[1]
    assert together.count == both[1].count == 50
    assert torch.allclose(together.products.float(), both[1].products) and torch.allclose(together.sums, both[1].sums)


def test_a_thin_object_that_differs_in_one_of_eight_directions_is_found() -> None:
    torch.manual_seed(1)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 6:18, 11:14] = 1

    def features(labels: Tensor) -> Tensor:
        cells = torch.randn(*labels.shape, 8)
        cells[..., 0] = labels - 0.5 + 0.3 * cells[..., 0]
        return 3 * torch.nn.functional.normalize(cells, dim=-1).movedim(-1, -3)

    query, keys = features(labels[0]), features(labels)
    assert (
        recall_with_discriminant(labels, query, keys, torch.zeros(2, 1, SIDE, SIDE), torch.zeros(1, SIDE, SIDE)) > 0.7
    )


def test_an_object_is_found_by_color_alone_with_a_nonlinear_boundary() -> None:
    torch.manual_seed(2)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 6:18, 9:15] = 1
    inner = labels[:, None].float()
    key_cues = torch.sign(torch.randn(2, 1, SIDE, SIDE)) * (1 - inner) * 1.5 + 0.1 * torch.randn(2, 1, SIDE, SIDE)
    keys = 3 * torch.nn.functional.normalize(torch.randn(2, 8, SIDE, SIDE), dim=1)
    query = 3 * torch.nn.functional.normalize(torch.randn(8, SIDE, SIDE), dim=0)
    assert recall_with_discriminant(labels, query, keys, key_cues, key_cues[0]) > 0.7


def recall_with_discriminant(
    labels: Tensor, query: Tensor, keys: Tensor, key_cues: Tensor, query_cues: Tensor
) -> float:
    """Share of the object's cells that are found, after a check that it is low without the discriminant."""
    values = one_hot(labels, 2)

    def recall(scores: Tensor) -> float:
        answer = scores.argmax(dim=0).bool()
        assert (answer & ~labels[0].bool()).float().mean() < 0.03
        return float(answer[labels[0].bool()].float().mean())

    assert recall(propagate(query, lambda rows: keys[:, :, rows], values, radius=5, top_k=9)) < 0.6
    discriminants = fitted(keys, key_cues, labels, count=2)
    keys_with_channels = torch.stack(
        [torch.cat((key, discriminants.key_channels(key, cues))) for key, cues in zip(keys, key_cues, strict=True)]
    )
    extended = append_channels(query, discriminants.query_channels(query, discriminants.scores(query, query_cues)))
    return recall(propagate(extended, lambda rows: keys_with_channels[:, :, rows], values, radius=5, top_k=9))


def test_logit_adjustment_favors_thin_objects_over_their_surroundings() -> None:
    values, valid = torch.zeros(1, 2, SIDE, SIDE), torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    values[:, 1, :, 12], values[:, 0] = 1, 1
    values[:, 0, :, 12] = 0
    scores = torch.full((2, SIDE, SIDE), 0.5)
    adjusted = logit_adjusted(scores, values, valid=valid, radius=5, strength=0.2)
    assert (adjusted[1, :, 12] > 0.55).all() and torch.allclose(adjusted.sum(dim=0), scores.sum(dim=0))
    assert logit_adjusted(scores, values, valid=valid, radius=5, strength=0) is scores
