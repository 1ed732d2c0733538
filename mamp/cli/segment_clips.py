"""Segmenting many clips from the command line: progress, the index and the exports."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from mamp.batch.clip_list import ClipItem, read_clip_list
from mamp.batch.export_dataset import check_formats, export_dataset
from mamp.batch.index import write_index
from mamp.batch.segment_many import BatchUpdate, segment_many
from mamp.cli import options
from mamp.cli.worker_processes import worker_processes
from mamp.distributed import use_share_of_machine

_BAR = "{percentage:3.0f}%|{bar:20}| {n:.1f} of {total} clips, {elapsed} so far, {remaining} left{postfix}"
_INDEX_SECONDS = 60.0  # between indexes while clips are segmented: one of thousands takes a while


def segment_clips(args: argparse.Namespace) -> int:
    """Segments the clips of a list and writes an index; returns 3 if a clip failed."""
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
    update: BatchUpdate | None = None
    # The mean speed since the start: clips differ too much for that of the last seconds to tell the time left.
    try:
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
    except SystemExit:  # a signal
        if update is not None:
            print(
                f"mamp: {update.clips_done} of {len(items)} clips are done; the same command resumes with the others.",
                file=sys.stderr,
            )
        raise
    return failed
