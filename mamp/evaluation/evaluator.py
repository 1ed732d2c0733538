"""J and F of methods on sequences with ground truth, in the layouts of DAVIS and YouTube-VOS."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from mamp import distributed
from mamp.evaluation.method import Method
from mamp.evaluation.score_tables import measure, scored_frames, write_tables
from mamp.evaluation.sharding import EvaluationResults, gather_results, shard_sequences
from mamp.evaluation.stored_masks import NumberedMasks, mask_file, read_masks, save_masks, save_settings
from mamp.evaluation.summary import print_comparison, print_header, print_means, print_sequence
from mamp.evaluation.vos_datasets import VosSequence
from mamp.files import atomic_zip
from mamp.flow.optical_flow import load_flow
from mamp.model.checkpoint import shared_encoder
from mamp.runs.frame_loop import track_frames
from mamp.video.reader import VideoReader


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
        seen: Categories in the training set of YouTube-VOS.

    Returns:
        Scores and failures of all processes.
    """
    rank, world = distributed.rank_and_world()
    if rank == 0:
        print_header()
    results = _evaluate_shard(shard_sequences(sequences, world)[rank], methods, frames)
    gather_results(results, world)
    if rank == 0:
        results.sort([sequence.name for sequence in sequences])
        _summarize(sequences, methods, results, split, set(seen))
    return results


def _evaluate_shard(sequences: Iterable[VosSequence], methods: list[Method], frames: int | None) -> EvaluationResults:
    """Measures every method on every sequence; a failure is reported, and the others continue."""
    results = EvaluationResults({method.name: {} for method in methods}, {})
    for method in methods:
        save_settings(method)
    for sequence in sequences:
        for method in methods:
            began = time.monotonic()
            try:
                count = min(len(sequence), frames or len(sequence))
                scores = measure(sequence, masks_of(method, sequence, count), count)
            except (ValueError, RuntimeError, OSError) as error:
                results.failures[sequence.name] = str(error)
                print(f"{sequence.name}: {error}", file=sys.stderr, flush=True)
                continue
            results.scores[method.name][sequence.name] = scores
            rate = count / (time.monotonic() - began)
            print_sequence(sequence.name, method.name, count, scores.values(), rate)
    return results


def masks_of(method: Method, sequence: VosSequence, count: int) -> NumberedMasks:
    """The masks of a sequence's first ``count`` frames that its data set evaluates: read where stored, else tracked."""
    evaluated, folder = sequence.evaluated_frames(count), method.folder
    if method.settings is None:
        assert folder is not None
        with_truth = {t for frames in scored_frames(sequence, count).values() for t in frames}
        return read_masks(sequence, folder, sorted(with_truth))
    if folder and all(mask_file(folder, sequence, t).exists() for t in evaluated):
        return read_masks(sequence, folder, evaluated)
    masks = (numbered for numbered in tracked(sequence, method, count) if numbered[0] in evaluated)
    return save_masks(masks, sequence, folder) if folder else masks


def tracked(sequence: VosSequence, method: Method, count: int) -> NumberedMasks:
    """Tracks the first ``count`` frames from the first input mask on; YouTube-VOS at half its size (Sec. 4)."""
    settings = method.settings
    assert settings is not None
    input_masks = {t: mask for t in range(count) if (mask := sequence.input_mask(t)) is not None}
    if not input_masks:
        return
    encoder = shared_encoder(settings.weights, settings.device)
    tracker = method.tracker(encoder, flow=load_flow(settings), **settings.tracker_kwargs())
    first = min(input_masks)
    if sequence.listed and not settings.short_side:
        settings = replace(settings, short_side=min(sequence.frame(first).shape[:2]) // 2)
    frames = itertools.islice(VideoReader(sequence.folder), first, count)
    with closing(track_frames(frames, lambda _: tracker, settings, input_masks, encoder=encoder)) as masks:
        for frame, mask in masks:
            assert mask is not None
            yield frame.index, mask


def _summarize(
    sequences: list[VosSequence], methods: list[Method], results: EvaluationResults, split: str, seen: set[str]
) -> None:
    """Prints means, methods side by side and the JSON object; writes the tables, and the zip for the server."""
    listed = any(sequence.listed for sequence in sequences)
    scored = {name for by_sequence in results.scores.values() for name in by_sequence}
    categories = {
        sequence.name: {label: vos_object.category for label, vos_object in sequence.objects.items()}
        for sequence in sequences
        if sequence.name in scored
    }
    summary: dict[str, object] = {}
    for method in methods:
        by_sequence = results.scores[method.name]
        objects = sum(map(len, by_sequence.values()))
        table = print_means(method.name, by_sequence, categories, seen)
        summary[method.name] = {name: round(100 * value, 2) for name, value in table.items()} | {"objects": objects}
        if method.folder and objects:
            write_tables(method.folder, split, table, by_sequence)
        if method.folder and method.settings and not results.failures:
            path = write_zip(method.folder, sequences, "Annotations/" if listed else "")
            print(f"{path.name} in {method.folder.name} is what the server takes")
    if len(methods) > 1:
        print_comparison(results.scores)
    if results.failures:
        summary["failures"] = results.failures
    print(json.dumps(summary))


def write_zip(folder: Path, sequences: Iterable[VosSequence], inside: str) -> Path:
    """Packs the masks of a folder for the data set's server; ``inside`` is their folder in the zip."""
    path = folder / "masks.zip"
    with atomic_zip(path) as archive:
        for sequence in sequences:
            for mask in sorted((folder / sequence.name).glob("*.png")):
                archive.write(mask, f"{inside}{sequence.name}/{mask.name}")
    return path
