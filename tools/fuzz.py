"""Fuzz test of the file readers: a damaged file ends in a result or a clear error, within limits of time and memory."""

from __future__ import annotations

import multiprocessing
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from PIL import Image

from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import open_mask, read_mask, write_mask
from mamp.settings import Settings
from mamp.video.reader import VideoError, VideoReader
from mamp.video.synthetic import synthetic_clip, synthetic_mask
from mamp.video.writer import VideoWriter
from tests.conftest import scene, write_clip
from webapp.project import Project, read_project_file

TIME_LIMIT = 10.0  # [s] for one file
MEMORY = 2000  # [MB] of the reading process
_MAX_FRAMES = 40  # of a clip that are converted to RGB


@dataclass
class Findings:
    """Results of all cases."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0  # [s]
    memory: int = 0  # [MB]


def seeds(folder: Path) -> list[Path]:
    """Creates valid files of every supported kind."""
    frames = [scene(t)[0] for t in range(10)]
    clips = [
        write_clip(folder / "a.mp4", frames, sound="aac"),
        write_clip(folder / "b.mkv", frames, codec="mpeg4", sound="aac"),
        write_clip(folder / "c.avi", frames, codec="mjpeg", pix_fmt="yuvj420p"),
        write_clip(folder / "d.mov", frames, codec="prores_ks", pix_fmt="yuv422p10le"),
        synthetic_clip(folder / "e.mp4", 64, 30),
    ]
    with VideoWriter(folder / "f.webm", None, (96, 128)) as video:
        for t in range(5):
            video.write(np.dstack((scene(t)[0], scene(t)[1] * 255)), Fraction(t, 25))
    pictures = [Image.fromarray(frame) for frame in frames]
    for name in ("g.gif", "h.webp"):
        pictures[0].save(folder / name, save_all=True, append_images=pictures[1:], duration=40)
        clips.append(folder / name)
    mask = synthetic_mask((96, 128), 4)
    write_mask(folder / "palette.png", mask)
    Image.fromarray(mask * 60).save(folder / "grey.png")
    Image.fromarray(scene(0)[0]).save(folder / "colors.jpg", quality=60)
    Image.fromarray(np.dstack([mask * 60] * 4)).save(folder / "transparent.webp")
    (folder / "project").mkdir()
    project = Project(folder / "project", folder / "a.mp4")
    project.set_mask(0, mask)
    project.rename({1: "one"})
    project.save(Settings())
    masks = [
        folder / name for name in ("palette.png", "grey.png", "colors.jpg", "transparent.webp", "project/project.zip")
    ]
    return [*clips, folder / "f.webm", *masks]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips bits, or truncates, zeroes, repeats or deletes a part."""
    raw = bytearray(data)
    kind = rng.integers(5)
    start = int(rng.integers(len(raw)) * rng.choice([0.05, 1]))  # half of the time in the header
    end = min(len(raw), start + 1 + int(rng.integers(1 + len(raw) // 8)))
    if kind == 0:
        for at in rng.integers(start, len(raw), rng.integers(1, 60)):
            raw[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del raw[start:]
    elif kind == 2:
        raw[start:end] = bytes(end - start)
    elif kind == 3:
        raw[end:end] = raw[start:end]
    else:
        del raw[start:end]
    return bytes(raw)


def read(path: Path) -> str:
    """Reads a file like the project does; returns "read" or "refused"."""
    try:
        if path.suffix == ".zip":
            for png in read_project_file(path).masks.values():
                path.with_suffix(".png").write_bytes(png)
                read_mask(path.with_suffix(".png"))
        elif path.stem in ("palette", "grey", "colors", "transparent"):
            open_mask(path, (96, 128))
        else:
            reader = VideoReader(path)
            total = reader.count(1000)
            for frame in reader:
                assert frame.image.shape == (reader.info.height, reader.info.width, 3)
                if frame.index >= _MAX_FRAMES:
                    break
            assert reader.frame(total - 1).index == total - 1
        return "read"
    except (VideoError, MaskError) as error:
        text = str(error)
        assert text.endswith(".") and "\n" not in text and str(path.parent) not in text, text
        return "refused"


def work(
    folder: Path, numbers: Sequence[int], pipe: Connection, make_seeds: Callable[[Path], list[Path]] = seeds
) -> None:
    """Reads cases in a child process, and sends the start and the end of each."""
    valid = make_seeds(folder)
    for number in numbers:
        rng = np.random.default_rng(number)
        source = valid[number % len(valid)]
        case = folder / f"case-{source.name}" if source.suffix == ".zip" else folder / "cases" / source.name
        case.parent.mkdir(exist_ok=True)
        case.write_bytes(damaged(source.read_bytes(), rng))
        pipe.send((number, source.name, None, 0))
        try:
            end = read(case)
        except Exception:
            end = traceback.format_exc()
        pipe.send((number, source.name, end, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def fuzz(folder: Path, numbers: Sequence[int], make_seeds: Callable[[Path], list[Path]] = seeds) -> Findings:
    """Reads damaged files in a monitored child process, so that a crash or a hang costs one case.

    Args:
        folder: An empty folder.
        numbers: Numbers of the cases.
        make_seeds: Creates the valid files in a folder.
    """
    findings = Findings()
    remaining = list(numbers)
    spawned = multiprocessing.get_context("spawn")
    while remaining:
        batch = folder / f"from-{remaining[0]}"
        batch.mkdir()
        parent_end, child_end = spawned.Pipe()
        process = spawned.Process(target=work, args=(batch, remaining, child_end, make_seeds))
        process.start()
        child_end.close()
        last = _watch(process, parent_end, remaining[0], findings)
        remaining = remaining[remaining.index(last) + 1 :]
    return findings


def _watch(process: BaseProcess, pipe: Connection, number: int, findings: Findings) -> int:
    """Monitors a process until it ends or must be killed; returns the number of its last case."""
    name, began = "valid files", time.monotonic()
    while True:
        try:
            if not pipe.poll(TIME_LIMIT + (50 if name == "valid files" else 0)):
                findings.faults.append(f"case {number}, {name}: no end after {TIME_LIMIT:.0f} s")
                break
            number, name, end, memory = pipe.recv()
        except EOFError:
            process.join()
            if process.exitcode:
                findings.faults.append(f"case {number}, {name}: the process died with {process.exitcode}")
            break
        if end is None:
            began = time.monotonic()
            continue
        findings.slowest = max(findings.slowest, time.monotonic() - began)
        findings.memory = max(findings.memory, memory)
        findings.ends[end if end in ("read", "refused") else "traceback"] += 1
        if end not in ("read", "refused"):
            findings.faults.append(f"case {number}, {name}: {end}")
    process.kill()
    process.join()
    return number
