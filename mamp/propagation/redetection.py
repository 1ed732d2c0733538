"""An object that was lost is looked for in the whole frame.

A window follows what moves a little. It does not follow over a cut, nor to an object that was hidden and comes out
elsewhere; and where the object is not in the picture at all, the vote takes what resembles it most. So where a frame does
not go on from the one before it, or an object was lost, all cells of the frame are compared with the object's in memory.
Those that convince say whether it is there, and, by how far most of them are from their like, where.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.flow.warp import gather_by_flow, gather_cells
from mamp.propagation.local_matching import box_sum
from mamp.propagation.memory_bank import MemoryFrame
from mamp.propagation.memory_readout import MemoryReader, Query, Reference

_UNLIKE = 0.5  # cosine below which a cell does not go on from the one that motion leads to
_CHANGED = 0.2  # share of such cells from which on an object may be elsewhere
_CUT = 0.3  # share of them from which on the picture is another; fast clips reach 0.25
_SHRUNK = 0.5  # share of its cells that an object keeps at most where it may have been lost
_FEWEST = 16  # [cells]: what is smaller cannot convince
_USUAL = 0.25  # share of an object's cells that are enough to go by

_ALIKE = 0.85  # cosine from which on a cell convinces, if nothing else in memory is more like it ...
_ON_ITS_SIDE = 0.3  # ... and it lies as far on the object's side of its discriminant (1: its mean)
_THERE = 0.1  # share of an object's cells that convince and have moved alike; where it was not there, 0.1 at most
_BESIDE = 0.35  # mean place of what the vote takes for it beside its discriminant where it was not: 0.31 at most
_STRETCH = 0.3  # share of an object's side by which they may have moved apart: it may be nearer or farther now
_NEAR = 3  # [cells]: the least that this is, and how well its motion is found
_AGREED = 0.85  # share of the cells that convinced that may have its label already: then it was not lost
_GAIN = 0.1  # share of an object's cells that it wins at least by being looked for
_LARGE = 200  # [cells] of an object of which every second row and column of the frame will do
_BLOCK = 1024  # cells of a memory compared at a time: half the time of all at once


@dataclass(frozen=True)
class Detection:
    """What a frame shows of an object in memory.

    Attributes:
        cells: Those that convince and have moved alike (n,), counted row by row; of large objects a quarter of them.
        share: How many these are, of one that the object has in memory; above 1 if it has grown.
        shift: How far they have moved, to the memory (2,) [cells], x then y.
    """

    cells: Tensor
    share: float
    shift: Tensor


def detect(query: Tensor, sides: Tensor, reference: Reference, label: int) -> Detection:
    """Looks for an object of a frame in memory, everywhere.

    Args:
        query: Features of the frame (C, h, w).
        sides: Where its cells lie of the object's discriminant (h, w); see ``Discriminants.sides``.
        reference: A frame that shows the object, and more.
        label: The object's.

    Returns:
        What was found; a share of 0 if nothing convinces, or too few cells to tell.
    """
    memory = reference.memory
    mine = (memory.value == label).flatten()
    shown, others = mine.nonzero()[:, 0], (~mine).nonzero()[::2, 0]  # cells, counted row by row
    count, width = len(shown), query.shape[2]
    step = 1 if count < _LARGE else 2
    at = (sides[::step, ::step] > _ON_ITS_SIDE).nonzero() * step  # (n, 2), y then x: few need be compared
    here = at[:, 0] * width + at[:, 1]
    nothing = Detection(here[:0], 0.0, here.new_zeros(2))
    if not count:
        return nothing
    cells = _directions(query, here)
    its = _directions(memory.key, shown)
    alike = torch.stack([(cells @ block.T).amax(dim=1) for block in torch.split(its, _BLOCK)]).amax(dim=0)
    near = (alike > _ALIKE).nonzero()[:, 0]
    # Most cells are likest what motion leads to, and need not be compared with all.
    led = reference.sources[0].flatten()[here[near]]
    is_other = torch.zeros_like(mine).index_fill_(0, others, True)[led]
    near = near[~is_other | (alike[near] > (cells[near] * _directions(memory.key, led)).sum(dim=1))]
    there = shown[(cells[near] @ its.T).argmax(dim=1)]
    shifts = torch.stack((there % width, there // width)) - at[near].flip(1).T
    apart = max(_NEAR, round(_STRETCH * math.sqrt(count)))
    parts = -(-len(others) // _BLOCK)
    for part in range(parts):  # from all over the frame, each of them: of what is not there the first rule out most
        likeness = cells[near] @ _directions(memory.key, others[part::parts]).T
        stay = alike[near] > likeness.amax(dim=1)
        near, shifts = near[stay], shifts[:, stay]
        if _in_fullest_square(shifts, apart).sum() * step**2 < _THERE * count:
            return nothing
    if not len(near):
        return nothing
    together = _in_fullest_square(shifts, apart)
    near, shifts = near[together], shifts[:, together]
    shift = shifts[:, _in_fullest_square(shifts, _NEAR)].median(dim=1).values
    return Detection(here[near], len(near) * step**2 / count, shift)


def _directions(features: Tensor, places: Tensor) -> Tensor:
    """Features (C, h, w) at some places (n,), counted row by row, with a length of 1 each (n, C)."""
    return F.normalize(gather_cells(features, places).T.float(), dim=1)


def _in_fullest_square(shifts: Tensor, radius: int) -> Tensor:
    """Which of the shifts (2, m) [cells] lie in the square of a radius that holds most of them (m,) bool."""
    if not shifts.numel():
        return shifts[0] > 0
    first = shifts.amin(dim=1, keepdim=True) - radius
    x, y = places = shifts - first
    width, height = (places.amax(dim=1) + radius + 1).tolist()
    votes = torch.zeros(height, width, device=shifts.device)
    votes.index_put_((y, x), votes.new_ones(len(x)), accumulate=True)
    top, left = divmod(int(box_sum(votes[None], radius).argmax()), width)
    middle = first + shifts.new_tensor((left, top))[:, None]
    return ((shifts - middle).abs() <= radius).all(dim=0)


class Redetector:
    """Mends the vote of a frame where objects were lost.

    Args:
        vote: That of the references.

    Attributes:
        cut: How much of the last frame does not go on from the one before it [0, 1], if the picture is another; else 0.
    """

    def __init__(self, vote: MemoryReader) -> None:
        self._vote = vote
        self.cut = 0.0

    def __call__(self, scores: Tensor, query: Query, *, before: MemoryFrame | None, came: Tensor | None) -> Tensor:
        """Takes objects from where they are not to where they are, if anywhere.

        Looked for is what has no cell in the frame before, or less than half of those it had, and everything where the
        picture changed at once.

        Args:
            scores: The vote (K, h, w); they sum to 1, and the first is that of background.
            query: What was asked.
            before: The frame before; where it is not kept, nothing is looked for.
            came: Displacement to it (2, h, w) [cells]; ``None`` where it is not known: then none.

        Returns:
            Scores (K, h, w) that sum to 1.
        """
        self.cut = 0.0
        if before is None:
            return scores
        asked, labels = query.references, query.labels
        winner = scores.argmax(dim=0)
        had = (before.value == torch.tensor(labels, device=scores.device)[:, None, None]).flatten(1).sum(dim=1)
        numbers = torch.cat((_cells(winner, labels), had, _unlike(query.key, before.key, came)[None]))
        *counts, unlike = numbers.tolist()  # one wait for the device
        now, was = counts[: len(labels)], counts[len(labels) :]
        if unlike > _CUT:
            self.cut = unlike
        areas = {}  # of the objects that may be lost, in each reference
        for i in range(1, len(labels)):
            if unlike > _CHANGED or not was[i] or now[i] < _SHRUNK * was[i]:
                areas[i] = [int((reference.memory.value == labels[i]).sum()) for reference in asked]
        usual = {i: _usual(asked, areas[i]) for i in areas}
        missed = [i for i in usual if usual[i] >= _FEWEST]
        if not missed:
            return scores
        gone, elsewhere, seen = [], {}, torch.zeros_like(winner, dtype=torch.bool)
        for i in missed:
            shown = [reference for reference, area in zip(asked, areas[i], strict=True) if area >= _USUAL * usual[i]]
            found = [detect(query.key, query.sides[i - 1], reference, labels[i]) for reference in shown]
            best = max(range(len(found)), key=lambda number: found[number].share)
            if found[best].share >= _THERE:
                agreed = float((winner.flatten()[found[best].cells] == i).float().mean())
                lost = agreed < _AGREED
                if was[i] and unlike <= _CHANGED:  # it goes out of sight bit by bit, and windows have followed it
                    lost = (1 - agreed) * found[best].share >= _GAIN
                if lost:
                    motion = found[best].shift[:, None, None].expand(2, *scores.shape[1:]).to(scores.dtype)
                    elsewhere[i] = moved = replace(shown[best], motion=motion)
                    place, inside = moved.sources
                    seen |= (gather_cells(moved.memory.value[None], place)[0] == labels[i]) & inside
                continue
            another = self.cut > 0 and float(query.sides[i - 1][winner == i].mean()) < _BESIDE
            absent = not was[i] and now[i] < _USUAL * usual[i]
            if another or absent:
                gone.append(i)
        if elsewhere:
            more = self._vote.query(query.key, query.cues, [*asked, *elsewhere.values()], labels)
            # Where the picture is the same, the vote holds but where the object came out.
            felt = self._vote.reached(seen) if unlike <= _CHANGED else torch.ones_like(seen)
            again = torch.where(felt, self._vote(more, asked=felt), scores)
            then = _cells(again.argmax(dim=0), labels).tolist()
            if any(then[i] - now[i] >= _GAIN * usual[i] for i in elsewhere):
                scores = again
        if gone:
            scores = scores.clone()
            scores[0] += scores[gone].sum(dim=0)
            scores[gone] = 0
        return scores


def _unlike(query: Tensor, key: Tensor, came: Tensor | None) -> Tensor:
    """The share of cells that are unlike those that motion leads to, where it does not lead out of the frame."""
    inside = torch.ones_like(query[0], dtype=torch.bool)
    if came is not None:
        (key,), inside = gather_by_flow(came.round(), key)
    query, key, inside = (cells[..., ::2, ::2] for cells in (query, key, inside))  # a quarter of them says as much
    apart = F.cosine_similarity(query, key.float(), dim=0) < _UNLIKE
    return (apart & inside).sum() / inside.sum().clamp(min=1)


def _cells(winner: Tensor, labels: Sequence[int]) -> Tensor:
    """How many cells each label has won (K,)."""
    return torch.bincount(winner.flatten(), minlength=len(labels))


def _usual(asked: Sequence[Reference], areas: Sequence[int]) -> int:
    """How many cells an object has at most in the masks that are not doubted."""
    return max((area for reference, area in zip(asked, areas, strict=True) if reference.trusted), default=0)
