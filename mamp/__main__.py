"""The command line: ``python -m mamp {segment,export,train,evaluate,benchmark}``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from mamp import settings
from mamp.cli import train
from mamp.evaluation import benchmark
from mamp.evaluation import evaluator as evaluate
from mamp.files import keep_freed_memory
from mamp.model.encoder import WeightsError
from mamp.runs import export
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code: 2 and one sentence on stderr where the user can mend it."""
    parser = argparse.ArgumentParser(prog="python -m mamp", description="Follow objects through a video.")
    commands = parser.add_subparsers(required=True, metavar="{segment,export,train,evaluate,benchmark}")
    segment = commands.add_parser("segment", help="follow objects through a clip")
    add_arguments(segment)
    segment.set_defaults(run=run)
    for name, module, about in (
        ("export", export, "cut-outs with alpha, and masks by object, of a finished run"),
        ("train", train, "train the encoder on unlabelled clips"),
        ("evaluate", evaluate, "measure J and F on sequences with masks"),
        ("benchmark", benchmark, "measure the time and memory of a frame, stage by stage"),
    ):
        command = commands.add_parser(name, help=about)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, WeightsError) as error:
        print(f"mamp: {error}", file=sys.stderr)
        return 2
    return code


def _end(number: int, _frame: FrameType | None) -> None:
    """Ends as Ctrl-C does, so that what was done is kept."""
    raise SystemExit(128 + number)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``segment``."""
    parser.add_argument("clip", type=Path, help="a video file, or a folder of frames")
    parser.add_argument(
        "--mask",
        action="append",
        required=True,
        metavar="[FRAME=]FILE",
        help="mask file, of frame 0 if no number is given",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--former", type=Path, metavar="DIR", help="results of an earlier run: compute only what other masks touch"
    )
    parser.add_argument(
        "--name", action="append", default=[], metavar="OBJECT=NAME", help="name of an object, as 1=dog"
    )
    settings.add_arguments(parser, short_side=settings.Settings().short_side)


def run(args: argparse.Namespace) -> int:
    """Follows objects through a clip, as the command line says."""
    masks: dict[int, str | Path] = {}
    for text in args.mask:
        number, equals, file = text.partition("=")
        if equals and not number.isdigit():
            raise ValueError(f"--mask takes FILE or FRAME=FILE, not {text}")
        masks[int(number) if equals else 0] = Path(file if equals else text)
    names = {}
    for text in args.name:
        number, _, name = text.partition("=")
        if not number.isdigit() or not name:
            raise ValueError(f"--name takes OBJECT=NAME, not {text}")
        names[int(number)] = name
    result: Result | None = None
    with tqdm(unit="frame", disable=None) as bar:
        updates = segment_video(
            args.clip, masks, args.out, settings.from_arguments(args), names=names, former=args.former
        )
        for update in updates:
            bar.total = update.frames_total
            bar.update(update.done - bar.n)
            result = update.result or result
    assert result is not None
    print(f"{args.clip.name}: {result.frames} frames read, {result.frames} masks and {result.overlay} written")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    keep_freed_memory()
    sys.exit(main())
