"""How the authors' code goes about it, re-created for comparison: the same masks, at the cost that this package avoids.

Every reference is encoded again for every query, all similarities of all windows are held at once, and masks are unfolded
into windows. Only ``mamp.benchmark`` and the tests use it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mamp.flow.optical_flow import FlowFunction
from mamp.flow.warp import to_cell_units, warp
from mamp.model.color import rgb_to_lab
from mamp.model.encoder import EncoderFunction, device_of
from mamp.propagation.alignment import pad_to_stride, to_cells, to_pixels
from mamp.propagation.memory_bank import reference_frames

Frame = NDArray[np.uint8]

_NO_VOTE = -1e4


class ReferenceImplementation:
    """Tracks as the authors' code does; masks are given with the first frame only.

    Args:
        encoder: Lab (B, 3, H, W) -> features (B, C, H / 4, W / 4).
        flow: (query, reference) -> displacement [pixels].
        radius: Of the window [cells].
        top_k: How many matches vote.
    """

    def __init__(self, encoder: EncoderFunction, flow: FlowFunction, *, radius: int = 12, top_k: int = 36) -> None:
        self.encoder, self.flow, self.radius, self.top_k = encoder, flow, radius, top_k
        self.device = device_of(encoder)
        self.frames: list[Frame] = []
        self.masks: list[Frame] = []

    @torch.inference_mode()
    def step(self, frame: Frame, mask: Frame | None = None) -> Frame:
        """Takes the next frame, RGB (H, W, 3) uint8, and the mask (H, W) uint8 of the first; gives the frame's mask."""
        t = len(self.frames)
        self.frames.append(frame)
        if mask is None:
            mask = self._track(frame, t)
        self.masks.append(mask)
        return mask

    def _track(self, frame: Frame, t: int) -> Frame:
        labels = self._tensor(np.unique(self.masks[0])).long()
        query = self._encode(frame)
        similarities, carried = [], []
        for index in reference_frames(t):
            reference, mask = self.frames[index], self.masks[index]
            cells = to_cells(self._tensor(mask)).long()
            values = (cells == labels[:, None, None]).float()  # (K, h, w)
            flow = to_cell_units(self._tensor(self.flow(frame, reference))).round()
            both, inside = warp(torch.cat((self._encode(reference), values))[None], flow[None])
            key, value = both[0, : len(query)], both[0, len(query) :]
            similarities.append(self._all_similarities(query, key, inside[0]))
            carried.append(self._unfolded(value))
        scores = self._vote(torch.cat(similarities), torch.cat(carried, dim=1))
        best = to_pixels(scores, frame.shape[:2], frame.shape[:2]).argmax(dim=0)
        return np.asarray(labels[best].cpu().numpy(), np.uint8)

    def _encode(self, frame: Frame) -> Tensor:
        return self.encoder(pad_to_stride(rgb_to_lab(self._tensor(frame)))[None])[0].float()

    def _tensor(self, numbers: NDArray[Any]) -> Tensor:
        return torch.from_numpy(numbers).to(self.device)

    def _all_similarities(self, query: Tensor, key: Tensor, inside: Tensor) -> Tensor:
        """Every cell with its window, one shift at a time (side * side, h, w)."""
        h, w = query.shape[1:]
        key = F.pad(key, (self.radius,) * 4)
        may = F.pad(inside, (self.radius,) * 4)
        side = range(2 * self.radius + 1)
        shifts = [(slice(y, y + h), slice(x, x + w)) for y in side for x in side]
        scaled = query * len(query) ** -0.5
        every = [(scaled * key[:, y, x]).sum(dim=0).masked_fill(~may[y, x], _NO_VOTE) for y, x in shifts]
        return torch.stack(every)

    def _unfolded(self, value: Tensor) -> Tensor:
        """The masks of every window (K, side * side, h, w)."""
        K, h, w = value.shape
        side = 2 * self.radius + 1
        return F.unfold(value[:, None], side, padding=self.radius).view(K, side * side, h, w)

    def _vote(self, similarity: Tensor, carried: Tensor) -> Tensor:
        """The labels of the best matches: (M, h, w) and (K, M, h, w) -> (K, h, w)."""
        best, chosen = similarity.topk(min(self.top_k, len(similarity)), dim=0)
        affinity = best.softmax(dim=0)
        return (carried.gather(1, chosen.expand(len(carried), *chosen.shape)) * affinity).sum(dim=1)
