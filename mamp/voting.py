"""What the memory says of a frame: references are laid over it and fitted to the objects, then their best matches vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mamp.discriminant import Discriminants, beside
from mamp.flow import fetch
from mamp.matching import SMALL_BLOCK, adjusted, propagate
from mamp.memory import Memory


@dataclass(frozen=True)
class Reference:
    """A frame in memory, as one query asks it."""

    memory: Memory
    motion: Tensor | None  # displacement of the query to it (2, h, w) [cells]; None: it is taken as it lies
    trusted: bool  # its mask is not doubted


class Vote:
    """The vote of references; for the arguments see ``MaskTracker``.

    Raises:
        ValueError: A number is out of its range.

    Attributes:
        short_of_memory: Whether the device ran out of memory in matching, which goes on in smaller blocks since then.
    """

    def __init__(self, *, radius: int, top_k: int | None, discriminant: float, adjustment: float) -> None:
        if radius < 0:
            raise ValueError(f"radius must be 0 or more, not {radius}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be 1 or more, or None for all, not {top_k}")
        if not (0 <= discriminant < math.inf and 0 <= adjustment < math.inf):
            raise ValueError(f"discriminant and adjustment must be 0 or more, not {discriminant} and {adjustment}")
        self._radius, self._top_k = radius, top_k
        self._discriminant, self._adjustment = discriminant, adjustment
        self.short_of_memory = False

    def __call__(self, query: Tensor, cues: Tensor, references: Sequence[Reference], labels: Sequence[int]) -> Tensor:
        """Scores of the labels.

        Args:
            query: Features (C, h, w).
            cues: What else tells cells apart (D, h, w).
            references: N of them.
            labels: K of them, background first.

        Returns:
            (K, h, w); they sum to 1. What nothing may vote on came into view: it is background.
        """
        whose = torch.tensor(labels, device=query.device)[:, None, None]
        fitted = self.fitted(references, labels) if self._discriminant and len(labels) > 1 else None
        C, further = len(query), len(labels) if fitted else 0
        # One reference at a time is laid into these: twice the Keys of all would be much to hold.
        keys = query.new_empty(len(references), C + further, *query.shape[1:])  # (N, C + further, h, w)
        values = query.new_empty(len(references), len(labels), *query.shape[1:])  # (N, K, h, w)
        inside = torch.ones_like(keys[:, 0], dtype=torch.bool)
        for number, reference in enumerate(references):
            memory = reference.memory
            value = memory.value == whose
            channels = [memory.key]
            if fitted:
                channels.append(fitted.of_key(memory.key, memory.cues, None if reference.trusted else value))
            if reference.motion is not None:
                # Whole cells, as the authors take them: between them what is thin, or like its surroundings, is blurred.
                (value, *channels), inside[number] = fetch(reference.motion.round(), value, *channels)
            torch.cat(channels, out=keys[number])
            values[number] = value
        if fitted:
            query = beside(query, fitted.of_query(query, cues))
        vote = partial(propagate, query, keys, values, inside=inside, radius=self._radius, top_k=self._top_k)
        scores = self._spare_memory(vote)
        scores = adjusted(scores, values, inside=inside, radius=self._radius, strength=self._adjustment)
        scores[0] += 1 - scores.sum(dim=0)
        return scores

    def fitted(self, references: Sequence[Reference], labels: Sequence[int]) -> Discriminants:
        """What sets the labels apart in the references."""
        told = [reference.memory.moments for reference in references]
        return Discriminants(told, labels, strength=self._discriminant)

    def _spare_memory(self, vote: Callable[..., Tensor]) -> Tensor:
        """A vote, in small blocks since the device ran out of memory once."""
        try:
            return vote(block=SMALL_BLOCK if self.short_of_memory else None)
        except torch.OutOfMemoryError:
            if self.short_of_memory:
                raise
            self.short_of_memory = True
        torch.cuda.empty_cache()
        return vote(block=SMALL_BLOCK)
