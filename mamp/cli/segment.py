"""The subcommand ``segment``: tracks objects through a clip."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from mamp.cli import options
from mamp.masks.mask_io import describe_mask
from mamp.masks.rle import is_rle_file
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
        help="mask file, of frame 0 if there is no number; repeat it for more frames, or for one file per object. "
        "A JSON file without a number, as masks.json of a run, has each object on its first frame",
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
    masks = _input_masks(args.clip, args.mask)
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
            if bar.total is None:
                _print_input_masks(Result(args.out))
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


def _input_masks(clip: Path, arguments: list[str]) -> dict[int, list[Path]] | Path:
    """The input masks of ``--mask`` options: files by frame index, or a JSON file that knows the frames.

    A folder of frames may count from another number than 0.
    """
    masks: dict[int, list[Path]] = {}
    for text in arguments:
        frame, equals, file = text.partition("=")
        if equals and not frame.isdigit():
            raise ValueError(f"--mask takes FILE or FRAME=FILE, not {text}")
        masks.setdefault(int(frame) if equals else 0, []).append(Path(file if equals else text))
    if len(arguments) == 1 and "=" not in arguments[0] and is_rle_file(arguments[0]):
        return Path(arguments[0])
    if not clip.is_dir():
        return masks
    reader = VideoReader(clip)
    by_index: dict[int, list[Path]] = {}
    for number, files in masks.items():
        index = reader.numbered(number)
        if number != index:
            print(f"mask {number} is for the frame {reader.name(index)}")
        by_index.setdefault(index, []).extend(files)
    return by_index


def _print_input_masks(result: Result) -> None:
    for frame, summary in result.receipt["input_masks_read"].items():
        objects = {int(label): area for label, area in summary["objects"].items()}
        print(f"mask of frame {frame}: {describe_mask(objects, summary['rule'], summary['notes'])}")
