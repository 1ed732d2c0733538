"""Self-supervised losses: reconstruction of a color channel (Sec. 3.1), correspondence by optical flow, distillation.

All take the features of pairs of frames (B, 2, C, h, w) and use both directions of every pair.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.flow.warp import to_cell_units, warp
from mamp.propagation.alignment import to_cells, to_pixels
from mamp.propagation.local_matching import reconstruct

COLOR_SCALE = 20.0  # of the compared colors: most errors then lie on the linear part of smooth L1
SHIFTS, SIMILARITY_WEIGHT = 6, 2.0  # of the similarities in distillation
_MAX_CYCLE_ERROR, _MAX_CYCLE_RATIO = 1.0, 0.05  # of reliable flow: 1 pixel and 5 % of the motion


def reconstruction_loss(features: Tensor, target: Tensor, *, radius: int) -> Tensor:
    """Smooth L1 loss of each frame's dropped color channel, reconstructed from the other frame (Sec. 3.1).

    Args:
        features: Features of the frames without that channel (B, 2, C, h, w).
        target: The dropped channel (B, 2, 1, H, W).
        radius: Window radius [cells].

    Returns:
        The loss, a scalar.
    """
    query, reference = _both_directions(features)
    query_color, reference_color = _both_directions(target)
    cells = reconstruct(query, reference, to_cells(reference_color), radius=radius)  # (2B, 1, h, w)
    pixels = to_pixels(cells.flatten(0, 1), (query_color.shape[-2], query_color.shape[-1])).view_as(query_color)
    return F.smooth_l1_loss(COLOR_SCALE * pixels, COLOR_SCALE * query_color)


def correspondence_loss(features: Tensor, flow: Tensor) -> Tensor:
    """Cross-entropy of each cell's match among all cells of the other frame; the flow gives the target cell.

    Not in the paper. The reconstruction loss leaves features blurred, since neighbors mostly have the same color; this one
    rewards features that discriminate neighbors. Optical flow needs no labels either. Cells whose forward and backward
    flow disagree are ignored.

    Args:
        features: Features of both frames (B, 2, C, h, w).
        flow: Flow of the first frame to the second, and of the second to the first (B, 2, 2, H, W) [pixels].

    Returns:
        The loss, a scalar; a target between cells is split among the four around it.
    """
    query, reference = _both_directions(features)
    forward, backward = _both_directions(flow)
    returned, inside = warp(backward, forward)
    cycle_error = (forward + returned).norm(dim=1)  # (2B, H, W)
    consistent = cycle_error < _MAX_CYCLE_ERROR + _MAX_CYCLE_RATIO * forward.norm(dim=1)
    reliable = to_cells(inside & consistent).flatten(1)  # (2B, hw)

    C, h, w = query.shape[1:]
    similarity = torch.bmm(query.flatten(2).transpose(1, 2) * C**-0.5, reference.flatten(2))  # (2B, hw, hw)
    cell_y, cell_x = torch.meshgrid(
        torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij"
    )
    motion = to_cell_units(forward)
    x, y = (motion[:, 0] + cell_x).flatten(1), (motion[:, 1] + cell_y).flatten(1)  # (2B, hw)
    reliable &= (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    left, top = x.floor().clamp(0, w - 2), y.floor().clamp(0, h - 2)
    target = torch.zeros_like(x)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
            index = ((top + dy) * w + left + dx).long()
            target = target + weight * similarity.gather(2, index[..., None])[..., 0]
    entropy = similarity.logsumexp(dim=2) - target
    return torch.where(reliable, entropy, 0).sum() / reliable.sum().clamp(min=1)


def distillation_loss(features: Tensor, target: Tensor, *, radius: int, rng: torch.Generator) -> Tensor:
    """Difference of the features of a small encoder, the student, from those of a larger one, its teacher.

    Not in the paper. One minus their cosine, and the squared error of the similarities that matching compares: those of
    the cells of one frame to the cells of the other, at a few random shifts within the search window.

    Args:
        features: Features of the student (B, 2, C, h, w).
        target: Features of the teacher (B, 2, C, h, w).
        radius: Largest shift [cells]; less if the grid is smaller.
        rng: Random generator of the shifts.

    Returns:
        The loss, a scalar.
    """
    student, teacher = F.normalize(features, dim=2), F.normalize(target, dim=2)
    loss = 1 - (student * teacher).sum(dim=2).mean()
    h, w = features.shape[-2:]
    largest = min(radius, h - 1, w - 1)
    errors = []
    for dy, dx in torch.randint(-largest, largest + 1, (SHIFTS, 2), generator=rng).tolist():
        rows, columns = slice(max(0, dy), min(h, h + dy)), slice(max(0, dx), min(w, w + dx))
        shifted_rows, shifted_columns = slice(max(0, -dy), min(h, h - dy)), slice(max(0, -dx), min(w, w - dx))
        similarity, target_similarity = (
            (pair[..., rows, columns] * pair.flip(1)[..., shifted_rows, shifted_columns]).sum(dim=2)
            for pair in (student, teacher)
        )
        errors.append(F.mse_loss(similarity, target_similarity))
    return loss + SIMILARITY_WEIGHT * torch.stack(errors).mean()


def _both_directions(pair: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and references (2B, ...) of both directions of pairs (B, 2, ...)."""
    return pair.transpose(0, 1).flatten(0, 1), pair.flip(1).transpose(0, 1).flatten(0, 1)
