"""The subcommand ``export``: cut-outs, other backgrounds, animations and object masks of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import ImageColor
from tqdm import tqdm

from mamp.masks.background import CHROMA_GREEN
from mamp.runs.export import KINDS, export
from mamp.runs.results import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp export``."""
    parser.add_argument("results", type=Path, help="results of a run: the --out of segment")
    parser.add_argument("clip", type=Path, help="the clip of that run")
    parser.add_argument("--kind", choices=tuple(KINDS), action="append", required=True, help="what to write")
    parser.add_argument("--object", type=int, action="append", help="object to keep, repeat for more (default: all)")
    parser.add_argument(
        "--color",
        type=_color,
        default=CHROMA_GREEN,
        help="background of --kind color: #00b140, white (default: green)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes each kind of export."""
    for kind in args.kind:
        progress = export(args.results, args.clip, kind, objects=args.object, color=args.color)
        for _ in tqdm(progress, total=Result(args.results).frames, unit="frame", disable=None):
            pass
        print(f"{args.results / KINDS[kind]} written")
    return 0


def _color(text: str) -> tuple[int, int, int]:
    """RGB of a color, as CSS names it."""
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red, green, blue
