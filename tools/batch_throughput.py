"""Measures how much faster several processes segment a list of clips than one: python -m tools.batch_throughput.

Both segment the same synthetic clips, start-up included: ``python -m mamp segment`` in one process with all cores, and with
``--processes``, or torchrun, in several that share them. They take turns, because shared machines change their speed
from minute to minute, and only the ratio of two neighbors counts. Where other work runs, compare the CPU time: it tells
what threads cost. Other options are those of ``segment``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mamp import write_mask
from mamp.video.synthetic import synthetic_clip, synthetic_mask

_MODULE = ("-m", "mamp", "segment")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the seconds of each round and the ratios; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=20, help="number of clips (%(default)s)")
    parser.add_argument("--frames", type=int, default=24, help="frames of each clip (%(default)s)")
    parser.add_argument("--short-side", type=int, default=240, help="of the clips [pixels] (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="processes to compare with one (%(default)s)")
    parser.add_argument("--torchrun", action="store_true", help="start them by torchrun")
    parser.add_argument("--rounds", type=int, default=3, help="number of comparisons (%(default)s)")
    options, more = parser.parse_known_args(arguments)
    one = [sys.executable, *_MODULE]
    several = [*one, f"--processes={options.processes}"]
    if options.torchrun:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.processes}"]
        several = [sys.executable, *launcher, *_MODULE]
    ratios: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = make_clips(Path(folder), options.clips, options.frames, options.short_side)
        for number in range(options.rounds):
            times = [
                segment([*command, *files, "--out", f"{folder}/out{number}-{turn}", *more])
                for turn, command in enumerate((one, several))
            ]
            ratios.append((times[0][0] / times[1][0], times[0][1] / times[1][1]))
            for name, (seconds, cpu_seconds) in zip(("one process", "several"), times, strict=True):
                print(f"{name} {seconds:.1f} s, CPU time {cpu_seconds:.1f} s", flush=True)
            print(f"{ratios[-1][0]:.2f} times faster, {ratios[-1][1]:.2f} times less CPU time", flush=True)
    faster, less = (statistics.median(column) for column in zip(*ratios, strict=True))
    report = {**vars(options), "cores": len(os.sched_getaffinity(0)), "times_faster": faster, "times_less_cpu": less}
    print(json.dumps(report))


def make_clips(folder: Path, clips: int, frames: int, short_side: int) -> list[str]:
    """Writes equal clips and their first masks; returns the arguments of ``segment`` that name them."""
    for name in ("clips", "masks"):
        (folder / name).mkdir()
    for number in range(clips):
        clip = synthetic_clip(folder / f"clips/{number:03d}.mp4", short_side, frames)
        write_mask(folder / f"masks/{clip.stem}.png", synthetic_mask((short_side, short_side * 16 // 9 // 2 * 2), 1))
    return [str(folder / "clips"), "--masks", str(folder / "masks")]


def segment(command: Sequence[str]) -> tuple[float, float]:
    """Runs a command with all cores; returns the time it takes and the CPU time of all its processes [s]."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    start, used = time.monotonic(), _cpu_seconds()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - start, _cpu_seconds() - used


def _cpu_seconds() -> float:
    """CPU time of the processes that have ended [s]."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
