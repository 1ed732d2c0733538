"""Re-detection of lost objects in the whole frame.

Windows cover small displacements, not a shot change or an object that reappears elsewhere; and if an object is absent,
top-k matching labels what is most similar to it. So after a large change, or if an object was lost, all cells of the
frame are compared with the object's in memory. The confident ones show whether it is present, and by their most common
displacement, where.
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

# When to search. Fractions of the frame are counted in changed cells.
CHANGED_COSINE = 0.5  # cosine of a cell with its source in the previous frame below which it has changed
REDETECT_FRACTION = 0.2  # changed fraction above which every object may be elsewhere
SHOT_CHANGE_FRACTION = 0.3  # changed fraction above which it is a shot change; fast clips reach 0.25
SHRINK_RATIO = 0.5  # area relative to the previous frame below which an object may be lost
MIN_CELLS = 16  # smallest area of an object that can be detected [cells]
MIN_VISIBLE_FRACTION = 0.25  # area, relative to its largest, of an object that counts as visible

# Evidence that an object is present.
MIN_COSINE = 0.85  # cosine of a matching cell, which must also exceed that with all other cells in memory
MIN_DISCRIMINANT = 0.3  # discriminant score of a matching cell (1: the object's mean)
MIN_DETECTED_FRACTION = 0.1  # of an object's cells matched with a common shift; absent objects reach 0.1 at most
MIN_MEAN_DISCRIMINANT = 0.35  # mean score of cells labeled as an object; for absent objects 0.31 at most
MAX_STRETCH = 0.3  # variation of the shifts, relative to the object's side: it may be nearer or further now
MIN_SPREAD = 3  # smallest variation of the shifts that is accepted, and the accuracy of the result [cells]
AGREEMENT = 0.85  # share of the detected cells that already have the label: then the object was not lost
MIN_GAIN = 0.1  # cells, relative to the object's area, that re-detection must add
LARGE_OBJECT = 200  # [cells]; for larger objects every second row and column is enough
_BLOCK = 1024  # cells of a memory compared at a time: twice as fast as all at once


@dataclass(frozen=True)
class Detection:
    """An object of a frame in memory, detected in the query.

    Attributes:
        cells: Indices of the cells that match with a common shift (n,); of large objects a quarter of them.
        fraction: Their number, relative to the object's area in memory; above 1 if it has grown.
        shift: Displacement to the memory (2,) [cells], x then y.
    """

    cells: Tensor
    fraction: float
    shift: Tensor


def detect(query: Tensor, scores: Tensor, reference: Reference, label: int) -> Detection:
    """Searches the whole query for an object of a frame in memory.

    Args:
        query: Features of the frame (C, h, w).
        scores: Discriminant scores of the object (h, w), see ``Discriminants.scores``.
        reference: A frame that shows the object, and more.
        label: Label of the object.

    Returns:
        The detection; its fraction is 0 if no cells, or too few, match.
    """
    memory = reference.memory
    is_object = (memory.value == label).flatten()
    object_cells, other_cells = is_object.nonzero()[:, 0], (~is_object).nonzero()[::2, 0]
    area, width = len(object_cells), query.shape[2]
    step = 1 if area < LARGE_OBJECT else 2
    positions = (scores[::step, ::step] > MIN_DISCRIMINANT).nonzero() * step  # (n, 2), y then x: few to compare
    cells = positions[:, 0] * width + positions[:, 1]
    nothing = Detection(cells[:0], 0.0, cells.new_zeros(2))
    if not area:
        return nothing
    features, object_features = _unit_features(query, cells), _unit_features(memory.key, object_cells)
    blocks = torch.split(object_features, _BLOCK)
    cosine = torch.stack([(features @ block.T).amax(dim=1) for block in blocks]).amax(dim=0)
    matching = (cosine > MIN_COSINE).nonzero()[:, 0]
    # Most cells are most similar to their source by motion, which saves comparing them with all others.
    source = reference.sources[0].flatten()[cells[matching]]
    is_other = torch.zeros_like(is_object).index_fill_(0, other_cells, True)[source]
    source_cosine = (features[matching] * _unit_features(memory.key, source)).sum(dim=1)
    matching = matching[~is_other | (cosine[matching] > source_cosine)]
    matched = object_cells[(features[matching] @ object_features.T).argmax(dim=1)]
    shifts = torch.stack((matched % width, matched // width)) - positions[matching].flip(1).T
    spread = max(MIN_SPREAD, round(MAX_STRETCH * math.sqrt(area)))
    num_parts = -(-len(other_cells) // _BLOCK)
    for part in range(num_parts):  # each from all over the frame: the first rule out most matches of an absent object
        other_features = _unit_features(memory.key, other_cells[part::num_parts])
        kept = cosine[matching] > (features[matching] @ other_features.T).amax(dim=1)
        matching, shifts = matching[kept], shifts[:, kept]
        if _in_densest_square(shifts, spread).sum() * step**2 < MIN_DETECTED_FRACTION * area:
            return nothing
    if not len(matching):
        return nothing
    common = _in_densest_square(shifts, spread)
    matching, shifts = matching[common], shifts[:, common]
    shift = shifts[:, _in_densest_square(shifts, MIN_SPREAD)].median(dim=1).values
    return Detection(cells[matching], len(matching) * step**2 / area, shift)


def _unit_features(features: Tensor, cells: Tensor) -> Tensor:
    """Features (C, h, w) at cells of some indices (n,), normalized to length 1 (n, C)."""
    return F.normalize(gather_cells(features, cells).T.float(), dim=1)


def _in_densest_square(shifts: Tensor, radius: int) -> Tensor:
    """Mask of the shifts (2, m) [cells] in the square of a radius that contains most of them (m,) bool."""
    if not shifts.numel():
        return shifts[0] > 0
    origin = shifts.amin(dim=1, keepdim=True) - radius
    x, y = bins = shifts - origin
    width, height = (bins.amax(dim=1) + radius + 1).tolist()
    histogram = torch.zeros(height, width, device=shifts.device)
    histogram.index_put_((y, x), histogram.new_ones(len(x)), accumulate=True)
    top, left = divmod(int(box_sum(histogram[None], radius).argmax()), width)
    center = origin + shifts.new_tensor((left, top))[:, None]
    return ((shifts - center).abs() <= radius).all(dim=0)


@dataclass(frozen=True)
class Change:
    """The change from the previous frame to this one."""

    fraction: float  # share of changed cells
    areas: Sequence[int]  # of the labels in this frame [cells], background first
    previous_areas: Sequence[int]

    @property
    def shot_change(self) -> float:
        """The changed fraction [0, 1] at a shot change; else 0."""
        return self.fraction if self.fraction > SHOT_CHANGE_FRACTION else 0.0

    @property
    def is_large(self) -> bool:
        """Whether every object may be elsewhere."""
        return self.fraction > REDETECT_FRACTION

    @property
    def needs_search(self) -> bool:
        """Whether any object may be lost."""
        return any(self.may_be_lost(index) for index in range(1, len(self.areas)))

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Change:
        """From the numbers of ``change_numbers``."""
        *areas, changed = numbers
        K = len(areas) // 2
        return cls(changed, [int(area) for area in areas[:K]], [int(area) for area in areas[K:]])

    def may_be_lost(self, index: int) -> bool:
        """Whether to search for an object: it was not visible, has shrunk, or the frame changed."""
        before = self.previous_areas[index]
        return self.is_large or not before or self.areas[index] < SHRINK_RATIO * before


@dataclass(frozen=True)
class Redetection:
    """The scores of a frame after the search for lost objects, and what the search changed.

    Attributes:
        scores: Scores of the labels (K, h, w); they sum to 1, background first.
        shot_change: Changed fraction of the frame [0, 1] at a shot change; else 0.
        rematched: The query with the references of the objects found; ``None`` if the scores are not from it.
        cells: Cells whose scores are from ``rematched`` (h, w) bool.
        absent: Indices of the labels that were removed, since their objects are absent.
    """

    scores: Tensor
    shot_change: float = 0.0
    rematched: Query | None = None
    cells: Tensor | None = None
    absent: Sequence[int] = ()


class Redetector:
    """Corrects the scores of a frame in which objects were lost.

    Args:
        reader: Memory read-out.
    """

    def __init__(self, reader: MemoryReader) -> None:
        self._reader = reader

    def __call__(
        self, scores: Tensor, query: Query, *, previous: MemoryFrame | None, flow_to_previous: Tensor | None
    ) -> Redetection:
        """Moves objects to where they are detected, and removes those that are absent.

        Searched are objects without a cell in the previous frame or with less than half of their cells there, and all
        objects after a large change.

        Args:
            scores: Scores of the labels (K, h, w); they sum to 1, background first.
            query: The query with these scores.
            previous: The previous frame; ``None`` if it is not in memory: then nothing is searched.
            flow_to_previous: Displacement to it (2, h, w) [cells]; ``None`` for no motion.
        """
        if previous is None:
            return Redetection(scores)
        winner = scores.argmax(dim=0)
        labels = torch.tensor(query.labels, dtype=torch.uint8, device=winner.device)
        numbers = change_numbers(winner, query.key, previous, flow_to_previous, labels)
        change = Change.of_numbers(numbers.tolist())  # one synchronization with the device
        found, usual_areas, absent = {}, {}, []
        for index in filter(change.may_be_lost, range(1, len(query.labels))):
            areas = [int((reference.memory.value == query.labels[index]).sum()) for reference in query.references]
            usual_area = _largest_reliable(query.references, areas)
            if usual_area < MIN_CELLS:
                continue
            visible = [area >= MIN_VISIBLE_FRACTION * usual_area for area in areas]
            reference, detection = _best_detection(query, index, visible)
            if detection.fraction >= MIN_DETECTED_FRACTION:
                if _is_lost(detection, winner == index, change, index):
                    motion = detection.shift[:, None, None].expand(2, *scores.shape[1:]).to(scores.dtype)
                    found[index], usual_areas[index] = replace(reference, motion=motion), usual_area
            elif self._is_absent(query, winner == index, change, index, usual_area):
                absent.append(index)
        result = Redetection(scores, change.shot_change)
        if found:
            result = self._rematch(result, query, found, change, usual_areas)
        if absent:
            scores = result.scores.clone()
            scores[0] += scores[absent].sum(dim=0)
            scores[absent] = 0
            result = replace(result, scores=scores, absent=absent)
        return result

    def _is_absent(self, query: Query, cells: Tensor, change: Change, index: int, usual_area: int) -> bool:
        """Whether the cells (h, w) bool labeled as an object that was not detected belong to something else."""
        if change.shot_change > 0 and float(query.discriminant_scores[index - 1][cells].mean()) < MIN_MEAN_DISCRIMINANT:
            return True
        return not change.previous_areas[index] and change.areas[index] < MIN_VISIBLE_FRACTION * usual_area

    def _rematch(
        self,
        before: Redetection,
        query: Query,
        found: dict[int, Reference],
        change: Change,
        usual_areas: dict[int, int],
    ) -> Redetection:
        """The scores with the references of the objects found, or those before if no object gains by it."""
        scores = before.scores
        labels, references = query.labels, [*query.references, *found.values()]
        query_mask = torch.ones_like(scores[0], dtype=torch.bool)
        if not change.is_large:  # the scores remain valid except where the object reappeared
            cells = torch.zeros_like(query_mask)
            for index, reference in found.items():
                indices, valid = reference.sources
                cells |= (gather_cells(reference.memory.value[None], indices)[0] == labels[index]) & valid
            query_mask = self._reader.dilate(cells)
        extended = self._reader.query(query.key, query.cues, references, labels)
        rematched = torch.where(query_mask, self._reader(extended, query_mask=query_mask), scores)
        areas = _label_areas(rematched.argmax(dim=0), len(labels)).tolist()
        gained = any(areas[index] - change.areas[index] >= MIN_GAIN * usual_areas[index] for index in found)
        return replace(before, scores=rematched, rematched=extended, cells=query_mask) if gained else before


def change_numbers(
    winner: Tensor, key: Tensor, previous: MemoryFrame, flow_to_previous: Tensor | None, labels: Tensor
) -> Tensor:
    """What tells whether an object was lost since the previous frame, on the device.

    Args:
        winner: Index of the label of each cell (h, w).
        key: Features of the frame (C, h, w).
        previous: The previous frame.
        flow_to_previous: Displacement to it (2, h, w) [cells]; ``None`` for no motion.
        labels: All K labels (K,) uint8.

    Returns:
        Areas of the labels in both frames [cells], and the fraction of changed cells (2 K + 1,) float.
    """
    previous_areas = (previous.value == labels[:, None, None]).flatten(1).sum(dim=1)
    fraction = _changed_fraction(key, previous.key, flow_to_previous)
    return torch.cat((_label_areas(winner, len(labels)), previous_areas, fraction[None]))


def _changed_fraction(query: Tensor, previous: Tensor, flow: Tensor | None) -> Tensor:
    """Share of the cells that differ from their source in the previous frame, among those with a source in the frame."""
    valid = torch.ones_like(query[0], dtype=torch.bool)
    if flow is not None:
        (previous,), valid = gather_by_flow(flow.round(), previous)
    query, previous, valid = (cells[..., ::2, ::2] for cells in (query, previous, valid))  # a quarter is enough
    changed = F.cosine_similarity(query, previous.float(), dim=0) < CHANGED_COSINE
    return (changed & valid).sum() / valid.sum().clamp(min=1)


def _best_detection(query: Query, index: int, visible: Sequence[bool]) -> tuple[Reference, Detection]:
    """The detection of an object with the largest fraction, and its reference, among references that show the object."""
    references = [reference for reference, shows in zip(query.references, visible, strict=True) if shows]
    scores, label = query.discriminant_scores[index - 1], query.labels[index]
    detections = [detect(query.key, scores, reference, label) for reference in references]
    best = max(range(len(detections)), key=lambda number: detections[number].fraction)
    return references[best], detections[best]


def _is_lost(detection: Detection, cells: Tensor, change: Change, index: int) -> bool:
    """Whether a detected object was lost: too few of the detected cells are among those labeled as it (h, w) bool."""
    agreement = float(cells.flatten()[detection.cells].float().mean())
    if change.previous_areas[index] and not change.is_large:  # it disappears gradually, and windows have followed it
        return (1 - agreement) * detection.fraction >= MIN_GAIN
    return agreement < AGREEMENT


def _label_areas(winner: Tensor, num_labels: int) -> Tensor:
    """Number of cells that each label has won (K,)."""
    indices = torch.arange(num_labels, device=winner.device)[:, None, None]
    return (winner == indices).flatten(1).sum(dim=1)


def _largest_reliable(references: Sequence[Reference], areas: Sequence[int]) -> int:
    """The largest area of an object in reliable masks [cells]."""
    return max((area for reference, area in zip(references, areas, strict=True) if reference.reliable), default=0)
