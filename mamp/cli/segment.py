"""The subcommand ``segment``: tracks objects through a clip, or through many."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from mamp.batch.clip_list import EXPORTS
from mamp.batch.export_dataset import FORMATS, check_formats
from mamp.cli import options
from mamp.cli.interrupts import end_at_once, handled_by
from mamp.masks.input_masks import paths_of
from mamp.masks.rle import is_rle_file
from mamp.runs.results import Result
from mamp.settings import Settings
from mamp.video.image_sequence import RATE
from mamp.video.reader import by_frame_index


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp segment``."""
    parser.add_argument(
        "clip",
        type=Path,
        help="a video file, or a folder of frames; with --masks: a folder of clips, a pattern in quotes, or a CSV or JSONL "
        "list with the columns clip, masks (optional), name (optional) and those of settings",
    )
    masks = parser.add_mutually_exclusive_group(required=True)
    masks.add_argument(
        "--mask",
        action="append",
        metavar="[FRAME=]FILE",
        help="mask file, of frame 0 if there is no number; repeat it for more frames, or for one file per object. "
        "A JSON file without a number, as masks.json of a run, has each object on its first frame",
    )
    masks.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="segment many clips: a folder with the masks of clip.mp4 as clip.png (frame 0), clip.json, or clip/00040.png. "
        "Start it again, or on more machines at once, or under torchrun: clips are shared, and done ones are kept",
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
        help="results of a previous run, in another folder than --out: resume it, or compute only frames affected by other "
        "masks",
    )
    parser.add_argument(
        "--name", action="append", default=[], metavar="OBJECT=NAME", help="name of an object, as 1=dog"
    )
    parser.add_argument(
        "--processes",
        type=_positive,
        default=1,
        metavar="N",
        help="with --masks: processes on this machine; they share its cores or GPUs, and the clips (default: %(default)s)",
    )
    parser.add_argument(
        "--attempt",
        metavar="NAME",
        help="with --masks: name of this start, the same for processes that are started one by one, as by SLURM: a clip "
        "that fails is tried once in a start",
    )
    parser.add_argument(
        "--export",
        type=lambda text: text.split(","),
        default=[],
        metavar="FORMAT[,FORMAT]",
        help=f"with --masks: also write all clips as a data set into OUT/{EXPORTS}: {', '.join(FORMATS)}",
    )
    options.add_arguments(parser, short_side=Settings().short_side)


def run(args: argparse.Namespace) -> int:
    """Segments a clip, or many; options that do not go together are refused before PyTorch is imported."""
    if args.masks is not None:
        if args.previous or args.name:
            raise ValueError("--previous and --name are for one clip.")
        check_formats([], args.export)
        with handled_by(end_at_once):
            from mamp.cli.segment_clips import segment_clips

        return segment_clips(args)
    if args.export or args.attempt or args.processes > 1:
        raise ValueError("--export, --attempt and --processes are for many clips, with --masks.")
    names = _names(args.name)
    masks = _input_masks(args.clip, args.mask)
    Result(args.out).check_paths(paths_of(masks), args.previous and Result(args.previous))
    with handled_by(end_at_once):
        from mamp.cli.segment_clip import segment_clip

    return segment_clip(args, masks, names)


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no frame rate") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of processes")
    return int(text)


def _names(arguments: list[str]) -> dict[int, str]:
    """The names of objects by label, of ``--name`` options."""
    names = {}
    for text in arguments:
        number, _, name = text.partition("=")
        if not number.isdigit() or not name:
            raise ValueError(f"--name takes OBJECT=NAME, not {text}")
        names[int(number)] = name
    return names


def _input_masks(clip: Path, arguments: list[str]) -> dict[int, list[Path]] | Path:
    """The input masks of ``--mask`` options: files by frame index, or a JSON file that knows the frames."""
    masks: dict[int, list[Path]] = {}
    for text in arguments:
        frame, equals, file = text.partition("=")
        if equals and not frame.isdigit():
            raise ValueError(f"--mask takes FILE or FRAME=FILE, not {text}")
        masks.setdefault(int(frame) if equals else 0, []).append(Path(file if equals else text))
    if len(arguments) == 1 and "=" not in arguments[0] and is_rle_file(arguments[0]):
        return Path(arguments[0])
    return by_frame_index(clip, masks)
