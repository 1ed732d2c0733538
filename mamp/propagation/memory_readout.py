"""Memory read-out: warp the references to the query, then top-k label propagation."""

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
from mamp.propagation.object_discriminant import Discriminants, append_channels


@dataclass(frozen=True)
class Reference:
    """A frame in memory as a reference of one query."""

    memory: MemoryFrame
    motion: Tensor | None  # displacement from the query to it (2, h, w) [cells]; None for no warping
    reliable: bool  # its labels are taken as right
    number: int  # its frame number

    @cached_property
    def sources(self) -> tuple[Tensor, Tensor]:
        """Index of the reference cell at each cell of the query, and whether it lies in the frame: (h, w) both."""
        if self.motion is None:
            value = self.memory.value
            indices = torch.arange(value.numel(), device=value.device).view_as(value)
            return indices, torch.ones_like(value, dtype=torch.bool)
        # Whole cells, as in the reference implementation: interpolation blurs objects that are thin or of low contrast.
        return source_indices(self.motion.round())


@dataclass(frozen=True)
class Query:
    """A frame to label from references."""

    key: Tensor  # features (C, h, w) float
    cues: Tensor  # auxiliary features (D, h, w)
    references: Sequence[Reference]
    labels: Sequence[int]  # background first
    discriminants: Discriminants | None  # fitted to the references; None for plain matching

    @cached_property
    def discriminant_scores(self) -> Tensor:
        """Discriminant scores of the cells (K - 1, h, w), see ``Discriminants.scores``."""
        assert self.discriminants is not None
        return self.discriminants.scores(self.key, self.cues)


class MemoryReader:
    """Reads label scores from memory; for the arguments see ``MaskTracker``.

    Raises:
        ValueError: A number is out of range.

    Attributes:
        short_of_memory: Whether the device ran out of memory in matching, which has used smaller blocks since.
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
        """Builds a query, and fits its discriminants; for the arguments see ``Query``."""
        discriminants = None
        if self._discriminant_weight and len(labels) > 1:
            statistics = [reference.memory.class_statistics for reference in references]
            discriminants = Discriminants(statistics, labels, strength=self._discriminant_weight)
        return Query(key, cues, references, labels, discriminants)

    def __call__(self, query: Query, *, query_mask: Tensor | None = None) -> Tensor:
        """Scores of the labels.

        Args:
            query: The frame to label.
            query_mask: Requested cells (h, w) bool; all if not given.

        Returns:
            (K, h, w); they sum to 1. Cells without a valid match, newly visible ones, and cells that are not requested are
            background.
        """
        sources = [reference.sources for reference in query.references]
        indices, valid = (torch.stack(parts) for parts in zip(*sources, strict=True))
        values = [reference.memory.value[None] for reference in query.references]
        warped = torch.cat([gather_cells(*each) for each in zip(values, indices, strict=True)])  # (N, h, w)
        scores = query.key.new_zeros(len(query.labels), *query.key.shape[1:])
        # Cells with no object cell in their windows are background: no keys need be warped there.
        needed = self.dilate(((warped > 0) & valid).any(dim=0))
        if query_mask is not None:
            needed &= query_mask
        (extent,) = extents(needed[None])
        if extent is None:
            scores[0] = 1
            return scores
        rows, columns = (slice(max(0, first - self._radius), last + self._radius + 1) for first, last in extent)
        crop = (slice(None), rows, columns)
        scores[crop] = self._match(query, crop, indices[crop], warped[crop], valid[crop], needed[rows, columns])
        scores[0] += 1 - scores.sum(dim=0)
        return scores

    def dilate(self, cells: Tensor) -> Tensor:
        """Cells whose window contains one of the given cells: (h, w) bool, both."""
        return box_sum(cells[None].float(), self._radius)[0] > 0.5

    def _match(
        self,
        query: Query,
        crop: tuple[slice, slice, slice],
        indices: Tensor,
        warped: Tensor,
        valid: Tensor,
        query_mask: Tensor,
    ) -> Tensor:
        """Scores in a crop of the frame (K, rows, columns), zeros outside the query mask.

        Args:
            query: The frame to label.
            crop: All channels, rows and columns.
            indices: Indices of the reference cells at those of the query (N, rows, columns).
            warped: Labels of these cells (N, rows, columns).
            valid: Whether they lie in the frame (N, rows, columns) bool.
            query_mask: Requested cells (rows, columns) bool.
        """
        labels = torch.tensor(query.labels, device=query.key.device)[:, None, None]
        values = (warped[:, None] == labels).to(query.key.dtype)  # (N, K, rows, columns)
        key = query.key
        if query.discriminants:
            key = append_channels(key, query.discriminants.query_channels(key, query.discriminant_scores))

        def reference_keys(rows: slice) -> Iterator[Tensor]:
            for reference, cells, value in zip(query.references, indices[:, rows], warped[:, rows], strict=True):
                features = gather_cells(reference.memory.key, cells).float()
                if query.discriminants:
                    cues = gather_cells(reference.memory.cues, cells)
                    unreliable = None if reference.reliable else value == labels
                    channels = query.discriminants.key_channels(features, cues, unreliable)
                    # Concatenated channels last, as both lie in memory.
                    extended = torch.cat((features.permute(1, 2, 0), channels.permute(1, 2, 0)), dim=2)
                    features = extended.permute(2, 0, 1)
                yield features

        def match(block: int | None) -> Tensor:
            return propagate(
                key[crop],
                reference_keys,
                values,
                valid=valid,
                query_mask=query_mask,
                radius=self._radius,
                top_k=self._top_k,
                block=block,
            )

        scores = self._with_less_memory_on_failure(match)
        strength = self._logit_adjustment
        return logit_adjusted(scores, values, valid=valid, radius=self._radius, strength=strength) * query_mask

    def _with_less_memory_on_failure(self, match: Callable[[int | None], Tensor]) -> Tensor:
        """Calls a function of the block size: ``None``, or small ones once the device has run out of memory."""
        try:
            return match(SMALL_BLOCK if self.short_of_memory else None)
        except torch.OutOfMemoryError:
            if self.short_of_memory:
                raise
            self.short_of_memory = True
        torch.cuda.empty_cache()
        return match(SMALL_BLOCK)
