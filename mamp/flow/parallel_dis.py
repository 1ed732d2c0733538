"""Dense inverse search (Kroeger et al., ECCV 2016) in tensors: all patches of all pairs at once, on any device.

OpenCV's DIS visits the patches of a pair one after another, and each patch tries the flow of those before it. Here all
patches of a level try the flow of their four neighbors at the same time, in a few rounds, so that a GPU computes a round
in a few operations. Shapes depend on the sizes of the frames alone, and no result is read by the host. There is no
variational refinement: motion is rounded to cells of 4 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH, PATCH_STRIDE = 8, 4  # [pixels of a level]
ROUNDS, STEPS = 3, 3  # rounds at each level, and steps of the inverse search in each round
FINE_LEVEL, FAST_LEVEL = 1, 2  # finest levels, as in OpenCV's presets "medium" and "ultrafast"
_RGB_TO_GRAY = (0.299, 0.587, 0.114)
_MIN_CURVATURE = 1.0  # [gray levels² a pixel²], added to the Hessian: patches without texture keep their flow

_SIZES = 32  # of levels whose constants are kept


def gray_pyramid(frames: Tensor) -> list[Tensor]:
    """Gray levels of frames at full, half, quarter ... size, down to the coarsest that the search uses.

    Args:
        frames: RGB (B, H, W, 3) uint8.

    Returns:
        Gray (B, 1, H / 2^level, W / 2^level) float [0, 255], by level.
    """
    gray = (frames.float() @ _gray_weights(frames.device))[:, None]
    levels = [gray]
    for _ in range(coarsest_level((gray.shape[2], gray.shape[3]))):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def coarsest_level(size: tuple[int, int]) -> int:
    """The coarsest level for frames (H, W), as in OpenCV: a few patches wide, and no side below one patch."""
    widest = int(math.log2(max(1.0, max(size) / (4 * PATCH))) + 0.5)
    return max(0, min(widest, int(math.log2(max(1.0, min(size) / PATCH)))))


def inverse_search(
    query: Sequence[Tensor],
    reference: Sequence[Tensor],
    *,
    initial: Tensor | None = None,
    coarse: Tensor | None = None,
    finest: int = FINE_LEVEL,
) -> Tensor:
    """Optical flow of B pairs of frames.

    Args:
        query: Pyramid of B frames, or of one frame for all pairs; see ``gray_pyramid``.
        reference: Pyramid of B frames.
        initial: Flow that is tried at each level, sampled at any grid (B, 2, h, w) [pixels]; zero motion if not given.
        coarse: The flow of a search down to ``finest`` + 1 (B, 2, h, w) [pixels], which is refined; else all is searched.
        finest: Level whose flow is returned; a coarser one if the frames are too small for it.

    Returns:
        Displacement from query to reference (B, 2, H / 2^finest, W / 2^finest) [pixels of full size], x then y.
    """
    B, coarsest = len(reference[0]), len(reference) - 1
    if coarse is not None and coarsest <= finest:
        return coarse
    finest = min(finest, coarsest)
    flow = coarse
    for level in range(coarsest if coarse is None else finest, finest - 1, -1):
        patches = _Patches(query[level].expand(B, -1, -1, -1), reference[level])
        scale = 2.0**-level
        prior = patches.zero_flow() if initial is None else patches.sample_flow(initial) * scale
        start = prior if flow is None else patches.sample_flow(flow) * scale
        flow = patches.dense_flow(patches.search(start, prior)) / scale
    assert flow is not None
    return flow


class _Patches:
    """The P patches of one level of B pairs, row by row; flow is in pixels of the level here."""

    def __init__(self, query: Tensor, reference: Tensor) -> None:
        self._size = (query.shape[2], query.shape[3])
        # Replicated at the right and bottom, so that the patches cover the frame.
        height, width = (max(PATCH, -(-side // PATCH_STRIDE) * PATCH_STRIDE) for side in self._size)
        self._padded = (height, width)
        self._missing = (0, width - self._size[1], 0, height - self._size[0])
        self._reference = reference
        extended = F.pad(query, (1, 1 + self._missing[1], 1, 1 + self._missing[3]), mode="replicate")
        inner = extended[..., 1:-1, 1:-1]
        dx, dy = extended[..., 1:-1, 2:] - extended[..., 1:-1, :-2], extended[..., 2:, 1:-1] - extended[..., :-2, 1:-1]
        channels = torch.cat((inner, dx, dy), dim=1).unfold(2, PATCH, PATCH_STRIDE).unfold(3, PATCH, PATCH_STRIDE)
        patches = channels.permute(0, 2, 3, 1, 4, 5).reshape(len(query), -1, 3, PATCH * PATCH)  # (B, P, 3, 64)
        self._query = patches[:, :, 0]
        # Without their means, gradients ignore a change of brightness.
        gradient = ((patches[:, :, 1:] - patches[:, :, 1:].mean(dim=3, keepdim=True)) / 2).flatten(0, 1)
        self._descent = _inverse(torch.bmm(gradient, gradient.transpose(1, 2)), gradient)  # (B * P, 2, 64)
        self._query_descent = torch.bmm(self._descent, self._query.reshape(-1, PATCH * PATCH, 1))  # (B * P, 2, 1)
        self._pixels, self._per_pixel = _patch_pixels(self._padded, self._size, query.device)
        self._neighbors = _patch_neighbors(self._padded, query.device)

    def zero_flow(self) -> Tensor:
        """Zero motion (B, P, 2)."""
        return self._query.new_zeros(*self._query.shape[:2], 2)

    def sample_flow(self, flow: Tensor) -> Tensor:
        """Flow at the centers of the patches (B, P, 2), from flow at any grid of the frame (B, 2, h, w)."""
        dense = F.interpolate(flow, self._size, mode="bilinear", align_corners=False)
        first = PATCH // 2 - 1  # the four pixels around a center
        around = F.pad(dense, self._missing, mode="replicate")[..., first:, first:]
        return F.avg_pool2d(around, 2, PATCH_STRIDE).flatten(2).transpose(1, 2)

    def search(self, flow: Tensor, prior: Tensor) -> Tensor:
        """Improves the flow of the patches (B, P, 2); ``prior`` is tried beside it."""
        candidates = torch.cat((self._with_neighbors(flow), prior[:, :, None]), dim=2)
        for number in range(ROUNDS):
            if number:
                candidates = self._with_neighbors(flow)
            flow = self._descend(self._best(candidates))
        return flow

    def dense_flow(self, flow: Tensor) -> Tensor:
        """Flow of the pixels (B, 2, height, width): the mean of the patches that cover one, the similar ones weigh more."""
        difference = self._sample_reference(flow) - self._query
        weight = difference.abs().clamp(min=1).reciprocal().transpose(1, 2)  # (B, 64, P)
        parts = torch.cat((weight, weight * flow[:, None, :, 0], weight * flow[:, None, :, 1]), dim=1)
        sums = F.fold(parts, self._padded, PATCH, stride=PATCH_STRIDE)[..., : self._size[0], : self._size[1]]
        return sums[:, 1:] / sums[:, :1]

    def _with_neighbors(self, flow: Tensor) -> Tensor:
        """The flow of each patch and of those beside it (B, P, 5, 2)."""
        return flow.index_select(1, self._neighbors).view(*flow.shape[:2], -1, 2)

    def _best(self, candidates: Tensor) -> Tensor:
        """Of the flows of each patch (B, P, n, 2) the one with the smallest error (B, P, 2)."""
        errors = (self._sample_reference(candidates) - self._query[:, :, None]).var(dim=3, correction=0)
        best = errors.argmin(dim=2)[..., None, None].expand(-1, -1, 1, 2)
        return candidates.gather(2, best)[:, :, 0]

    def _descend(self, flow: Tensor) -> Tensor:
        """A few steps of the inverse search from a flow (B, P, 2)."""
        for _ in range(STEPS):
            sampled = self._sample_reference(flow).view(-1, PATCH * PATCH, 1)
            start = flow.view(-1, 2, 1) + self._query_descent
            flow = torch.baddbmm(start, self._descent, sampled, alpha=-1).view(flow.shape)
        return flow

    def _sample_reference(self, flow: Tensor) -> Tensor:
        """The reference at the end of each pixel's flow: (B, P, ..., 2) to (B, P, ..., 64)."""
        pixels = self._pixels if flow.ndim == 3 else self._pixels[:, None]
        positions = torch.addcmul(pixels, flow[..., None, :], self._per_pixel)  # (B, P, ..., 64, 2)
        at = positions.view(len(flow), -1, PATCH * PATCH, 2)
        sampled = F.grid_sample(self._reference, at, padding_mode="border", align_corners=True)
        return sampled.view(positions.shape[:-1])


def _inverse(hessian: Tensor, gradient: Tensor) -> Tensor:
    """Inverse Hessians (n, 2, 2), times the gradients (n, 2, 64); patches without texture get 0."""
    xx, yy = hessian.diagonal(dim1=1, dim2=2).add(PATCH * PATCH * _MIN_CURVATURE).unbind(dim=1)
    xy = hessian[:, 0, 1]
    adjugate = torch.stack((yy, -xy, -xy, xx), dim=1) / (xx * yy - xy * xy)[:, None]
    return torch.bmm(adjugate.view(-1, 2, 2), gradient)


@cache
def _gray_weights(device: torch.device) -> Tensor:
    return torch.tensor(_RGB_TO_GRAY, device=device)


@lru_cache(_SIZES)
def _patch_pixels(padded: tuple[int, int], size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Where ``grid_sample`` has the pixels of the patches of a padded frame (P, 64, 2), and the size of a pixel (2,)."""
    per_pixel = torch.tensor([2 / max(side - 1, 1) for side in reversed(size)], device=device)
    y, x = torch.meshgrid(*(torch.arange(side, device=device) for side in padded), indexing="ij")
    pixels = torch.stack((x, y)).unfold(1, PATCH, PATCH_STRIDE).unfold(2, PATCH, PATCH_STRIDE)  # (2, n, m, 8, 8)
    return pixels.flatten(3).flatten(1, 2).permute(1, 2, 0) * per_pixel - 1, per_pixel


@lru_cache(_SIZES)
def _patch_neighbors(padded: tuple[int, int], device: torch.device) -> Tensor:
    """Numbers of each patch and of those above, below, left and right of it (P * 5,); at the border, of itself."""
    rows, columns = ((side - PATCH) // PATCH_STRIDE + 1 for side in padded)
    own = torch.arange(rows * columns, device=device).view(1, 1, rows, columns)
    above_to_right = F.pad(own.double(), (1, 1, 1, 1), mode="replicate")[0, 0].long()
    up, down = above_to_right[:-2, 1:-1], above_to_right[2:, 1:-1]
    left, right = above_to_right[1:-1, :-2], above_to_right[1:-1, 2:]
    return torch.stack((own[0, 0], up, down, left, right), dim=-1).flatten()
