"""Measures J and F on sequences with masks, in the folders of DAVIS or YouTube-VOS, as the official tools do."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from mamp import distributed
from mamp.evaluation.score_tables import (
    Scores,
    frames_that_count,
    global_table,
    j_and_f,
    measure,
    objects_of,
    seen_table,
    write_tables,
)
from mamp.evaluation.vos_datasets import VosSequence
from mamp.files import write_atomically
from mamp.flow.optical_flow import FlowFunction
from mamp.masks.mask_io import read_mask, resize_mask, write_mask
from mamp.model.encoder import EncoderFunction, device_of
from mamp.prefetch import prefetched, with_next
from mamp.settings import Settings, resized
from mamp.tracker import Frame, MaskTracker

Mask = NDArray[np.uint8]
Numbered = Iterator[tuple[int, Mask]]


@dataclass(frozen=True)
class Method:
    """Who makes the masks: a tracker with its settings, or, without settings, whoever left them in ``folder``."""

    name: str
    settings: Settings | None
    folder: Path | None = None  # where its masks lie, or are kept
    tracker: type[MaskTracker] = MaskTracker


def evaluate(
    sequences: list[VosSequence],
    methods: list[Method],
    *,
    frames: int | None = None,
    split: str = "val",
    seen: Collection[str] = (),
) -> EvaluationResults:
    """Measures every method on every sequence and prints tables; the last line printed is one JSON object.

    Under torchrun each process measures a shard of the sequences, and the first one prints the summary.

    Args:
        sequences: At least one.
        methods: At least one.
        frames: Number of frames to measure of each sequence; all if not given.
        split: Part of the names of the CSV tables.
        seen: Categories of YouTube-VOS in its training set.

    Returns:
        Scores and failures of all processes.
    """
    rank, world = distributed.rank_and_world()
    if rank == 0:
        _row("sequence", "masks by", "frames", ["J", "F", "J&F"], "frames/s")
    outcome = _measured(shard_sequences(sequences, world)[rank], methods, frames)
    for other in _of_all_processes(outcome, world):
        outcome.add(other)
    if rank == 0:
        outcome.sort([sequence.name for sequence in sequences])
        _summarise(sequences, methods, outcome, split, set(seen))
    return outcome


def shard_sequences(sequences: list[VosSequence], world: int) -> list[list[VosSequence]]:
    """Deals sequences out to processes: the longest first, each to the process with the least to do."""
    shares: list[list[VosSequence]] = [[] for _ in range(world)]
    for sequence in sorted(sequences, key=len, reverse=True) if world > 1 else sequences:
        min(shares, key=lambda share: sum(map(len, share))).append(sequence)
    return shares


@dataclass
class EvaluationResults:
    """What came of it: scores by contender and sequence, and what went wrong by sequence."""

    scores: dict[str, dict[str, Scores]]
    failures: dict[str, str]

    def add(self, other: EvaluationResults) -> None:
        """Takes over what another process has found."""
        self.failures |= other.failures
        for name, by_sequence in other.scores.items():
            self.scores[name] |= by_sequence

    def sort(self, order: list[str]) -> None:
        """Puts sequences into the data set's order."""
        for name, by_sequence in self.scores.items():
            self.scores[name] = {sequence: by_sequence[sequence] for sequence in order if sequence in by_sequence}


def _measured(sequences: Iterable[VosSequence], contenders: list[Method], frames: int | None) -> EvaluationResults:
    """Measures every contender on every sequence; one that fails is reported, and the others go on."""
    outcome = EvaluationResults({contender.name: {} for contender in contenders}, {})
    for contender in contenders:
        _note_settings(contender)
    for sequence in sequences:
        for contender in contenders:
            began = time.monotonic()
            try:
                count = min(len(sequence), frames or len(sequence))
                found = measure(sequence, masks_of(contender, sequence, count), count)
            except (ValueError, RuntimeError, OSError) as error:
                outcome.failures[sequence.name] = str(error)
                print(f"{sequence.name}: {error}", file=sys.stderr, flush=True)
                continue
            outcome.scores[contender.name][sequence.name] = found
            rate = count / (time.monotonic() - began)
            _row(sequence.name, contender.name, count, _percent(found.values()), f"{rate:.2f}")
    return outcome


def _of_all_processes(mine: EvaluationResults, world: int) -> list[EvaluationResults]:
    if world == 1:
        return []
    everyone: list[EvaluationResults] = [mine] * world
    dist.all_gather_object(everyone, mine)
    return everyone


def masks_of(contender: Method, sequence: VosSequence, count: int) -> Numbered:
    """The masks of a sequence's first ``count`` frames that its data set wants: those that are there, else tracked ones."""
    wanted, folder = sequence.wanted(count), contender.folder
    if contender.settings is None:
        assert folder is not None
        counted = {t for frames in frames_that_count(sequence, count).values() for t in frames}
        return stored(sequence, folder, sorted(counted))
    if folder and all(mask_file(folder, sequence, t).exists() for t in wanted):
        return stored(sequence, folder, wanted)
    masks = (found for found in tracked(sequence, contender, count) if found[0] in wanted)
    return kept(masks, sequence, folder) if folder else masks


def tracked(sequence: VosSequence, contender: Method, count: int) -> Numbered:
    """Tracks the first ``count`` frames, from the first given mask on; YouTube-VOS at half its size (Sec. 4)."""
    chosen = contender.settings
    assert chosen is not None
    encoder = _encoder(chosen)
    tracker = contender.tracker(encoder, flow=_flow(chosen), **chosen.tracker_kwargs())
    with prefetched(_shrunk(sequence, chosen, count), device_of(encoder)) as frames:
        for (t, size, frame, mask), after in with_next(frames):
            yield t, tracker.step(frame, mask, output_size=size, next_frame=after and after[2])


def _shrunk(
    sequence: VosSequence, chosen: Settings, count: int
) -> Iterator[tuple[int, tuple[int, int], Frame, Mask | None]]:
    """Number, size (H, W), frame at the size of processing, and given mask, from the first given mask on."""
    started = False
    for t in range(count):
        given = sequence.given(t)
        started = started or given is not None
        if not started:
            continue
        frame = sequence.frame(t)
        size = (frame.shape[0], frame.shape[1])
        if sequence.listed and not chosen.short_side:
            chosen = replace(chosen, short_side=min(size) // 2)
        small = chosen.processing_size(size)
        mask = None if given is None else resize_mask(given, small)
        yield t, size, resized(frame, small), mask


def stored(sequence: VosSequence, folder: Path, frames: Iterable[int]) -> Numbered:
    """The masks of some frames that lie in ``folder``.

    Raises:
        MaskError: One is missing or cannot be read.
        ValueError: One has another size or a label that the sequence has not.
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


def kept(masks: Numbered, sequence: VosSequence, folder: Path) -> Numbered:
    """Writes masks as they come by."""
    (folder / sequence.name).mkdir(parents=True, exist_ok=True)
    for t, mask in masks:
        write_mask(mask_file(folder, sequence, t), mask)
        yield t, mask


def mask_file(folder: Path, sequence: VosSequence, t: int) -> Path:
    """Where the mask of a frame lies, for the official tools too."""
    return folder / sequence.name / f"{sequence.frame_name(t)}.png"


def _note_settings(contender: Method) -> None:
    """Leaves the settings beside the masks, so that a run is never gone on with under other ones."""
    if contender.settings is None or contender.folder is None:
        return
    path = contender.folder / "settings.json"
    origin = getattr(_encoder(contender.settings), "origin", {})
    text = json.dumps({**asdict(contender.settings), **origin, "device": None}, indent=1)
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{contender.folder.name} holds masks of other settings: choose another folder for --save")
    contender.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def _summarise(
    sequences: list[VosSequence], contenders: list[Method], outcome: EvaluationResults, split: str, seen: set[str]
) -> None:
    """Prints means and, of several contenders, the sequences side by side; writes tables and the zip; ends with JSON."""
    listed = any(sequence.listed for sequence in sequences)
    categories = {
        sequence.name: {label: found.category for label, found in sequence.objects.items()}
        for sequence in sequences
        if sequence.name not in outcome.failures
    }
    summary: dict[str, object] = {}
    for contender in contenders:
        by_sequence = outcome.scores[contender.name]
        objects = objects_of(by_sequence)
        table = global_table(by_sequence) if objects else {}
        if objects:
            _row("mean over objects", contender.name, "", _percent(objects), "")
        if by_seen := seen_table(by_sequence, categories, seen):
            print("  ".join(f"{name} {100 * value:.1f}" for name, value in by_seen.items()))
        table |= by_seen
        summary[contender.name] = {name: round(100 * value, 2) for name, value in table.items()} | {
            "objects": len(objects)
        }
        if contender.folder and objects:
            write_tables(contender.folder, split, table, by_sequence)
        if contender.folder and contender.settings and not outcome.failures:
            path = write_zip(contender.folder, sequences, "Annotations/" if listed else "")
            print(f"{path.name} in {contender.folder.name} is what the server takes")
    if len(contenders) > 1:
        _side_by_side(contenders, outcome)
    if outcome.failures:
        summary["failures"] = outcome.failures
    print(json.dumps(summary))


def write_zip(folder: Path, sequences: Iterable[VosSequence], inside: str) -> Path:
    """Packs the masks of a folder as the data set's server takes them; ``inside`` is where in the zip they lie."""
    path = folder / "masks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:  # PNGs are compressed already
        for sequence in sequences:
            for mask in sorted((folder / sequence.name).glob("*.png")):
                file.write(mask, f"{inside}{sequence.name}/{mask.name}")
    return path


def _side_by_side(contenders: list[Method], outcome: EvaluationResults) -> None:
    """J&F of every sequence, a column a contender, and how far the last is ahead of the first."""
    names = [contender.name for contender in contenders]
    print(f"\n{'J&F':24}" + "".join(f"{name[:11]:>12}" for name in (*names, "last-first")))
    shared = [name for name in outcome.scores[names[0]] if all(outcome.scores[other].get(name) for other in names)]
    rows = {name: [list(outcome.scores[other][name].values()) for other in names] for name in shared}
    if shared:
        rows["mean over objects"] = [
            [values for name in shared for values in outcome.scores[other][name].values()] for other in names
        ]
    for name, row in rows.items():
        means = [_percent(objects)[2] for objects in row]
        print(f"{name:24}" + "".join(f"{mean:12.1f}" for mean in means) + f"{means[-1] - means[0]:+12.1f}")


@cache
def _encoder(chosen: Settings) -> EncoderFunction:
    return chosen.encoder()


@cache
def _flow(chosen: Settings) -> FlowFunction | None:
    return chosen.flow_function()


def _percent(objects: Iterable[tuple[float, ...]]) -> list[float]:
    objects = list(objects)
    return [100 * value for value in j_and_f(objects)] if objects else []


def _row(sequence: str, name: str, frames: int | str, means: list[float] | list[str], rate: str) -> None:
    cells = [f"{mean:.1f}" if isinstance(mean, float) else mean for mean in means or ["", "", ""]]
    print(
        f"{sequence:24}{name[:10]:>11}{frames:>8}" + "".join(f"{cell:>8}" for cell in cells) + f"{rate:>10}", flush=True
    )
