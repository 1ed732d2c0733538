"""The subcommand ``export``: cut-outs and object masks of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from mamp.runs.export import KINDS, export
from mamp.runs.results import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp export``."""
    parser.add_argument("results", type=Path, help="results of a run: the --out of segment")
    parser.add_argument("clip", type=Path, help="the clip of that run")
    parser.add_argument("--kind", choices=tuple(KINDS), action="append", required=True, help="what to write")
    parser.add_argument("--object", type=int, action="append", help="object to cut out, repeat for more (default: all)")


def run(args: argparse.Namespace) -> int:
    """Writes each kind of export."""
    for kind in args.kind:
        progress = export(args.results, args.clip, kind, objects=args.object)
        for _ in tqdm(progress, total=Result(args.results).frames, unit="frame", disable=None):
            pass
        print(f"{args.results / KINDS[kind]} written")
    return 0
