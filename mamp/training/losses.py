"""What training asks of the features, without labels: rebuild a dropped colour (Sec. 3.1), and find where the motion led.

Both take the features of pairs of frames (B, 2, C, h, w) and work in both directions of every pair.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.flow.warp import to_cell_units, warp
from mamp.propagation.alignment import to_cells, to_pixels
from mamp.propagation.local_matching import reconstruct

COLOUR_SCALE = 20.0  # the loss compares 20 times the colours: most errors then lie on its linear part
_TRUST, _TRUST_SHARE = 1.0, 0.05  # flow there and back may miss by 1 pixel and 5 % of the motion


def reconstruction_loss(features: Tensor, target: Tensor, *, radius: int) -> Tensor:
    """Rebuilds the dropped colour of each frame of a pair from the other frame: the paper's loss (Sec. 3.1).

    Args:
        features: Of frames without that colour (B, 2, C, h, w).
        target: The colour (B, 2, 1, H, W).
        radius: Of the window [cells].

    Returns:
        The smooth L1 loss, a scalar.
    """
    query, reference = _both_ways(features)
    wanted, other = _both_ways(target)
    rebuilt = reconstruct(query, reference, to_cells(other), radius=radius)  # (2B, 1, h, w)
    full = to_pixels(rebuilt.flatten(0, 1), (wanted.shape[-2], wanted.shape[-1])).view_as(wanted)
    return F.smooth_l1_loss(COLOUR_SCALE * full, COLOUR_SCALE * wanted)


def correspondence_loss(features: Tensor, flow: Tensor) -> Tensor:
    """Asks each cell to find, among all cells of the other frame, the one that optical flow leads to.

    Not in the paper. Rebuilding colours leaves features blurred, since neighbours mostly have the same colour; this one
    rewards features that tell neighbours apart. The flow needs no labels either. Where the flow there and back do not
    agree nothing is asked.

    Args:
        features: Of both frames (B, 2, C, h, w).
        flow: Displacement [pixels] of the first frame to the second and of the second to the first (B, 2, 2, H, W).

    Returns:
        The cross-entropy over cells (a scalar); where the flow ends between cells the four around it share the vote.
    """
    query, reference = _both_ways(features)
    there, back = _both_ways(flow)
    back_there, inside = warp(back, there)
    miss = (there + back_there).norm(dim=1)  # (2B, H, W)
    trusted = to_cells(inside & (miss < _TRUST + _TRUST_SHARE * there.norm(dim=1))).flatten(1)  # (2B, hw)

    C, h, w = query.shape[1:]
    similarity = torch.bmm(query.flatten(2).transpose(1, 2) * C**-0.5, reference.flatten(2))  # (2B, hw, hw)
    step_y, step_x = torch.meshgrid(
        torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij"
    )
    cells = to_cell_units(there)
    x, y = (cells[:, 0] + step_x).flatten(1), (cells[:, 1] + step_y).flatten(1)  # (2B, hw)
    trusted &= (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    left, top = x.floor().clamp(0, w - 2), y.floor().clamp(0, h - 2)
    found = torch.zeros_like(x)
    for dy in (0, 1):
        for dx in (0, 1):
            share = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
            index = ((top + dy) * w + left + dx).long()
            found = found + share * similarity.gather(2, index[..., None])[..., 0]
    entropy = similarity.logsumexp(dim=2) - found
    return torch.where(trusted, entropy, 0).sum() / trusted.sum().clamp(min=1)


def _both_ways(pair: Tensor) -> tuple[Tensor, Tensor]:
    """Of pairs (B, 2, ...): the queries and the references of both directions, (2B, ...) each."""
    return pair.transpose(0, 1).flatten(0, 1), pair.flip(1).transpose(0, 1).flatten(0, 1)
