"""Fine detail for thin objects: strings, poles and small objects are lost between cells of 4 pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in, resize_mask
from mamp.settings import Settings

# Chosen on davis-tune (docs/EXPERIMENTS.md).
_THIN = 22.0  # [pixels at normal detail]


def with_detail(settings: Settings, mask: NDArray[np.uint8]) -> Settings:
    """Settings with detail "auto" resolved: "fine" for thin objects, unless the processing size is that of the clip.

    Args:
        settings: Settings of a run.
        mask: Its first input mask, a label map (H, W) uint8 of the clip's size.
    """
    if settings.detail != "auto":
        return settings
    processed = resize_mask(mask, settings.processing_size((mask.shape[0], mask.shape[1])))
    fine = settings.short_side and mean_width(processed) < _THIN
    return replace(settings, detail="fine" if fine else "normal")


def mean_width(mask: NDArray[np.uint8]) -> float:
    """Mean width of all objects of a label map (H, W) uint8 [pixels]: twice their area, divided by their outline."""
    outlines = [
        outline
        for label in objects_in(mask)
        for outline in cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    ]
    return 2 * np.count_nonzero(mask) / max(1, sum(map(len, outlines)))
