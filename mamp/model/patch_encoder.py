"""The untrained baseline encoder: raw patches of Lab pixels."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE, unit_length

PATCH = "patch"  # given in place of a weights file


class PatchEncoder:
    """Untrained baseline: normalized 7x7 Lab patches at every fourth pixel.

    Color counts more than lightness (2.5 against 0.7), because lightness changes more from frame to frame.

    Args:
        side: Side of the patch, odd [pixels].
        temperature: Temperature of the softmax over cosines [> 0].
    """

    origin: ClassVar[dict[str, str | None]] = {"weights": PATCH, "weights_sha256": None}

    def __init__(self, side: int = 7, temperature: float = 0.02) -> None:
        self.side = side
        self.temperature = temperature

    @property
    def architecture(self) -> str:
        """As that of ``Encoder``."""
        return f"{self.side}x{self.side} patches"

    def __call__(self, lab: Tensor) -> Tensor:
        """Normalized Lab (B, 3, H, W) -> unit-length patches (B, 3 * side * side, H / 4, W / 4)."""
        weights = lab.new_tensor((0.7, 2.5, 2.5)).view(1, 3, 1, 1)
        margin = self.side // 2
        padded = F.pad(lab * weights, (margin,) * 4, mode="replicate")
        patches = F.unfold(padded, self.side, stride=STRIDE)  # (B, 3 * side * side, h * w)
        grid = ((lab.shape[-2] - 1) // STRIDE + 1, (lab.shape[-1] - 1) // STRIDE + 1)
        return unit_length(patches.view(*patches.shape[:2], *grid), self.temperature)
