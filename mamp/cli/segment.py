"""The subcommand ``segment``: tracks objects through a clip, or through many."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from mamp.batch.clip_list import EXPORTS, ClipItem, read_clip_list
from mamp.batch.export_dataset import FORMATS, check_formats, export_dataset
from mamp.batch.index import write_index
from mamp.batch.segment_many import BatchUpdate, segment_many
from mamp.cli import options
from mamp.cli.worker_processes import worker_processes
from mamp.distributed import use_share_of_machine
from mamp.masks.mask_io import describe_mask
from mamp.masks.rle import is_rle_file
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from mamp.video.image_sequence import RATE
from mamp.video.reader import VideoReader, by_frame_index

_BAR = "{percentage:3.0f}%|{bar:20}| {n:.1f} of {total} clips, {elapsed} so far, {remaining} left{postfix}"
_INDEX_SECONDS = 60.0  # between indexes while clips are segmented: one of thousands takes a while


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
        help="results of a previous run: compute only frames affected by other masks",
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
    """Tracks objects through a clip and writes the results; see ``segment_clips`` for many."""
    if args.masks is not None:
        return segment_clips(args)
    if args.export or args.attempt or args.processes > 1:
        raise ValueError("--export, --attempt and --processes are for many clips, with --masks.")
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
                _print_input_masks(Result(args.out), args.clip)
            bar.total = update.frames_total
            bar.update(update.done - bar.n)
            result = update.result or result
    assert result is not None
    frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
    print(f"{args.clip.name}: masks of {frames} and {result.overlay} written")
    damage = result.receipt["damage"]
    for note in ([damage] if damage else []) + result.receipt["notes"]:
        print(f"note: {note}")
    return 0


def segment_clips(args: argparse.Namespace) -> int:
    """Segments the clips of a list and writes an index; returns 3 if a clip failed."""
    if args.previous or args.name:
        raise ValueError("--previous and --name are for one clip.")
    device = use_share_of_machine(args.device, args.processes)
    items = read_clip_list(str(args.clip), args.masks, options.from_arguments(args))
    check_formats(items, args.export)
    attempt = args.attempt or _attempt()
    updates = segment_many(items, args.out, attempt=attempt, device=str(device))
    # The first of the processes that this one, torchrun or srun started speaks for the others.
    is_first = not any(int(os.environ.get(name, 0)) for name in ("LOCAL_RANK", "SLURM_PROCID"))
    processes = 1 if "LOCAL_RANK" in os.environ else args.processes
    with worker_processes(processes, [*args.arguments, "--attempt", attempt]):
        failed = _show_progress(updates, items, args.out) if is_first else _failures(updates)
    if is_first:
        index = write_index(items, args.out)
        print(f"{len(items) - failed} of {len(items)} clips segmented; {index} lists them")
        for path in export_dataset(items, args.out, args.export):
            print(f"{path} written")
    return 3 if failed else 0


def _failures(updates: Iterable[BatchUpdate]) -> int:
    return sum(update.finished and update.error is not None for update in updates)


def _attempt() -> str:
    """A name for this start. The processes that one agent of torchrun starts, and starts again, share it."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # which may repeat
        return f"{socket.gethostname()}-{os.getppid()}"
    return f"{socket.gethostname()}-{os.getpid()}-{time.time()}"


def _show_progress(updates: Iterable[BatchUpdate], items: Sequence[ClipItem], out: Path) -> int:
    """Shows the progress of a list of clips and writes the index now and then; returns the number of failed clips."""
    failed, last_index = 0, time.monotonic()
    # The mean speed since the start: clips differ too much for that of the last seconds to tell the time left.
    with tqdm(total=len(items), bar_format=_BAR, smoothing=0, disable=None) as bar:
        for update in updates:
            done = update.clips_done + update.share
            if update.frames == 0:
                bar.initial = done  # clips of an earlier start took no time
            bar.set_postfix_str(
                f"{update.frames / max(update.seconds, 1e-6):.1f} frames/s, {update.name}", refresh=False
            )
            bar.update(done - bar.n)
            if update.finished and update.error is not None:
                failed += 1
                tqdm.write(f"{update.name}: {update.error}", file=sys.stderr)
            if update.finished and time.monotonic() - last_index > _INDEX_SECONDS:
                write_index(items, out)
                last_index = time.monotonic()
    return failed


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no frame rate") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of processes")
    return int(text)


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


def _print_input_masks(result: Result, clip: Path) -> None:
    reader = VideoReader(clip) if clip.is_dir() else None
    for frame, summary in result.receipt["input_masks_read"].items():
        objects = {int(label): area for label, area in summary["objects"].items()}
        name = reader.name(int(frame)) if reader else frame
        print(f"mask of frame {name}: {describe_mask(objects, summary['rule'], summary['notes'])}")
