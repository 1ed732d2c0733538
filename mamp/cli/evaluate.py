"""The subcommand ``evaluate``: J and F on sequences with ground truth."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mamp import distributed
from mamp.cli import options
from mamp.evaluation.ablations import ABLATIONS
from mamp.evaluation.evaluator import evaluate
from mamp.evaluation.method import Method
from mamp.evaluation.vos_datasets import DATASETS, find_sequences, seen_categories
from mamp.model.patch_encoder import PATCH
from mamp.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp evaluate``."""
    parser.add_argument("root", type=Path, help="folder of DAVIS or YouTube-VOS, or with JPEGImages/ and Annotations/")
    parser.add_argument("--dataset", choices=DATASETS, default="auto", help="layout of the folder (%(default)s)")
    parser.add_argument("--split", default="val", help="list in ImageSets/, or folder of YouTube-VOS (%(default)s)")
    parser.add_argument("--resolution", default="480p", help="folder in JPEGImages/ and Annotations/ (%(default)s)")
    parser.add_argument("--sequences", help="names of the sequences to measure, separated by commas")
    parser.add_argument("--frames", type=int, help="number of frames to measure of each sequence")
    parser.add_argument(
        "--save", type=Path, help="folder for masks, tables and the zip for the server; a stopped run resumes from it"
    )
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--baseline", action="store_true", help="also measure the untrained baseline, patches")
    others.add_argument("--score", type=Path, help="score the masks in this folder, without tracking")
    others.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"), help="score two folders side by side")
    others.add_argument("--ablate", choices=tuple(ABLATIONS), help="the rows of one of the paper's ablations")
    options.add_arguments(parser, short_side=0)


def run(args: argparse.Namespace) -> int:
    """Evaluates; exit code 1 if a sequence failed. The last line printed is one JSON object."""
    sequences = find_sequences(args.root, dataset=args.dataset, split=args.split, resolution=args.resolution)
    if args.sequences:
        names = args.sequences.split(",")
        sequences = [sequence for sequence in sequences if sequence.name in names]
    if not sequences:
        raise ValueError(f"there are no sequences with masks in {args.root.name}")
    methods = _methods(args, replace(options.from_arguments(args), device=str(distributed.join(args.device))))
    seen = seen_categories(args.root) if any(sequence.listed for sequence in sequences) else set()
    results = evaluate(sequences, methods, frames=args.frames, split=args.split, seen=seen)
    distributed.leave()
    return 1 if results.failures else 0


def _methods(args: argparse.Namespace, chosen: Settings) -> list[Method]:
    if args.score or args.compare:
        if args.save:
            raise ValueError("--score and --compare track nothing: leave out --save")
        folders = [args.score] if args.score else args.compare
        return [Method(folder.name, None, folder) for folder in folders]
    if args.ablate:
        return [
            Method(name, replace(chosen, **row.changes), args.save and args.save / name, row.tracker)
            for name, row in ABLATIONS[args.ablate].items()
        ]
    baseline = [Method("patches", replace(chosen, weights=PATCH))] if args.baseline else []
    return [Method("encoder", chosen, args.save), *baseline]
