"""Memory read-out with a fixed amount of work: for GPUs, whose host then waits for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from mamp.flow.warp import source_indices
from mamp.propagation.dense_matching import propagate_densely
from mamp.propagation.label_moments import LabelMoments, fit_discriminants
from mamp.propagation.local_matching import logit_adjusted
from mamp.propagation.memory_readout import MemoryReader, Query, Reference
from mamp.propagation.object_discriminant import append_channels


class DenseReader(MemoryReader):
    """``MemoryReader`` that matches every cell, all references at once; for the arguments see there.

    Where only some cells are requested, it reads as ``MemoryReader`` does.
    """

    def query(self, key: Tensor, cues: Tensor, references: Sequence[Reference], labels: Sequence[int]) -> Query:
        """Builds a query, and fits its discriminants without waiting for the device."""
        moments = [reference.memory.class_statistics for reference in references]
        known = [frame for frame in moments if isinstance(frame, LabelMoments) and frame.labels == tuple(labels)]
        if len(known) < len(references) or not known or len(labels) < 2:
            return super().query(key, cues, references, labels)
        discriminants = fit_discriminants(known, strength=self._discriminant_weight)
        return Query(key, cues, references, labels, discriminants)

    def __call__(self, query: Query, *, query_mask: Tensor | None = None) -> Tensor:
        """Scores of the labels (K, h, w); see ``MemoryReader``."""
        if query_mask is not None:
            return super().__call__(query, query_mask=query_mask)
        memories = [reference.memory for reference in query.references]
        labels = label_tensor(tuple(query.labels), query.key.device)
        values = torch.stack([memory.value for memory in memories])  # (N, h, w)
        keys = torch.stack([memory.key for memory in memories], dim=1).float()  # (C, N, h, w)
        sources, valid = self._sources(query)
        one_hot = values == labels[:, None, None, None]  # (K, N, h, w)
        key = query.key
        if query.discriminants:
            cues = torch.stack([memory.cues for memory in memories], dim=1)
            unreliable = one_hot & _flags(tuple(not each.reliable for each in query.references), key.device)
            key = append_channels(key, query.discriminants.query_channels(key, query.discriminant_scores))
            keys = torch.cat((keys, query.discriminants.key_channels(keys, cues, unreliable)))

        def match(block: int | None) -> Tensor:
            return propagate_densely(
                key,
                keys,
                sources,
                valid,
                values,
                labels,
                radius=self._radius,
                top_k=self._top_k,
                half=key.device.type == "cuda",
                block=block,
            )

        scores = self._with_less_memory_on_failure(match)
        strength = self._logit_adjustment
        if strength:
            warped = values.flatten(1).gather(1, sources.flatten(1)).view_as(values)
            masks = (warped[:, None] == labels[:, None, None]).to(scores.dtype)  # (N, K, h, w)
            scores = logit_adjusted(scores, masks, valid=valid, radius=self._radius, strength=strength)
        missing = 1 - scores.sum(dim=0, keepdim=True)  # cells without a valid match are background
        return torch.cat((scores[:1] + missing, scores[1:]))

    def _sources(self, query: Query) -> tuple[Tensor, Tensor]:
        """``Reference.sources`` of all references (N, h, w)."""
        motions = [reference.motion for reference in query.references if reference.motion is not None]
        if len(motions) < len(query.references):
            sources = zip(*(reference.sources for reference in query.references), strict=True)
            indices, valid = (torch.stack(parts) for parts in sources)
            return indices, valid
        return source_indices(torch.stack(motions).round())


@lru_cache(16)
def label_tensor(labels: tuple[int, ...], device: torch.device) -> Tensor:
    """Labels on a device (K,) uint8."""
    return torch.tensor(labels, dtype=torch.uint8, device=device)


@lru_cache(64)
def _flags(flags: tuple[bool, ...], device: torch.device) -> Tensor:
    """Flags of the references on a device (N, 1, 1) bool."""
    return torch.tensor(flags, device=device)[:, None, None]
