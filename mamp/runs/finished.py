"""A finished run, opened again with its clip."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from mamp.flow.optical_flow import load_flow
from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import read_mask
from mamp.model.checkpoint import shared_encoder
from mamp.model.encoder import EncoderFunction
from mamp.runs.incremental import clip_sha256, differing_entry
from mamp.runs.mask_store import MaskStore
from mamp.runs.memory_files import MemoryFiles
from mamp.runs.packed_masks import PackedMasks
from mamp.runs.receipt import run_identity
from mamp.runs.request import RunRequest
from mamp.runs.results import Result
from mamp.runs.resume import TrackerFactory
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.video.reader import MAX_RATE, VideoReader


def open_clip(result: Result, clip: str | Path) -> VideoReader:
    """The clip of a run.

    Raises:
        MaskError: The folder holds no run, or the clip is another one.
        VideoError: The clip cannot be read.
    """
    reader = VideoReader(clip, min(Fraction(result.receipt["fps"]), MAX_RATE))
    if result.receipt["clip_sha256"] != clip_sha256(reader.path):
        raise MaskError(f"{reader.path.name} is not the clip of this run, which is {result.receipt['clip']}.")
    return reader


def open_trackers(
    result: Result, clip: str | Path, encoder: EncoderFunction | None = None, device: str = "auto"
) -> TrackerFactory:
    """The trackers of a run: with its clip, masks, settings and weights.

    Args:
        result: The folder of the run.
        clip: Its clip.
        encoder: Encoder of the run, for weights that are not the shipped ones; by default it is loaded again.
        device: Device of the encoder and the flow, for a run that was not restricted to the CPU: it may be of another
            machine.

    Raises:
        MaskError: The folder holds no run, the clip is another one, or the weights are not those of the run, or the run
            is of another version.
        VideoError: The clip cannot be read.
        WeightsError: The weights cannot be loaded.
    """
    reader = open_clip(result, clip)
    settings = Settings.from_dict(result.receipt["settings"])
    local = settings if settings.device == "cpu" else replace(settings, device=device)
    encoder = encoder or shared_encoder(local.weights, local.device)
    input_masks = PackedMasks()
    for frame, path in result.input_masks.items():
        input_masks.add(frame, read_mask(path))
    names = {int(label): name for label, name in result.receipt["names"].items()}
    request = RunRequest(reader, input_masks, settings, names)
    identity = run_identity(request, encoder)
    if key := differing_entry(result.receipt, identity):
        cause = f"other weights, {result.receipt.get('weights')}" if "weights" in key else "another version of MAMP"
        raise MaskError(f"The run in {result.folder.name} was made with {cause}.")
    store, memories = MaskStore(result, reader), MemoryFiles(result, request, identity)
    return TrackerFactory(request, store, memories, encoder, load_flow(local), StageTimer())
