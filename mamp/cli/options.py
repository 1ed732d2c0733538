"""The options of the method, shared by the subcommands."""

from __future__ import annotations

import argparse

from mamp.settings import FLOWS, Settings
from mamp.tracker import MOTIONS, UPSAMPLINGS


def add_arguments(parser: argparse.ArgumentParser, *, short_side: int) -> None:
    """Declares the options of the method: each ablation of the paper is one of them."""
    usual = Settings()
    parser.add_argument("--short-side", type=int, default=short_side, help="pixels; 0: as it is (%(default)s)")
    parser.add_argument(
        "--weights", help="file, Hub id (user/name:file), or patch for no weights (default: the shipped)"
    )
    parser.add_argument("--flow", choices=FLOWS, default=usual.flow, help="motion (%(default)s)")
    parser.add_argument(
        "--motion",
        choices=MOTIONS,
        default=usual.motion,
        help="flow by frame, or by reference (%(default)s)",
    )
    parser.add_argument(
        "--upsampling",
        choices=UPSAMPLINGS,
        default=usual.upsampling,
        help="of scores: along image edges, or bilinear (%(default)s)",
    )
    parser.add_argument(
        "--discriminant-weight",
        type=float,
        default=usual.discriminant_weight,
        metavar="S",
        help="what tells the objects apart counts more by this; 0: as in the paper (%(default)s)",
    )
    parser.add_argument(
        "--logit-adjustment",
        type=float,
        default=usual.logit_adjustment,
        metavar="S",
        help="small objects count more by this; 0: as in the paper (%(default)s)",
    )
    parser.add_argument("--raft-weights", default=usual.raft_weights, help="file or Hub id (%(default)s)")
    parser.add_argument(
        "--top-k", type=count_or_all, default=usual.top_k, metavar="N|all", help="matches that vote (%(default)s)"
    )
    parser.add_argument("--radius", type=int, default=usual.radius, help="of the window, in cells (%(default)s)")
    parser.add_argument(
        "--long-term", type=numbers, default=usual.long_term, metavar="0,5,10,20", help="frames kept in memory"
    )
    parser.add_argument(
        "--short-term", type=numbers, default=usual.short_term, metavar="1,3,5", help="ages kept in memory"
    )
    parser.add_argument("--device", default=usual.device, help="cpu, cuda or auto (%(default)s)")


def from_arguments(args: argparse.Namespace) -> Settings:
    """The settings that the options of ``add_arguments`` name."""
    return Settings(**{name: getattr(args, name) for name in Settings.__dataclass_fields__})


def numbers(text: str) -> tuple[int, ...]:
    """Reads "0,5"; an empty text is no number."""
    return tuple(int(part) for part in text.split(",") if part.strip())


def count_or_all(text: str) -> int | None:
    """Reads a number, or "all"."""
    return None if text == "all" else int(text)
