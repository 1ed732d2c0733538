"""Run-length encoding of masks in COCO's compressed format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from mamp.masks.label_map import objects_in

Rle = dict[str, Any]


def encode_rle(mask: NDArray[np.uint8]) -> dict[int, bytes]:
    """The compressed run lengths of each object in a label map (H, W) uint8, by label."""
    return {label: coco.encode(np.asfortranarray(mask == label).view(np.uint8))["counts"] for label in objects_in(mask)}


def describe_rle(counts: bytes, size: tuple[int, int]) -> Rle:
    """The COCO annotation of an object with given run lengths on a frame of ``size`` (H, W).

    Returns:
        ``segmentation`` (``size`` and ``counts``), ``area`` [pixels] and ``bbox`` (x, y, width, height) [pixels].
    """
    run_lengths = {"size": list(size), "counts": counts}
    return {
        "segmentation": {"size": list(size), "counts": counts.decode()},
        "area": int(coco.area(run_lengths)),
        "bbox": coco.toBbox(run_lengths).tolist(),
    }
