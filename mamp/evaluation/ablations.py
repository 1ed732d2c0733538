"""The rows of the ablation tables, each as changed settings and a tracker class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mamp.model.encoder import STRIDE
from mamp.tracker import MaskTracker

Frame = NDArray[np.uint8]


class UnalignedTracker(MaskTracker):
    """A tracker without size-aware alignment (Sec. 3.3): masks are resized to the cells and back like images."""

    def mask_to_cells(self, mask: Frame) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
        cells = F.interpolate(pixels, tuple(-(-side // STRIDE) for side in mask.shape), mode="nearest-exact")
        return cells[0, 0].to(torch.uint8).to(self.device)

    def scores_to_mask(self, scores: Tensor, labels: Sequence[int], frame: Frame, size: tuple[int, int]) -> Frame:
        pixels = F.interpolate(scores[None], size, mode="bilinear", align_corners=False)[0]
        answer = torch.tensor(labels, device=scores.device)[pixels.argmax(dim=0)]
        return np.asarray(answer.to(torch.uint8).cpu().numpy(), np.uint8)


@dataclass(frozen=True)
class Row:
    """One row of an ablation table."""

    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # of ``Settings``
    tracker: type[MaskTracker] = MaskTracker


ABLATIONS: dict[str, dict[str, Row]] = {
    "memory": {"long": Row({"short_term": ()}), "short": Row({"long_term": ()}), "both": Row()},  # Table 4
    "motion": {"off": Row({"flow": "none"}), "on": Row()},  # Table 5, M
    "flow": {  # ours
        "none": Row({"flow": "none"}),
        "dis": Row({"flow": "dis"}),
        "raft": Row({"flow": "raft"}),
    },
    "alignment": {
        "off": Row({"upsampling": "bilinear"}, UnalignedTracker),
        "on": Row({"upsampling": "bilinear"}),
    },  # Table 5, S
    "upsampling": {"bilinear": Row({"upsampling": "bilinear"}), "guided": Row()},  # ours
    "matching": {
        "neither": Row({"discriminant_weight": 0.0, "logit_adjustment": 0.0}),
        "discriminant_weight": Row({"logit_adjustment": 0.0}),
        "logit_adjustment": Row({"discriminant_weight": 0.0}),
        "both": Row(),
    },  # ours
    "topk": {**{str(k): Row({"top_k": k}) for k in (1, 9, 36)}, "all": Row({"top_k": None})},  # Table 6
}
