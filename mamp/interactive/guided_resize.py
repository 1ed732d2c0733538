"""Enlarges a mask along the edges of an image, by a guided filter (He et al., TPAMI 2013; fast: He and Sun, 2015)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mamp.propagation.guided_filter import GuidedFilter, scores_at

Bool = NDArray[np.bool_]
Scores = NDArray[np.float32]

_RADIUS = 3  # [pixels of the small mask]
_REGULARIZATION = 0.01  # variance below which a color says little, in squared units of the colors


def guided_resize(mask: Bool, small: Scores, colors: Scores) -> Bool:
    """A mask at the size of an image, with edges where the colors change.

    Around each pixel of the small mask, a linear function of color is fitted to it. The coefficients are enlarged, and
    applied to the colors of the image.

    Args:
        mask: (h, w).
        small: Colors at the size of the mask (h, w, 3), of the order of 1.
        colors: The same of the whole image (H, W, 3).

    Returns:
        Mask (H, W).
    """
    size = colors.shape[:2]
    if mask.shape == size:
        return mask
    guided = GuidedFilter(_channels_first(small), radius=_RADIUS, regularization=_REGULARIZATION)
    coefficients = F.interpolate(guided.fit(torch.from_numpy(mask)[None].float()), size, mode="bilinear")
    return np.asarray((scores_at(_channels_first(colors), coefficients)[0] > 0.5).numpy())


def _channels_first(colors: Scores) -> Tensor:
    return torch.from_numpy(colors).permute(2, 0, 1)
