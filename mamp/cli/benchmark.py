"""The subcommand ``benchmark``: time per frame by stage, and memory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mamp.cli import options
from mamp.evaluation.benchmark import benchmark
from mamp.evaluation.comparisons import COMPARISONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp benchmark``."""
    parser.add_argument("--clip", type=Path, help="a clip (default: a synthetic one)")
    parser.add_argument("--frames", type=int, default=30, help="frames to measure (%(default)s)")
    parser.add_argument("--objects", type=int, default=1, help="number of objects (%(default)s)")
    parser.add_argument(
        "--against",
        choices=tuple(COMPARISONS),
        help="also measure, interleaved, the reference implementation (on 3 frames) or one object",
    )
    options.add_arguments(parser, short_side=480)


def run(args: argparse.Namespace) -> int:
    """Measures; the last line printed is one JSON object."""
    settings = options.from_arguments(args)
    report = benchmark(settings, clip=args.clip, frames=args.frames, objects=args.objects, against=args.against)
    print(json.dumps(report))
    return 0
