"""The reference implementation: the algorithm of the authors' code, for comparison of speed and masks.

Every reference is encoded again for every query, all similarities of all windows are in memory at once, and masks are
unfolded into windows. Only the benchmark and the tests use it.
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

_MASKED = -1e4


class ReferenceImplementation:
    """Tracks objects like the authors' code; only the first frame takes an input mask.

    Args:
        encoder: Lab (B, 3, H, W) -> features (B, C, H / 4, W / 4).
        flow: (query, reference) -> displacement [pixels].
        radius: Window radius [cells].
        top_k: Number of matches per cell.
    """

    def __init__(self, encoder: EncoderFunction, flow: FlowFunction, *, radius: int = 12, top_k: int = 36) -> None:
        self.encoder, self.flow, self.radius, self.top_k = encoder, flow, radius, top_k
        self.device = device_of(encoder)
        self.frames: list[Frame] = []
        self.masks: list[Frame] = []

    @torch.inference_mode()
    def step(self, frame: Frame, mask: Frame | None = None) -> Frame:
        """Tracks the next frame, RGB (H, W, 3) uint8; the first one needs a mask (H, W) uint8. Returns its mask."""
        t = len(self.frames)
        self.frames.append(frame)
        if mask is None:
            mask = self._track(frame, t)
        self.masks.append(mask)
        return mask

    def _track(self, frame: Frame, t: int) -> Frame:
        labels = self._tensor(np.unique(self.masks[0])).long()
        query = self._encode(frame)
        similarities, windows = [], []
        for index in reference_frames(t):
            reference, mask = self.frames[index], self.masks[index]
            cells = to_cells(self._tensor(mask)).long()
            values = (cells == labels[:, None, None]).float()  # (K, h, w)
            flow = to_cell_units(self._tensor(self.flow(frame, reference))).round()
            warped, valid = warp(torch.cat((self._encode(reference), values))[None], flow[None])
            key, value = warped[0, : len(query)], warped[0, len(query) :]
            similarities.append(self._all_similarities(query, key, valid[0]))
            windows.append(self._unfolded(value))
        scores = self._read_out(torch.cat(similarities), torch.cat(windows, dim=1))
        best = to_pixels(scores, frame.shape[:2], frame.shape[:2]).argmax(dim=0)
        return np.asarray(labels[best].cpu().numpy(), np.uint8)

    def _encode(self, frame: Frame) -> Tensor:
        return self.encoder(pad_to_stride(rgb_to_lab(self._tensor(frame)))[None])[0].float()

    def _tensor(self, numbers: NDArray[Any]) -> Tensor:
        return torch.from_numpy(numbers).to(self.device)

    def _all_similarities(self, query: Tensor, key: Tensor, valid: Tensor) -> Tensor:
        """Similarities of every cell and its window, one shift at a time (side * side, h, w)."""
        h, w = query.shape[1:]
        key = F.pad(key, (self.radius,) * 4)
        valid = F.pad(valid, (self.radius,) * 4)
        side = range(2 * self.radius + 1)
        shifts = [(slice(y, y + h), slice(x, x + w)) for y in side for x in side]
        scaled = query * len(query) ** -0.5
        similarities = [(scaled * key[:, y, x]).sum(dim=0).masked_fill(~valid[y, x], _MASKED) for y, x in shifts]
        return torch.stack(similarities)

    def _unfolded(self, value: Tensor) -> Tensor:
        """The masks in every window (K, side * side, h, w)."""
        K, h, w = value.shape
        side = 2 * self.radius + 1
        return F.unfold(value[:, None], side, padding=self.radius).view(K, side * side, h, w)

    def _read_out(self, similarity: Tensor, values: Tensor) -> Tensor:
        """Label scores of the top-k matches: (M, h, w) and (K, M, h, w) -> (K, h, w)."""
        best, indices = similarity.topk(min(self.top_k, len(similarity)), dim=0)
        affinity = best.softmax(dim=0)
        return (values.gather(1, indices.expand(len(values), *indices.shape)) * affinity).sum(dim=1)
