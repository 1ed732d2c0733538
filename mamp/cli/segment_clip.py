"""Segmenting one clip from the command line: progress, how the masks were read, and notes."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from mamp.cli import options
from mamp.masks.mask_io import describe_mask
from mamp.runs.progress import Update
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.video.reader import VideoReader


def segment_clip(args: argparse.Namespace, masks: Mapping[int, Sequence[Path]] | Path, names: Mapping[int, str]) -> int:
    """Tracks objects through a clip and writes the results.

    Args:
        args: The options of ``python -m mamp segment``.
        masks: Mask files by frame index, or a JSON file that knows the frames.
        names: Names of objects by label.
    """
    update: Update | None = None
    updates = segment_video(
        args.clip, masks, args.out, options.from_arguments(args), names=names, previous=args.previous, fps=args.fps
    )
    try:
        with closing(updates), tqdm(unit="frame", disable=None) as bar:
            for update in updates:
                if bar.total is None:
                    _print_input_masks(Result(args.out), args.clip)
                bar.total = update.frames_total
                bar.update(update.done - bar.n)
    except SystemExit:  # a signal
        if update is not None:  # else the results may be those of an earlier run
            _print_how_to_resume(Result(args.out), update)
        raise
    assert update is not None and update.result is not None
    result = update.result
    frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
    print(f"{args.clip.name}: masks of {frames} and {result.overlay} written")
    damage = result.receipt["damage"]
    for note in ([damage] if damage else []) + result.receipt["notes"]:
        print(f"note: {note}")
    return 0


def _print_input_masks(result: Result, clip: Path) -> None:
    reader = VideoReader(clip) if clip.is_dir() else None
    for frame, summary in result.receipt["input_masks_read"].items():
        objects = {int(label): area for label, area in summary["objects"].items()}
        name = reader.name(int(frame)) if reader else frame
        print(f"mask of frame {name}: {describe_mask(objects, summary['rule'], summary['notes'])}")


def _print_how_to_resume(result: Result, update: Update) -> None:
    # Frames are tracked ahead of the update, and a second signal leaves an old receipt.
    done = max(update.done, result.frames)
    folder = shlex.quote(str(result.folder))
    print(
        f"mamp: {done} of {update.frames_total} frames are done; to resume, add --previous {folder} --out NEW to the "
        "command, where NEW is another folder.",
        file=sys.stderr,
    )
