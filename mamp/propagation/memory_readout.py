"""What the memory says of a frame: references are laid over it and fitted to the objects, then their best matches vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mamp.flow.warp import gather_cells, source_indices
from mamp.propagation.alignment import extents
from mamp.propagation.local_matching import SMALL_BLOCK, box_sum, logit_adjusted, propagate
from mamp.propagation.memory_bank import MemoryFrame
from mamp.propagation.object_discriminant import Discriminants, beside


@dataclass(frozen=True)
class Reference:
    """A frame in memory, as one query asks it."""

    memory: MemoryFrame
    motion: Tensor | None  # displacement of the query to it (2, h, w) [cells]; None: it is taken as it lies
    trusted: bool  # its mask is not doubted

    @cached_property
    def sources(self) -> tuple[Tensor, Tensor]:
        """Cell indices of the reference for every query cell, and their validity (h, w), both; see ``source_indices``."""
        if self.motion is None:
            value = self.memory.value
            return torch.arange(value.numel(), device=value.device).view_as(value), torch.ones_like(
                value, dtype=torch.bool
            )
        # Whole cells, as the authors take them: between them what is thin, or like its surroundings, is blurred.
        return source_indices(self.motion.round())


@dataclass(frozen=True)
class Query:
    """A frame that asks references for labels."""

    key: Tensor  # features (C, h, w) float
    cues: Tensor  # what else tells cells apart (D, h, w)
    references: Sequence[Reference]
    labels: Sequence[int]  # background first
    fitted: Discriminants | None  # what sets the labels apart in the references, where that is asked for

    @cached_property
    def sides(self) -> Tensor:
        """Where cells lie between each object and all others (K - 1, h, w); see ``Discriminants.sides``."""
        assert self.fitted is not None
        return self.fitted.sides(self.key, self.cues)


class MemoryReader:
    """The vote of references; for the arguments see ``MaskTracker``.

    Raises:
        ValueError: A number is out of its range.

    Attributes:
        short_of_memory: Whether the device ran out of memory in matching, which goes on in smaller blocks since then.
    """

    def __init__(self, *, radius: int, top_k: int | None, discriminant_weight: float, logit_adjustment: float) -> None:
        if radius < 0:
            raise ValueError(f"radius must be 0 or more, not {radius}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be 1 or more, or None for all, not {top_k}")
        if not (0 <= discriminant_weight < math.inf and 0 <= logit_adjustment < math.inf):
            raise ValueError(f"weights must be 0 or more, not {discriminant_weight} and {logit_adjustment}")
        self._radius, self._top_k = radius, top_k
        self._discriminant_weight, self._logit_adjustment = discriminant_weight, logit_adjustment
        self.short_of_memory = False

    def query(self, key: Tensor, cues: Tensor, references: Sequence[Reference], labels: Sequence[int]) -> Query:
        """A frame as it asks references; for the arguments see ``Query``."""
        fitted = None
        if self._discriminant_weight and len(labels) > 1:
            told = [reference.memory.class_statistics for reference in references]
            fitted = Discriminants(told, labels, strength=self._discriminant_weight)
        return Query(key, cues, references, labels, fitted)

    def __call__(self, query: Query, *, asked: Tensor | None = None) -> Tensor:
        """Scores of the labels.

        Args:
            query: The frame.
            asked: Which of its cells are asked for (h, w) bool; all if not given.

        Returns:
            (K, h, w); they sum to 1. What nothing may vote on came into view: it is background, as is what is not asked.
        """
        laid = [reference.sources for reference in query.references]
        place, inside = torch.stack([place for place, _ in laid]), torch.stack([came for _, came in laid])
        labels = [reference.memory.value[None] for reference in query.references]
        shown = torch.cat([gather_cells(*each) for each in zip(labels, place, strict=True)])  # (N, h, w)
        key = query.key
        scores = key.new_zeros(len(query.labels), *key.shape[1:])
        # What no window with an object in it reaches is background: its keys need not be laid over the query.
        reached = self.reached(((shown > 0) & inside).any(dim=0))
        if asked is not None:
            reached &= asked
        (extent,) = extents(reached[None])
        if extent is None:
            scores[0] = 1
            return scores
        margin = self._radius
        rows, columns = (slice(max(0, first - margin), last + margin + 1) for first, last in extent)
        box, near = (rows, columns), (slice(None), rows, columns)
        place, shown, inside, reached = place[near], shown[near], inside[near], reached[box]  # of (rows, columns)
        whose = torch.tensor(query.labels, device=key.device)[:, None, None]
        values = (shown[:, None] == whose).to(key.dtype)  # (N, K, rows, columns)
        if query.fitted:
            key = beside(key, query.fitted.of_query(key, query.sides))

        def keys(some: slice) -> Iterator[Tensor]:
            for reference, places, value in zip(query.references, place[:, some], shown[:, some], strict=True):
                key = gather_cells(reference.memory.key, places).float()
                if query.fitted:
                    cues = gather_cells(reference.memory.cues, places)
                    doubted = None if reference.trusted else value == whose
                    # Side by side in memory as they are, channels last.
                    both = (key.permute(1, 2, 0), query.fitted.of_key(key, cues, doubted).permute(1, 2, 0))
                    key = torch.cat(both, dim=2).permute(2, 0, 1)
                yield key

        def vote(block: int | None) -> Tensor:
            return propagate(
                key[near],
                keys,
                values,
                valid=inside,
                query_mask=reached,
                radius=self._radius,
                top_k=self._top_k,
                block=block,
            )

        found = self._spare_memory(vote)
        fair = logit_adjusted(found, values, valid=inside, radius=self._radius, strength=self._logit_adjustment)
        scores[near] = fair * reached
        scores[0] += 1 - scores.sum(dim=0)
        return scores

    def reached(self, cells: Tensor) -> Tensor:
        """Which cells have one of some (h, w) bool in their window (h, w) bool."""
        return box_sum(cells[None].float(), self._radius)[0] > 0.5

    def _spare_memory(self, vote: Callable[[int | None], Tensor]) -> Tensor:
        """A vote, in small blocks since the device ran out of memory once."""
        try:
            return vote(SMALL_BLOCK if self.short_of_memory else None)
        except torch.OutOfMemoryError:
            if self.short_of_memory:
                raise
            self.short_of_memory = True
        torch.cuda.empty_cache()
        return vote(SMALL_BLOCK)
