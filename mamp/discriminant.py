"""What sets the objects of this clip apart: directions of the features that the masks in memory choose.

Features were learnt for any clip, and a vote counts all their directions alike. The memory knows more: which cells are
an object's and which are around it. Fisher's linear discriminant makes one direction of that for each object, and
matches whose ends lie on different sides of it count less.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mamp.matching import window_sums

_RIDGE = 0.1  # of the mean variance within a label: directions in which little was seen count less
_LEAST = 1e-4  # of the mean square of the features: a memory in which nothing varies tells nothing apart


def discriminant_channels(
    query: Tensor, keys: Tensor, values: Tensor, *, inside: Tensor, radius: int, strength: float
) -> tuple[Tensor, Tensor]:
    """Channels that, beside the features, take from a match by how far apart its ends lie along the discriminants.

    The scale is such that the mean of an object lies at 1 and that of all other labels at -1, and what lies beyond
    counts as there: between the two sides of one object twice ``strength`` is lost.

    Args:
        query: Features of the query (C, h, w).
        keys: Features of the references, laid over the query (N, C, h, w).
        values: Which cells of them are whose (N, K, h, w), K > 1, background first: 0 or 1.
        inside: Which cells of the references mean anything (N, h, w) bool.
        radius: Of the window in which cells are compared [cells]: what is farther from all objects of its own
            frame does not count as their surroundings.
        strength: As a share of the likeness of a feature to itself [>= 0].

    Returns:
        Channels of the query (K, h, w) and of the keys (N, K, h, w). The product of the channels, less the same number for
        all matches of a cell, is what is lost.
    """
    objects = values[:, 1:].amax(dim=1) * inside  # (N, h, w)
    counted = values * (inside * (window_sums(objects, radius) > 0))[:, None]  # (N, K, h, w)
    directions, middles, power = _fisher(keys, counted)
    scale = strength * power

    def sides(features: Tensor) -> Tensor:
        along = torch.matmul(directions, features.flatten(-2)).sub_(middles[:, None])
        return along.clamp_(-1, 1).view(*features.shape[:-3], -1, *features.shape[-2:])

    of_query, of_keys = sides(query), sides(keys)
    # -(a - b)^2 / 2 is ab - b^2 / 2, and -a^2 / 2, which all matches of the query's cell share.
    lost = of_keys.square().sum(dim=1, keepdim=True).mul_(-scale / 2)
    ones = torch.ones_like(query[:1])
    return torch.cat((of_query * scale, ones)), torch.cat((of_keys, lost), dim=1)


def beside(query: Tensor, channels: Tensor) -> Tensor:
    """The query's features and further channels, for matching, which divides by the root of the number of all of them.

    Args:
        query: Features (C, h, w).
        channels: As ``discriminant_channels`` gives them (K, h, w).

    Returns:
        (C + K, h, w), in which the features weigh as much as they did alone.
    """
    wider = torch.cat((query, channels))
    return wider * math.sqrt(len(wider) / len(query))


def _fisher(keys: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fisher's linear discriminant of each object against all other labels, each of which counts the same.

    Args:
        keys: Features (N, C, h, w).
        counted: Which cells count for which label (N, K, h, w): 0 or 1.

    Returns:
        Directions (K - 1, C) and middles (K - 1): features times direction less middle is 1 at the mean of the object
        and -1 at that of the others; zeros where there is nothing to tell apart. And the mean square of what counts.
    """
    C = keys.shape[1]
    cells = counted.sum(dim=(0, 2, 3), dtype=torch.float64)  # (K,)
    present = cells > 0
    count = present.sum()
    share = present / count.clamp(min=1)  # of each label in what is seen
    weight = share / cells.clamp(min=1)  # of a cell, by label
    moment = keys.new_zeros(C, C, dtype=torch.float64)
    means = keys.new_zeros(len(cells), C, dtype=torch.float64)
    for key, whose in zip(keys, counted, strict=True):
        taken = whose.sum(dim=0) > 0
        # Sums of thousands of numbers: in single precision they would hang on the number of threads.
        features, labels = key[:, taken].double(), whose[:, taken].double()  # (C, n), (K, n)
        moment += (features * (weight @ labels)) @ features.T
        means += labels @ features.T
    means /= cells.clamp(min=1)[:, None]
    power = moment.trace()
    within = moment - (means.T * share) @ means
    ridge = _RIDGE * within.trace().clamp(min=0) / C + _LEAST * power / C
    within.diagonal().add_(ridge.clamp(min=1e-30))
    others = (means.sum(dim=0) - means[1:]) / (count - 1).clamp(min=1)
    raw = torch.linalg.solve(within, (means[1:] - others).T).T  # (K - 1, C)
    far, near = (means[1:] * raw).sum(dim=1), (others * raw).sum(dim=1)
    half = (far - near) / 2  # > 0 unless the means are the same
    told = present[1:] & (count > 1) & (half > 0)
    scale = told / half.masked_fill(~told, 1)
    return (raw * scale[:, None]).to(keys.dtype), ((far + near) / 2 * scale).to(keys.dtype), power.to(keys.dtype)
