"""The subcommand ``segment``: tracks objects through a clip."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from mamp.cli import options
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from mamp.video.image_sequence import RATE
from mamp.video.reader import VideoReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp segment``."""
    parser.add_argument("clip", type=Path, help="a video file, or a folder of frames")
    parser.add_argument(
        "--mask",
        action="append",
        required=True,
        metavar="[FRAME=]FILE",
        help="mask file, of frame 0 if there is no number; repeat for more masks",
    )
    parser.add_argument(
        "--fps",
        type=_rate,
        default=RATE,
        help="frame rate of a folder of frames, as 25 or 30000/1001; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--previous",
        type=Path,
        metavar="DIR",
        help="results of a previous run: compute only frames affected by other masks",
    )
    parser.add_argument(
        "--name", action="append", default=[], metavar="OBJECT=NAME", help="name of an object, as 1=dog"
    )
    options.add_arguments(parser, short_side=Settings().short_side)


def run(args: argparse.Namespace) -> int:
    """Tracks objects through a clip and writes the results."""
    masks: dict[int, str | Path] = {}
    for text in args.mask:
        number, equals, file = text.partition("=")
        if equals and not number.isdigit():
            raise ValueError(f"--mask takes FILE or FRAME=FILE, not {text}")
        masks[int(number) if equals else 0] = Path(file if equals else text)
    masks = _indices(args.clip, masks)
    names = {}
    for text in args.name:
        number, _, name = text.partition("=")
        if not number.isdigit() or not name:
            raise ValueError(f"--name takes OBJECT=NAME, not {text}")
        names[int(number)] = name
    result: Result | None = None
    with tqdm(unit="frame", disable=None) as bar:
        updates = segment_video(
            args.clip, masks, args.out, options.from_arguments(args), names=names, previous=args.previous, fps=args.fps
        )
        for update in updates:
            bar.total = update.frames_total
            bar.update(update.done - bar.n)
            result = update.result or result
    assert result is not None
    print(f"{args.clip.name}: {result.frames} frames read, {result.frames} masks and {result.overlay} written")
    for note in result.receipt["notes"]:
        print(f"note: {note}")
    return 0


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no frame rate") from error


def _indices(clip: Path, masks: dict[int, str | Path]) -> dict[int, str | Path]:
    """The masks by frame index, where a folder of frames counts from another number than 0."""
    if not clip.is_dir():
        return masks
    reader = VideoReader(clip)
    indices = {number: reader.numbered(number) for number in masks}
    for number, index in indices.items():
        if number != index:
            print(f"mask {number} is for the frame {reader.name(index)}")
    if len(set(indices.values())) < len(indices):
        raise ValueError("two masks are for the same frame")
    return {indices[number]: mask for number, mask in masks.items()}
