"""The subcommand ``explain``: why a pixel of a finished run got its label."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image as PilImage

from mamp.explanation.explain import explain
from mamp.explanation.explanation import Explanation
from mamp.explanation.figure import draw_explanation
from mamp.files import atomic_path
from mamp.model.checkpoint import load_encoder
from mamp.runs.results import Result
from mamp.video.reader import VideoReader

_VOTES_SHOWN = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp explain``."""
    parser.add_argument("clip", type=Path, help="the clip of the run")
    parser.add_argument("--result", type=Path, required=True, help="results of the run: the --out of segment")
    parser.add_argument("--frame", type=int, required=True, help="frame number, as for --mask of segment")
    parser.add_argument("--at", type=_pixel, required=True, metavar="X,Y", help="pixel of the clip")
    parser.add_argument("--weights", help="the weights of the run, if they were given as a file")
    parser.add_argument("--out", type=Path, help="PNG file for a figure")


def run(args: argparse.Namespace) -> int:
    """Prints the explanation as tables, and draws the figure."""
    frame = VideoReader(args.clip).numbered(args.frame) if args.clip.is_dir() else args.frame
    if args.out is not None:
        if args.out.suffix.lower() != ".png":
            raise ValueError(f"The figure is a PNG file, so its name ends with .png, not {args.out.name}.")
        result = Result(args.result)
        if args.out.resolve().parent in {args.clip.resolve(), result.masks_dir.resolve()}:
            raise ValueError(f"{args.out.name} would be among the frames or the masks; choose another folder.")
    encoder = None if args.weights is None else load_encoder(args.weights)
    explanation = explain(args.result, args.clip, frame, *args.at, encoder=encoder)
    _print(explanation)
    if args.out is not None:
        with atomic_path(args.out) as partial:
            PilImage.fromarray(draw_explanation(explanation)).save(partial, "PNG")
        print(f"{args.out} written")
    return 0


def _pixel(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no pixel; it is X,Y as 120,80") from error
    return x, y


def _print(explanation: Explanation) -> None:
    x, y = explanation.pixel
    print(f"frame {explanation.frame}, pixel {x},{y}: label {explanation.label}, by {explanation.decision.value}")
    print(explanation.text)
    if not explanation.memory:
        return
    print(f"\n{'label':>5} {'votes':>7} {'score':>7} {'discriminant':>12}  name")
    for score in explanation.scores:
        discriminant = "" if score.discriminant is None else f"{score.discriminant:+.2f}"
        print(f"{score.label:>5} {score.votes:>7.1%} {score.score:>7.1%} {discriminant:>12}  {score.name}")
    print(f"\n{'memory':>6} {'votes':>7} {'motion [pixels]':>18}")
    for view in explanation.memory:
        motion = "none" if view.motion is None else f"{view.motion[0]:+.1f}, {view.motion[1]:+.1f}"
        print(f"{view.frame:>6} {view.weight:>7.1%} {motion:>18}{'  detected again' if view.redetected else ''}")
    print(f"\n{'weight':>7} {'similarity':>10} {'frame':>6} {'place':>12} {'label':>6}")
    for vote in explanation.votes[:_VOTES_SHOWN]:
        place = f"{vote.place[0]:.0f},{vote.place[1]:.0f}"
        print(f"{vote.weight:>7.1%} {vote.similarity:>10.2f} {vote.frame:>6} {place:>12} {vote.label:>6}")
    if len(explanation.votes) > _VOTES_SHOWN:
        print(f"and {len(explanation.votes) - _VOTES_SHOWN} more")
