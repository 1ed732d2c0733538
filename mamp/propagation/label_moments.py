"""The statistics that object discriminants are fitted to, for all labels at once and without the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.propagation.local_matching import box_sum
from mamp.propagation.object_discriminant import (
    ClassStatistics,
    Discriminants,
    discriminant_inputs,
    fisher_directions,
)

_LABELS_AT_ONCE = 16  # the inputs are held once for each


@dataclass(frozen=True)
class LabelMoments(Mapping[int, ClassStatistics]):
    """Statistics of a frame by label, as ``class_statistics`` returns them; also labels that it does not show have rows.

    Reading it as a mapping waits for the device. It then holds the labels that the frame shows.
    """

    labels: tuple[int, ...]
    counts: Tensor  # number of cells (K,)
    sums: Tensor  # inputs, summed (K, L)
    products: Tensor  # products of any two inputs, summed (K, L, L)

    def __getitem__(self, label: int) -> ClassStatistics:
        row = self.labels.index(label)
        return ClassStatistics(self.counts[row].double(), self.sums[row].double(), self.products[row])

    def __iter__(self) -> Iterator[int]:
        counts = self.counts.tolist()
        return iter([label for label, count in zip(self.labels, counts, strict=True) if count])

    def __len__(self) -> int:
        return len(list(iter(self)))


def label_moments(
    key: Tensor, cues: Tensor, value: Tensor, labels: Sequence[int], label_row: Tensor, *, radius: int
) -> LabelMoments:
    """Statistics of each label in a frame; see ``class_statistics``.

    Args:
        key: Features (C, h, w).
        cues: Auxiliary features (D, h, w).
        value: Labels (h, w) uint8; 0 is the background.
        labels: All K labels.
        label_row: The same on the device (K,) uint8.
        radius: Matching radius [cells]: background further away from all objects is ignored.
    """
    near_object = box_sum((value > 0).float()[None], radius)[0] > 0
    cells = ((value == label_row[:, None, None]) & near_object).flatten(1).float()  # (K, h * w)
    inputs = discriminant_inputs(key.flatten(1).T.float(), cues.flatten(1).T)  # (h * w, L)
    products = [
        torch.matmul((inputs.T * part[:, None]), inputs) for part in torch.split(cells, _LABELS_AT_ONCE)
    ]  # (K, L, L)
    return LabelMoments(tuple(labels), cells.sum(dim=1), cells @ inputs, torch.cat(products))


def fit_discriminants(frames: Sequence[LabelMoments], *, strength: float) -> Discriminants:
    """The discriminants of all objects from frames with the same labels; see ``Discriminants``."""
    counts = torch.stack([frame.counts for frame in frames]).sum(dim=0, dtype=torch.float64)
    sums = torch.stack([frame.sums for frame in frames]).sum(dim=0, dtype=torch.float64)
    products = torch.stack([frame.products for frame in frames]).sum(dim=0, dtype=torch.float64)
    present = (counts > 0).double()
    num_present = present.sum().clamp(min=1)
    share = present / counts.clamp(min=1)
    means = sums * share[:, None]
    squares = (products * share[:, None, None]).sum(dim=0) / num_present
    others = (means.sum(dim=0) - means) / (num_present - 1).clamp(min=1)
    within = squares - means.T @ means / num_present
    directions, midpoints = fisher_directions(within, squares, means[1:], others[1:])
    # Without cells of it, or of anything else, an object has a score of 0 everywhere.
    fitted = present[1:] * (num_present > 1)
    return Discriminants.of_directions(directions * fitted[:, None], midpoints * fitted, strength=strength)
