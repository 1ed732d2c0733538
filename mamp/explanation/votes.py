"""The read-out of one cell, step by step: which places in memory vote for its label, and how the votes become scores.

It follows ``MemoryReader`` and ``propagate``, which do the same for all cells at once, and says what they leave out: where
each vote comes from. Plain and slow, so it is also the method in a page of code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.flow.warp import gather_cells
from mamp.propagation.memory_readout import Query, Reference
from mamp.propagation.object_discriminant import append_channels
from mamp.settings import Settings

Cell = tuple[int, int]  # row and column


@dataclass(frozen=True)
class CellVote:
    """One of the best matches of a cell.

    Attributes:
        reference: Index of the reference in the query's.
        cell: Row and column of the matching cell in the reference.
        label: Its label.
        similarity: Similarity of the two cells, with the penalties of the discriminants.
        weight: Softmax of the similarities of all best matches [0, 1].
    """

    reference: int
    cell: Cell
    label: int
    similarity: float
    weight: float


@dataclass(frozen=True)
class CellReadout:
    """How a cell got its scores.

    Attributes:
        votes: The best matches, the heaviest first; none if the windows have no valid cell.
        vote_sums: Sum of the weights by label (K,): the scores of Eq. 2.
        scores: The same after the logit adjustment (K,); they sum to 1.
    """

    votes: Sequence[CellVote]
    vote_sums: Tensor
    scores: Tensor


@dataclass(frozen=True)
class _Window:
    """The cells of a reference that a query's cell is compared with, n of them, each warped by its own motion."""

    cells: Tensor  # row-major indices in the reference (n,)
    similarity: Tensor  # (n,)
    labels: Tensor  # (n,) uint8


@torch.inference_mode()
def read_cell(query: Query, cell: Cell, settings: Settings) -> CellReadout:
    """Reads one cell from memory (Sec. 3.2, Eq. 1 and 2).

    Args:
        query: The frame.
        cell: Row and column.
        settings: Settings with the radius, ``top_k`` and the logit adjustment.
    """
    key = query.key
    if query.discriminants:
        key = append_channels(key, query.discriminants.query_channels(key, query.discriminant_scores))
    features = key[:, cell[0], cell[1]] * len(key) ** -0.5  # Eq. 1, divided by sqrt(c)
    windows = [_window(query, reference, cell, features, settings.radius) for reference in query.references]
    similarity = torch.cat([window.similarity for window in windows])
    labels = torch.cat([window.labels for window in windows])
    one_hot = (labels == torch.tensor(query.labels, device=key.device)[:, None]).to(key.dtype)  # (K, n)

    best = similarity.topk(min(settings.top_k or len(similarity), len(similarity)))
    weights = best.values.softmax(dim=0)
    vote_sums = one_hot[:, best.indices] @ weights
    # Labels with many cells in the windows win by chance: see logit_adjusted.
    scores = vote_sums * (one_hot.sum(dim=1) + 1).pow(-settings.logit_adjustment)
    scores = scores * (vote_sums.sum() / scores.sum().clamp(min=torch.finfo(scores.dtype).tiny))
    scores[0] += 1 - scores.sum()

    origins = [(number, place) for number, window in enumerate(windows) for place in window.cells.tolist()]
    columns = (best.indices, labels[best.indices], best.values, weights)
    votes = []
    for index, label, value, weight in zip(*(column.tolist() for column in columns), strict=True):
        number, place = origins[index]
        votes.append(CellVote(number, divmod(place, key.shape[2]), label, value, weight))
    return CellReadout(votes, vote_sums, scores)


def _window(query: Query, reference: Reference, cell: Cell, features: Tensor, radius: int) -> _Window:
    """The window of a cell in a reference, and the similarities to the features (C + K,) of the cell."""
    rows, columns = (slice(max(0, center - radius), center + radius + 1) for center in cell)
    indices, valid = (each[rows, columns] for each in reference.sources)
    cells = indices[valid]
    memory = reference.memory
    keys = gather_cells(memory.key, cells).float()
    labels = gather_cells(memory.value[None], cells)[0]
    if query.discriminants:
        one_hot = labels == torch.tensor(query.labels, device=labels.device)[:, None]
        cues = gather_cells(memory.cues, cells)
        channels = query.discriminants.key_channels(keys, cues, None if reference.reliable else one_hot)
        keys = torch.cat((keys, channels))
    return _Window(cells, features @ keys, labels)
