"""What sets the objects of this clip apart: directions that the masks in memory choose.

Features were learnt for any clip, and a vote counts all their directions alike. The memory knows more: which cells are
an object's and which are around it. Fisher's linear discriminant makes one direction of that for each object, and
matches whose ends lie on different sides of it count less. So do cells of memory on the other side than the label that
was found for them: one wrong vote is not to teach the next. What it sees of a cell are its feature, its cues and random
functions of both, so that a side need not be bounded by a plane.
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

_RIDGE = 0.02  # of the mean variance within a label: directions in which little was seen count less
_LEAST = 1e-6  # of the mean square of what is seen: a memory in which nothing varies tells nothing apart
_BENDS = 128  # random functions: twice as many are no better
_BLOCK = 4096  # cells whose functions a CPU has in its cache
_LANES = 16  # of several directions, filled up with zeros: BLAS is up to three times as fast at a multiple of it
_UNLIKE = 0.3  # how far background may lie on an object's side undoubted: it looks like many things, an object like few


@dataclass(frozen=True)
class ClassStatistics:
    """Of the cells that one label has in one frame or in several; L functions of a cell."""

    cells: Tensor  # how many, ()
    sums: Tensor  # of the functions (L,)
    products: Tensor  # of any two, summed (L, L) in single precision, for many objects in many frames are held

    def __add__(self, other: ClassStatistics) -> ClassStatistics:
        products = self.products.double() + other.products
        return ClassStatistics(self.cells + other.cells, self.sums + other.sums, products)


def class_statistics(key: Tensor, cues: Tensor, value: Tensor, *, radius: int) -> dict[int, ClassStatistics]:
    """What a frame in memory tells of its labels.

    Args:
        key: Features (C, h, w).
        cues: As ``color_features`` (D, h, w).
        value: Labels (h, w) uint8; 0 is the background.
        radius: Of the window in which cells are compared [cells]: what is farther from all objects does not count as
            their surroundings.

    Returns:
        ClassStatistics by label; only of labels that are there.
    """
    near = box_sum((value > 0).float()[None], radius)[0] > 0
    found = {}
    for label in torch.unique(value[near]).tolist():
        whose = (near & (value == label)).flatten().nonzero()[:, 0]
        # Sums of thousands of numbers: in single precision they would hang on the number of threads.
        seen = _functions(gather_cells(key, whose).T.float(), gather_cells(cues, whose).T).double()
        found[label] = ClassStatistics(
            torch.tensor(len(seen), dtype=seen.dtype), seen.sum(dim=0), (seen.T @ seen).float()
        )
    return found


class Discriminants:
    """Fisher's linear discriminant of each object against all other labels, each of which counts the same.

    Args:
        memory: ClassStatistics of the frames in memory, as ``class_statistics`` gives them.
        labels: All labels, background first.
        strength: What a match across a discriminant loses, as a share of the likeness of a feature to itself [>= 0].
    """

    def __init__(
        self, memory: Iterable[Mapping[int, ClassStatistics]], labels: Sequence[int], *, strength: float
    ) -> None:
        self._strength = strength
        self._objects = len(labels) - 1
        seen: dict[int, ClassStatistics] = {}
        for frame in memory:
            for label, of_label in frame.items():
                seen[label] = seen[label] + of_label if label in seen else of_label
        present = [number for number, label in enumerate(labels) if label in seen]
        self._told = [number - 1 for number in present if number > 0] if len(present) > 1 else []
        if not self._told:
            return
        means = torch.stack([seen[labels[number]].sums / seen[labels[number]].cells for number in present])
        squares = sum(seen[labels[number]].products.double() / seen[labels[number]].cells for number in present) / len(
            present
        )
        assert isinstance(squares, Tensor)
        within = squares - means.T @ means / len(present)
        ridge = _RIDGE * within.trace().clamp(min=0) + _LEAST * squares.trace()
        within.diagonal().add_((ridge / len(within)).clamp(min=1e-30))
        others = (means.sum(dim=0) - means) / (len(present) - 1)
        are_objects = [place for place, number in enumerate(present) if number > 0]
        of_objects, others = means[are_objects], others[are_objects]
        directions = torch.linalg.solve(within, (of_objects - others).T).T
        half = ((of_objects - others) * directions).sum(dim=1).div(2).clamp(min=1e-12)  # 0 where the means are the same
        middles = ((of_objects + others) * directions).sum(dim=1) / 2
        directions, middles = directions / half[:, None], middles / half
        if len(directions) > 1:
            more = -len(directions) % _LANES
            directions, middles = F.pad(directions, (0, 0, 0, more)), F.pad(middles, (0, more))
        directions, middles = directions.float().T, middles.float()
        # What is linear in a cell, ``_functions`` before they bend and then the sides, is one product.
        inputs = len(directions) - _BENDS
        weights, offsets = (each.to(directions.device) for each in _projections(inputs))
        self._linear = torch.cat((weights, directions[:inputs]), dim=1)
        self._offsets = torch.cat((offsets, -middles))
        self._of_bends = directions[inputs:].contiguous()

    def of_query(self, query: Tensor, sides: Tensor) -> Tensor:
        """Channels for ``beside``: the product with those of a key, less the same number for all keys, is what is lost.

        Args:
            query: Features (C, h, w).
            sides: Where its cells lie, as ``sides`` says (K - 1, h, w).

        Returns:
            (K, h, w).
        """
        likeness = query.square().sum(dim=0).mean()
        return torch.cat((sides * (self._strength * likeness), likeness.expand(1, *query.shape[1:])))

    def of_key(self, key: Tensor, cues: Tensor, doubted: Tensor | None = None) -> Tensor:
        """As ``of_query``, for a reference.

        Args:
            key: Features (C, h, w).
            cues: As ``color_features`` (D, h, w).
            doubted: Which cells are whose (K, h, w) bool, where masks may be wrong; ``None`` where they are not
                doubted. An object's cell loses votes by how far it lies on the other side of its own discriminant, and
                background by how far it lies on any object's beyond 0.3 of the way to its mean.

        Returns:
            (K, h, w).
        """
        sides = self.sides(key, cues)
        # -(a - b)^2 / 2 is ab - b^2 / 2, and -a^2 / 2, which all matches of the query's cell share.
        lost = sides.square().sum(dim=0, keepdim=True) / 2
        if doubted is not None:
            astray = torch.where(doubted[1:], -sides, (sides - _UNLIKE) / (1 - _UNLIKE) * doubted[:1])
            lost += astray.clamp(min=0).amax(dim=0, keepdim=True)
        return torch.cat((sides, lost * -self._strength))

    def sides(self, features: Tensor, cues: Tensor) -> Tensor:
        """Where cells lie: 1 at the mean of an object and beyond, -1 at that of all others.

        Args:
            features: Of a query or a reference (C, h, w).
            cues: As ``color_features`` (D, h, w).

        Returns:
            By object (K - 1, h, w) [-1, 1]; 0 for one that no mask in memory shows.
        """
        sides = features.new_zeros(self._objects, *features.shape[1:])
        if self._told:
            cells, others = (of_cells.flatten(1).T for of_cells in (features, cues))
            at_once = _BLOCK if features.device.type == "cpu" else len(cells)
            blocks = zip(torch.split(cells, at_once), torch.split(others, at_once), strict=True)
            along = torch.cat([self._along(*block) for block in blocks])
            sides[self._told] = along.clamp_(-1, 1).T[: len(self._told)].view(-1, *features.shape[1:])
        return sides

    def _along(self, features: Tensor, cues: Tensor) -> Tensor:
        """Where cells (n, C) and (n, D) lie along the discriminants; no ``_functions`` laid side by side."""
        C = features.shape[1]
        both = torch.addmm(self._offsets, cues, self._linear[C:]).addmm_(_of_one_length(features), self._linear[:C])
        bends, along = both[:, :_BENDS], both[:, _BENDS:]
        return torch.addmm(along, bends.relu_(), self._of_bends)


def beside(query: Tensor, channels: Tensor) -> Tensor:
    """The query's features and further channels, for matching, which divides by the root of the number of all of them.

    Args:
        query: Features (C, h, w).
        channels: As ``Discriminants.of_query`` (K, h, w).

    Returns:
        (C + K, h, w), in which the features weigh as much as they did alone.
    """
    wider = torch.cat((query, channels))
    return wider * math.sqrt(len(wider) / len(query))


def _functions(features: Tensor, cues: Tensor) -> Tensor:
    """What a discriminant sees of cells (n, C) and (n, D): both, and random functions of both (n, C + D + ``_BENDS``).

    Rectified random projections, after Rahimi and Recht ("Random features for large-scale kernel machines", 2007).
    """
    seen = torch.cat((_of_one_length(features), cues), dim=1)
    weights, offsets = _projections(seen.shape[1])
    bends = torch.addmm(offsets.to(seen.device), seen, weights.to(seen.device)).relu_()
    return torch.cat((seen, bends), dim=1)


def _of_one_length(features: Tensor) -> Tensor:
    """Features (n, C) with a mean square of 1."""
    scale: Tensor = math.sqrt(features.shape[1]) / features.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return features * scale


@cache
def _projections(inputs: int) -> tuple[Tensor, Tensor]:
    """The same ones in every run: weights (inputs, ``_BENDS``) and offsets (``_BENDS``,)."""
    numbers = np.random.default_rng(0).standard_normal((_BENDS, inputs + 1)).astype(np.float32)
    weights = torch.from_numpy(numbers[:, :-1].T / math.sqrt(inputs))
    return weights.contiguous(), torch.from_numpy(numbers[:, -1].copy())
