"""Fewer channels for matching: projections of features on their principal directions in one frame of the clip.

The encoder's 64 channels are for any clip. The features of one clip vary in fewer directions, and matching takes time and
memory by the number of channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 32


def principal_directions(key: Tensor) -> Tensor:
    """The directions of which most of the features' length remains in a projection.

    Args:
        key: Features of a frame (C, h, w).

    Returns:
        Orthonormal directions (C, ``CHANNELS``), or (C, C) for fewer channels, in single precision.
    """
    features = key.flatten(1).double()  # in single precision, sums would depend on the number of threads
    _, directions = torch.linalg.eigh(features @ features.T)  # by ascending eigenvalue
    assert isinstance(directions, Tensor)
    return directions[:, -CHANNELS:].to(torch.float32)


def project(key: Tensor, directions: Tensor) -> Tensor:
    """Projects features (C, h, w) on directions (C, D): (D, h, w) in their type, with channels last in memory.

    They are scaled for matching, which divides products by the root of the number of channels.
    """
    C, h, w = key.shape
    D = directions.shape[1]
    scaled = directions * (D / C) ** 0.25
    projected: Tensor = key.permute(1, 2, 0).flatten(0, 1).float() @ scaled
    return projected.to(key.dtype).view(h, w, D).permute(2, 0, 1)
