"""Long tests: ``scripts/soak [fuzz|load|long]``. Prints a table of measured values and whether they pass."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from mamp import Settings, load_encoder, segment_video, write_mask
from mamp.video.synthetic import synthetic_clip, synthetic_mask
from tests.conftest import Image as Picture
from tests.conftest import serve_process, write_clip
from tools.clip_fuzz import check_clip_case, clip_seeds
from tools.fuzz import MEMORY, TIME_LIMIT, fuzz, seeds
from tools.mask_fuzz import check_mask_case
from tools.resume import faults, random_schedule

GROWTH = 1.10  # of memory and handles, once all visitors have been served
KEEP_SECONDS = 60  # that the server keeps files in the load test
MAX_FILES_LEFT = 20  # the server's log and what Gradio keeps by name
MAX_LATENCY = 1.0  # [s], 95th percentile
SIZE = (72, 96)
_LOG_LENGTH = 6000  # characters of the server's log that are printed after faults


@dataclass
class Report:
    """Measured values of one test: name, value, and whether it passes."""

    test: str
    rows: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(self, name: str, value: object, passed: bool) -> None:
        """Adds one value."""
        self.rows.append((name, str(value), passed))


def soak_fuzz(options: argparse.Namespace) -> Report:
    """Damaged files, and masks and clips as other programs write them."""
    report = Report("fuzz")
    with tempfile.TemporaryDirectory() as folder:
        for name, make_seeds in (("files", seeds), ("containers", clip_seeds)):
            (Path(folder) / name).mkdir()
            findings = fuzz(Path(folder) / name, range(options.cases), make_seeds)
            for fault in findings.faults:
                print(fault)
            ends = f"{findings.ends['read']}, {findings.ends['refused']}"
            report.add(f"damaged {name}: read, refused", ends, not findings.faults)
            report.add("slowest [s]", f"{findings.slowest:.1f}", findings.slowest < TIME_LIMIT)
            report.add("memory [MB]", findings.memory, findings.memory < MEMORY)
        found = [check_mask_case(Path(folder), number) for number in range(options.cases)]
        clips = [check_clip_case(Path(folder), number) for number in range(options.cases)]
    mask_faults, clip_faults = ([fault for fault in faults if fault] for faults in (found, clips))
    for fault in mask_faults + clip_faults:
        print(fault)
    report.add("clips read wrongly", f"{len(clip_faults)} of {options.cases}", len(clip_faults) <= options.cases / 400)
    report.add("masks read wrongly", f"{len(mask_faults)} of {options.cases}", len(mask_faults) <= options.cases / 100)
    return report


@dataclass
class Traffic:
    """Results of all visitors."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # [s]


def soak_load(options: argparse.Namespace) -> Report:
    """Many visitors at once."""
    report, traffic = Report("load"), Traffic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "served").mkdir()
        with serve_process(Path(folder) / "served", {"MAMP_KEEP_SECONDS": str(KEEP_SECONDS)}) as (url, pid):
            until = time.monotonic() + 60 * options.minutes
            work: list[Callable[[], None]] = [
                lambda number=number: session(url, Path(folder), number, until, traffic)  # type: ignore[misc]
                for number in range(options.visitors)
            ]
            threads = [threading.Thread(target=job) for job in [*work, lambda: load_page(url, until, traffic)]]
            for thread in threads:
                thread.start()
            samples = []
            while any(thread.is_alive() for thread in threads):
                samples.append((time.monotonic(), memory_of(pid), handles_of(pid), files_in(Path(folder) / "served")))
                time.sleep(2)
            left = files_left(Path(folder) / "served")
        log = (Path(folder) / "served" / "log.txt").read_text()
    for fault in traffic.faults[:20]:
        print(fault)
    if traffic.faults:
        print(log[-_LOG_LENGTH:])
    third = len(samples) // 3
    report.add("answers", dict(traffic.ends), not traffic.faults and traffic.ends["right"] > 0)
    answer = float(np.percentile(traffic.latencies, 95))
    report.add("latency of the page, 95th percentile [s]", f"{answer:.2f}", answer < MAX_LATENCY)
    for column, name in ((1, "memory [MB]"), (2, "file handles")):
        middle, end = (max(row[column] for row in part) for part in (samples[third : 2 * third], samples[2 * third :]))
        report.add(f"{name}: middle, last third", f"{middle}, {end}", end <= middle * GROWTH)
    report.add("files: most, after the visitors", f"{max(row[3] for row in samples)}, {left}", left <= MAX_FILES_LEFT)
    return report


def files_left(folder: Path) -> int:
    """Number of files under a folder once the server has had the time to remove those of the visitors, or earlier."""
    end = time.monotonic() + 3 * KEEP_SECONDS
    while files_in(folder) > MAX_FILES_LEFT and time.monotonic() < end:
        time.sleep(2)
    return files_in(folder)


def session(url: str, folder: Path, number: int, until: float, traffic: Traffic) -> None:
    """One visitor, who sends a clip of a unique length with a unique mask, again and again."""
    length, mask = 6 + number, np.zeros(SIZE, np.uint8)
    row, column = 6 + 12 * (number // 5 % 5), 6 + 18 * (number % 5)
    mask[row : row + 12, column : column + 14] = 1 + number
    clip = write_clip(folder / f"{number}.mp4", [textured(mask, number)] * length)
    write_mask(folder / f"{number}.png", mask)
    try:
        client = Client(url, verbose=False, download_files=str(folder / f"answers-{number}"))
    except Exception as error:
        traffic.faults.append(f"visitor {number}: no client: {error}")
        return
    while time.monotonic() < until:
        try:
            files = client.predict(
                handle_file(clip), handle_file(folder / f"{number}.png"), short_side=48, radius=2, api_name="/segment"
            )
        except AppError as error:
            full = "queue" in str(error).lower() and "full" in str(error).lower()
            traffic.ends["queue full" if full else "error"] += 1
            if not full:
                traffic.faults.append(f"visitor {number}: {error}")
            time.sleep(1)
            continue
        except Exception as error:
            traffic.ends["error"] += 1
            traffic.faults.append(f"visitor {number}: {type(error).__name__}: {error}")
            time.sleep(1)
            continue
        (archive,) = (path for path in files if path.endswith("masks.zip"))
        with zipfile.ZipFile(archive) as zipped:
            with zipped.open("masks/00000.png") as file, Image.open(file) as first:
                own = np.array_equal(np.asarray(first), mask)
            right = own and len(zipped.namelist()) == length
        traffic.ends["right" if right else "wrong"] += 1
        if not right:
            traffic.faults.append(f"visitor {number}: masks of another visitor")
    client.close()


def textured(mask: Picture, number: int) -> Picture:
    """A frame with a textured object at the mask."""
    rng = np.random.default_rng(number)
    frame = rng.integers(60, 120, (*SIZE, 3)).astype(np.uint8)
    frame[mask > 0] = (220, 40, 10 * number)
    return frame


def load_page(url: str, until: float, traffic: Traffic) -> None:
    """Loads the page every second, like a new visitor."""
    while time.monotonic() < until:
        began = time.monotonic()
        with urllib.request.urlopen(url, timeout=30) as page:
            page.read()
        traffic.latencies.append(time.monotonic() - began)
        time.sleep(1)


def memory_of(pid: int) -> int:
    """Resident memory of a process [MB]."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def handles_of(pid: int) -> int:
    """Number of open files and sockets of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def files_in(folder: Path) -> int:
    """Number of files under a folder, which may change meanwhile."""
    return sum(len(names) for _, _, names in os.walk(folder))


def soak_long(options: argparse.Namespace) -> Report:
    """A long clip, a run that is closed half-way, and runs in parts with random masks and stops."""
    report = Report("long")
    settings = Settings(short_side=48, flow="dis", radius=3)
    encoder = load_encoder("patch")
    with tempfile.TemporaryDirectory() as folder:
        clip = synthetic_clip(Path(folder) / "clip.mp4", 96, 25 * 60 * options.clip_minutes)
        mask = synthetic_mask((96, 170), 2)
        run = segment_video(clip, {0: mask}, Path(folder) / "out", settings, encoder=encoder)
        memory, rate = [], 0.0
        for update in run:
            memory.append(memory_of(os.getpid()))
            rate = update.fps
        document = json.loads((Path(folder) / "out/receipt.json").read_text())
        early, late = memory[len(memory) // 10], max(memory[len(memory) // 10 :])
        frames = f"{document['masks_written']} of {document['frames_in_clip']}"
        report.add("frames", frames, document["end"] == "complete")
        report.add("frames a second", f"{rate:.1f}", True)
        report.add("memory at a tenth, at most after [MB]", f"{early}, {late}", late <= early * GROWTH)
        run = segment_video(clip, {0: mask}, Path(folder) / "closed", settings, encoder=encoder)
        for _ in range(50):
            next(run)
        handles = handles_of(os.getpid())
        run.close()
        parts = list((Path(folder) / "closed").glob(".*.part"))
        report.add("closed half-way: handles before, after", f"{handles}, {handles_of(os.getpid())}", not parts)
    different = [fault for seed in range(options.schedules) for fault in resume_faults(seed)]
    for fault in different[:20]:
        print(fault)
    report.add(
        "random runs in parts; files unlike an unbroken run", f"{options.schedules}; {len(different)}", not different
    )
    return report


def resume_faults(seed: int) -> list[str]:
    """What differs between a random run in parts and an unbroken one, at the default settings."""
    with tempfile.TemporaryDirectory() as folder:
        schedule = random_schedule(seed, 20 + seed % 25)
        return [f"schedule {seed}: {fault}" for fault in faults(Path(folder), schedule, Settings(), load_encoder())]


SOAKS = {"fuzz": soak_fuzz, "load": soak_load, "long": soak_long}


def main() -> int:
    """Runs the named tests; returns 1 if one fails."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*SOAKS, []], help="tests to run (default: all)")
    parser.add_argument("--cases", type=int, default=2000, help="damaged files in fuzz (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="duration of load (%(default)s)")
    parser.add_argument("--visitors", type=int, default=20, help="visitors in load (%(default)s)")
    parser.add_argument("--clip-minutes", type=int, default=20, help="length of the clip in long (%(default)s)")
    parser.add_argument("--schedules", type=int, default=100, help="random runs in parts in long (%(default)s)")
    options = parser.parse_args()
    reports = [SOAKS[name](options) for name in options.which or SOAKS]
    print("| test | measured | | |\n|---|---|---|---|")
    for report in reports:
        for name, value, passed in report.rows:
            print(f"| {report.test} | {name} | {value} | {'ok' if passed else '**not ok**'} |")
    return 0 if all(passed for report in reports for _, _, passed in report.rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
