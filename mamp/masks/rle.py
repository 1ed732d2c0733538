"""Run-length encoding of masks in COCO's compressed format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from mamp.masks.label_map import objects_in

Rle = dict[str, Any]


def encode_rle(mask: NDArray[np.uint8]) -> bytes:
    """The objects of a label map (H, W) uint8 as one text of labels and compressed run lengths; see ``unpack_rle``."""
    counts = {
        label: coco.encode(np.asfortranarray(mask == label).view(np.uint8))["counts"] for label in objects_in(mask)
    }
    return b" ".join(b"%d %b" % item for item in counts.items())


def unpack_rle(packed: bytes) -> dict[int, bytes]:
    """The compressed run lengths in a text from ``encode_rle``, by label."""
    words = packed.split()
    return {int(label): counts for label, counts in zip(words[::2], words[1::2], strict=True)}


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
