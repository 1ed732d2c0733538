"""Masks of sequences in a folder, one PNG a frame, as the official tools and servers take them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamp.evaluation.method import Method
from mamp.evaluation.vos_datasets import VosSequence
from mamp.files import write_atomically
from mamp.masks.mask_io import read_mask, write_mask
from mamp.model.checkpoint import shared_encoder

Mask = NDArray[np.uint8]
NumberedMasks = Iterator[tuple[int, Mask]]


def mask_file(folder: Path, sequence: VosSequence, t: int) -> Path:
    """The mask file of a frame."""
    return folder / sequence.name / f"{sequence.frame_name(t)}.png"


def read_masks(sequence: VosSequence, folder: Path, frames: Iterable[int]) -> NumberedMasks:
    """Reads the masks of the given frames.

    Yields:
        Frame number and mask (H, W) uint8.

    Raises:
        MaskError: A mask is missing or cannot be read.
        ValueError: A mask has another size than the ground truth, or a label that is not in the sequence.
    """
    last = max(sequence.objects)
    for t in frames:
        path = mask_file(folder, sequence, t)
        mask, truth = read_mask(path), sequence.mask(t)
        if truth is not None and mask.shape != truth.shape:
            raise ValueError(f"{sequence.name}/{path.name} is {mask.shape[1]}x{mask.shape[0]}, unlike the true masks")
        if mask.max() > last:
            raise ValueError(f"{sequence.name}/{path.name} has a label that the sequence's first mask has not")
        yield t, mask


def save_masks(masks: NumberedMasks, sequence: VosSequence, folder: Path) -> NumberedMasks:
    """Writes each mask before it is yielded."""
    (folder / sequence.name).mkdir(parents=True, exist_ok=True)
    for t, mask in masks:
        write_mask(mask_file(folder, sequence, t), mask)
        yield t, mask


def save_settings(method: Method) -> None:
    """Writes the settings beside the masks, so that a run never resumes with different ones.

    Raises:
        ValueError: The folder holds masks of different settings.
    """
    if method.settings is None or method.folder is None:
        return
    path = method.folder / "settings.json"
    origin = getattr(shared_encoder(method.settings.weights, method.settings.device), "origin", {})
    text = json.dumps({**method.settings.to_dict(), **origin, "device": None}, indent=1)
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{method.folder.name} holds masks of other settings: choose another folder for --save")
    method.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
