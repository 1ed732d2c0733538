"""Object-adaptive matching: a linear discriminant of each object, fitted to the masks in memory.

The encoder's features are trained for any clip, and matching weighs all their directions equally. The memory shows which
cells belong to an object and which surround it; Fisher's linear discriminant turns that into one direction per object.
Matches between cells with different discriminant scores are penalized, and so are memory cells whose score contradicts
their predicted label, lest one wrong match corrupt the next frame. The inputs of a discriminant are features, auxiliary
features and random functions of both, so that decision boundaries need not be planes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.flow.warp import gather_cells
from mamp.propagation.local_matching import box_sum

_RIDGE = 0.02  # share of the mean within-class variance: damps directions with little data
_MIN_RIDGE = 1e-6  # share of the mean square input: without any variance, no discriminant separates
_NUM_RANDOM_FEATURES = 128  # twice as many are no better
_MAX_CELLS = 2048  # of a label in a frame: enough for its mean and its covariance
_BLOCK = 4096  # cells whose random features fit into a CPU's cache
_DIRECTIONS_MULTIPLE = 16  # several directions are zero-padded to it: BLAS is up to three times as fast
_BACKGROUND_TOLERANCE = 0.3  # object score that is not held against background, which looks like many things


@dataclass(frozen=True)
class ClassStatistics:
    """Sums over the cells of one label, in one or more frames; each cell has L inputs of a discriminant."""

    count: Tensor  # number of cells, ()
    sums: Tensor  # inputs, summed (L,)
    products: Tensor  # products of any two, summed (L, L); in single precision, to hold many objects and frames

    def __add__(self, other: ClassStatistics) -> ClassStatistics:
        products = self.products.double() + other.products
        return ClassStatistics(self.count + other.count, self.sums + other.sums, products)


def class_statistics(key: Tensor, cues: Tensor, value: Tensor, *, radius: int) -> dict[int, ClassStatistics]:
    """Statistics of each label in a frame.

    Args:
        key: Features (C, h, w).
        cues: Auxiliary features (D, h, w).
        value: Labels (h, w) uint8; 0 is the background.
        radius: Matching radius [cells]: background further away from all objects is ignored.

    Returns:
        Statistics by label, for labels that the frame shows.
    """
    near_object = box_sum((value > 0).float()[None], radius)[0] > 0
    statistics = {}
    for label in torch.unique(value[near_object]).tolist():
        cells = (near_object & (value == label)).flatten().nonzero()[:, 0]
        cells = cells[:: 1 + len(cells) // _MAX_CELLS]
        # Sums of thousands of numbers: in single precision they would depend on the number of threads.
        inputs = discriminant_inputs(gather_cells(key, cells).T.float(), gather_cells(cues, cells).T).double()
        count = torch.tensor(len(inputs), dtype=inputs.dtype)
        statistics[label] = ClassStatistics(count, inputs.sum(dim=0), (inputs.T @ inputs).float())
    return statistics


class Discriminants:
    """Fisher's linear discriminant of each object against all other labels, which are weighted equally.

    Args:
        memory: Statistics of the frames in memory, see ``class_statistics``.
        labels: All labels, background first.
        strength: Penalty of a match across a discriminant, as a share of the similarity of a feature to itself [>= 0].
    """

    def __init__(
        self, memory: Iterable[Mapping[int, ClassStatistics]], labels: Sequence[int], *, strength: float
    ) -> None:
        self._strength = strength
        self._num_objects = len(labels) - 1
        total: dict[int, ClassStatistics] = {}
        for frame in memory:
            for label, statistics in frame.items():
                total[label] = total[label] + statistics if label in total else statistics
        present = [channel for channel, label in enumerate(labels) if label in total]
        # Objects with a discriminant.
        self._fitted = [channel - 1 for channel in present if channel > 0] if len(present) > 1 else []
        if not self._fitted:
            return
        classes = [total[labels[channel]] for channel in present]
        self._set_directions(*_directions_of_classes(classes, [channel > 0 for channel in present]))

    @classmethod
    def of_directions(cls, directions: Tensor, midpoints: Tensor, *, strength: float) -> Discriminants:
        """Discriminants of all objects from their directions (K - 1, L) and midpoints (K - 1,)."""
        discriminants = cls((), range(len(directions) + 1), strength=strength)
        discriminants._fitted = list(range(len(directions)))
        discriminants._set_directions(directions, midpoints)
        return discriminants

    def _set_directions(self, directions: Tensor, midpoints: Tensor) -> None:
        """Prepares ``scores``."""
        if len(directions) > 1:
            missing = -len(directions) % _DIRECTIONS_MULTIPLE
            directions, midpoints = F.pad(directions, (0, 0, 0, missing)), F.pad(midpoints, (0, missing))
        directions, midpoints = directions.float().T, midpoints.float()
        # One product computes all that is linear in a cell: the random projections, and the directions' linear part.
        linear = len(directions) - _NUM_RANDOM_FEATURES
        weights, offsets = _random_projections(linear, directions.device)
        self._linear_weights = torch.cat((weights, directions[:linear]), dim=1)
        self._offsets = torch.cat((offsets, -midpoints))
        self._random_feature_weights = directions[linear:].contiguous()

    def query_channels(self, query: Tensor, scores: Tensor) -> Tensor:
        """Channels for ``append_channels``: their product with a key's, up to a constant, is minus the penalty of a match.

        Args:
            query: Features (C, h, w).
            scores: Discriminant scores of the cells (K - 1, h, w).

        Returns:
            (K, h, w).
        """
        self_similarity = query.square().sum(dim=0).mean()
        return torch.cat((scores * (self._strength * self_similarity), self_similarity.expand(1, *query.shape[1:])))

    def key_channels(self, key: Tensor, cues: Tensor, unreliable: Tensor | None = None) -> Tensor:
        """Channels of a reference, see ``query_channels``.

        Args:
            key: Features (C, h, w).
            cues: Auxiliary features (D, h, w).
            unreliable: One-hot labels (K, h, w) bool if they may be wrong. Object cells are then penalized by their own
                object's negative score, background cells by any object's score beyond 0.3.

        Returns:
            (K, h, w).
        """
        scores = self.scores(key, cues)
        # -(a - b)^2 / 2 is ab - b^2 / 2, and -a^2 / 2, which all matches of the query's cell share.
        penalty = scores.square().sum(dim=0, keepdim=True) / 2
        if unreliable is not None:
            background = (scores - _BACKGROUND_TOLERANCE) / (1 - _BACKGROUND_TOLERANCE) * unreliable[:1]
            contradiction = torch.where(unreliable[1:], -scores, background)
            penalty += contradiction.clamp(min=0).amax(dim=0, keepdim=True)
        return torch.cat((scores, penalty * -self._strength))

    def scores(self, features: Tensor, cues: Tensor) -> Tensor:
        """Signed discriminant scores: 1 at the mean of an object and beyond, -1 at that of all other labels.

        Args:
            features: Features of a query or a reference (C, h, w).
            cues: Auxiliary features (D, h, w).

        Returns:
            Scores by object (K - 1, h, w) [-1, 1]; 0 for an object that no mask in memory shows.
        """
        scores = features.new_zeros(self._num_objects, *features.shape[1:])
        if self._fitted:
            feature_rows, cue_rows = features.flatten(1).T, cues.flatten(1).T
            block = _BLOCK if features.device.type == "cpu" else len(feature_rows)
            blocks = zip(torch.split(feature_rows, block), torch.split(cue_rows, block), strict=True)
            projected = torch.cat([self._project(*each) for each in blocks])
            projected = projected.clamp_(-1, 1).T[: len(self._fitted)].view(len(self._fitted), *features.shape[1:])
            if len(self._fitted) == self._num_objects:
                return projected.contiguous()
            scores[self._fitted] = projected
        return scores

    def _project(self, features: Tensor, cues: Tensor) -> Tensor:
        """Scores of cells (n, C) and (n, D), unclamped; avoids building ``discriminant_inputs``."""
        C = features.shape[1]
        linear = torch.addmm(self._offsets, cues, self._linear_weights[C:])
        linear = linear.addmm_(_normalized(features), self._linear_weights[:C])
        random_features, scores = linear[:, :_NUM_RANDOM_FEATURES].relu_(), linear[:, _NUM_RANDOM_FEATURES:]
        return torch.addmm(scores, random_features, self._random_feature_weights)


def fisher_directions(within: Tensor, squares: Tensor, means: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (n, L) and midpoints (n,) of n objects: score = direction @ input - midpoint.

    Args:
        within: Mean covariance within the classes (L, L); the ridge is added to it.
        squares: Mean product of any two inputs (L, L).
        means: Mean inputs of the objects (n, L).
        others: Mean inputs of all other classes of each object (n, L).
    """
    ridge = _RIDGE * within.trace().clamp(min=0) + _MIN_RIDGE * squares.trace()
    within.diagonal().add_((ridge / len(within)).clamp(min=1e-30))
    # Unlike ``solve``, it does not make the host wait to check for a singular matrix, which the ridge excludes.
    directions = torch.linalg.solve_ex(within, (means - others).T).result.T
    half = ((means - others) * directions).sum(dim=1).div(2).clamp(min=1e-12)  # 0 where the means are equal
    midpoints = ((means + others) * directions).sum(dim=1) / 2
    return directions / half[:, None], midpoints / half


def _directions_of_classes(classes: Sequence[ClassStatistics], are_objects: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """``fisher_directions`` of the objects among some classes."""
    means = torch.stack([each.sums / each.count for each in classes])
    squares = sum(each.products.double() / each.count for each in classes) / len(classes)
    assert isinstance(squares, Tensor)
    others = (means.sum(dim=0) - means) / (len(classes) - 1)
    objects = [index for index, is_object in enumerate(are_objects) if is_object]
    within = squares - means.T @ means / len(classes)
    return fisher_directions(within, squares, means[objects], others[objects])


def append_channels(query: Tensor, channels: Tensor) -> Tensor:
    """Appends channels to the query's features, scaled for matching, which divides by the root of the number of channels.

    Args:
        query: Features (C, h, w).
        channels: Channels from ``Discriminants.query_channels`` (K, h, w).

    Returns:
        (C + K, h, w), in which the features have the same weight as before.
    """
    extended = torch.cat((query, channels))
    return extended * math.sqrt(len(extended) / len(query))


def discriminant_inputs(features: Tensor, cues: Tensor) -> Tensor:
    """Features (n, C), auxiliary features (n, D) and random functions of both (n, C + D + ``_NUM_RANDOM_FEATURES``).

    Rectified random projections, after Rahimi and Recht ("Random features for large-scale kernel machines", 2007).
    """
    linear = torch.cat((_normalized(features), cues), dim=1)
    weights, offsets = _random_projections(linear.shape[1], linear.device)
    random_features = torch.addmm(offsets, linear, weights).relu_()
    return torch.cat((linear, random_features), dim=1)


def _normalized(features: Tensor) -> Tensor:
    """Features (n, C), scaled to a mean square of 1."""
    scale: Tensor = math.sqrt(features.shape[1]) / features.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return features * scale


@cache
def _random_projections(inputs: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Fixed weights (inputs, ``_NUM_RANDOM_FEATURES``) and offsets (``_NUM_RANDOM_FEATURES``,), the same in every run."""
    numbers = np.random.default_rng(0).standard_normal((_NUM_RANDOM_FEATURES, inputs + 1)).astype(np.float32)
    weights = torch.from_numpy(numbers[:, :-1].T / math.sqrt(inputs))
    return weights.contiguous().to(device), torch.from_numpy(numbers[:, -1].copy()).to(device)
