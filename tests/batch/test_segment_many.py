"""Segmenting many clips: done once, shared among processes, resumed after a kill, and listed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from mamp import read_mask, segment_video, write_mask
from mamp.batch.clip_list import ClipItem, read_clip_list
from mamp.batch.segment_many import segment_many
from mamp.cli.main import main
from mamp.cli.worker_processes import worker_processes
from mamp.runs.results import Result
from mamp.settings import Settings
from tests.batch.shoot import make_shoot
from tests.conftest import ROOT, TORCHRUN, scene, write_clip

FAST = Settings(short_side=64, flow="none", radius=3, weights="patch")
OPTIONS = ["--short-side", "64", "--flow", "none", "--radius", "3", "--weights", "patch"]
OWN_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
LENGTHS = {"one": 6, "two": 9, "three": 4}


@pytest.fixture
def shoot(tmp_path: Path) -> Path:
    """Three clips with masks."""
    make_shoot(tmp_path, LENGTHS)
    return tmp_path


@pytest.fixture
def items(shoot: Path) -> list[ClipItem]:
    return read_clip_list(str(shoot / "clips"), shoot / "masks", FAST)


def command(shoot: Path, *more: str) -> list[str]:
    folders = [str(shoot / "clips"), "--masks", str(shoot / "masks"), "--out", str(shoot / "out")]
    return ["segment", *folders, *OPTIONS, *more]


def frames_by_clip(shoot: Path) -> dict[str, int]:
    return {name: Result(shoot / "out" / name).frames for name in LENGTHS}


def times(shoot: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (shoot / "out").rglob("masks/*.png")}


def masks(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "masks").iterdir())]


def test_every_clip_is_segmented_once_as_it_would_be_alone(shoot: Path, items: list[ClipItem]) -> None:
    updates = list(segment_many(items, shoot / "out"))
    assert [update.name for update in updates if update.finished] == ["one", "three", "two"]
    assert updates[-1].clips_done == 3 and updates[-1].frames == sum(LENGTHS.values())
    *shares, at_end = [update.share for update in updates if update.name == "three"]
    assert len(shares) == 4 and at_end == 0.0
    # Where stages overlap, later frames may be tracked already when one is drawn.
    assert shares == sorted(shares) and shares[0] >= 0.25 and shares[-1] == 1.0
    assert frames_by_clip(shoot) == LENGTHS
    for _ in segment_video(items[0].clip, {0: shoot / "masks/one.png"}, shoot / "alone", FAST):
        pass
    assert masks(shoot / "out/one") == masks(shoot / "alone")
    before = times(shoot)
    assert all(update.frames == 0 for update in segment_many(items, shoot / "out"))
    assert times(shoot) == before


def test_a_second_start_does_what_has_changed(shoot: Path, items: list[ClipItem]) -> None:
    list(segment_many(items, shoot / "out"))
    before = times(shoot)
    corrected = read_mask(shoot / "masks/two.png")
    corrected[:12, :12] = 2
    write_mask(shoot / "masks/two.png", corrected)
    assert list(segment_many(items, shoot / "out"))[-1].frames > 0
    changed = {path.parts[-3] for path, written in times(shoot).items() if before[path] != written}
    assert changed == {"two"} and Result(shoot / "out/two").receipt["objects"] == [1, 2]
    assert not list((shoot / "out").glob(".two*"))


def test_a_run_killed_before_its_first_frame_begins_again(shoot: Path, items: list[ClipItem]) -> None:
    list(segment_many(items, shoot / "out"))
    for file in ("receipt.json", "clip.json"):
        (shoot / "out/one" / file).unlink()
    (shoot / "out/one/clip.json").write_text("{}")
    updates = list(segment_many(items, shoot / "out"))
    assert updates[-1].frames == LENGTHS["one"] and frames_by_clip(shoot) == LENGTHS


def test_a_mask_that_is_edited_while_its_clip_runs_counts_the_next_time(shoot: Path, items: list[ClipItem]) -> None:
    for update in segment_many(items, shoot / "out"):
        if update.name == "one" and update.frames == 2:
            write_mask(shoot / "masks/one.png", scene(3)[1])
    assert list(segment_many(items, shoot / "out"))[-1].frames == LENGTHS["one"]
    assert not any(update.frames for update in segment_many(items, shoot / "out"))


def test_a_failed_clip_is_tried_once_in_an_attempt_unless_its_files_change(shoot: Path) -> None:
    (shoot / "masks/one.png").write_bytes(b"nothing")
    items = read_clip_list(str(shoot / "clips"), shoot / "masks", FAST)
    assert [update.name for update in segment_many(items, shoot / "out", attempt="a") if update.error] == ["one"]
    assert not any(update.frames for update in segment_many(items, shoot / "out", attempt="a"))
    write_mask(shoot / "masks/one.png", scene(0)[1])
    assert not [update for update in segment_many(items, shoot / "out", attempt="a") if update.error]


def test_a_stopped_list_is_resumed(shoot: Path, items: list[ClipItem]) -> None:
    frames = iter(range(100))
    list(segment_many(items, shoot / "out", should_stop=lambda: next(frames) > 8))
    done = len(times(shoot))
    assert 0 < done < sum(LENGTHS.values())
    list(segment_many(items, shoot / "out"))
    assert frames_by_clip(shoot) == LENGTHS
    reused = sum(Result(shoot / "out" / name).receipt["masks_reused"] for name in LENGTHS)
    assert reused > 0


def test_broken_clips_are_lines_in_the_index_and_the_others_finish(
    shoot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shoot / "clips/broken.mp4").write_bytes(b"nothing")
    write_mask(shoot / "masks/broken.png", scene(0)[1])
    write_clip(shoot / "clips/no mask & <b>.mp4", [scene(0)[0]] * 2)
    assert main(command(shoot)) == 3
    assert "3 of 5 clips segmented" in capsys.readouterr().out
    with (shoot / "out/index.csv").open(newline="") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    assert {name: int(rows[name]["frames"]) for name in LENGTHS} == LENGTHS
    assert all(rows[name]["end"] == "complete" and float(rows[name]["mean_confidence"]) > 0.5 for name in LENGTHS)
    assert rows["broken"]["end"] == "failed" and "broken.mp4" in rows["broken"]["message"]
    assert rows["no mask & <b>"]["message"] == "There is no mask for no mask & <b>.mp4."
    page = (shoot / "out/index.html").read_text()
    assert "no mask &amp; &lt;b&gt;" in page and "<b>" not in page and 'src="one/overlay.mp4"' in page
    write_clip(shoot / "clips/broken.mp4", [scene(t)[0] for t in range(3)])
    write_mask(shoot / "masks/no mask & <b>.png", scene(0)[1])
    assert main(command(shoot)) == 0, "a second start tries failed clips again"


class Terminal(io.StringIO):
    """A terminal that keeps what is printed on it."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_clips_frames_a_second_and_the_time_left(
    shoot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main([*command(shoot), "--export", "coco"]) == 0
    last = terminal.getvalue().split("\r")[-1]
    assert re.search(r"100%\|[█#]+\| 3\.0 of 3 clips, 00:\d\d so far, 00:00 left, \d+\.\d frames/s, two", last), last
    assert "exports/coco.json written" in capsys.readouterr().out
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(command(shoot)) == 0
    assert terminal.getvalue().endswith(last) and capsys.readouterr().out == "", "one process of a machine speaks"


def test_each_task_of_slurm_starts_its_processes_and_those_of_torchrun_start_none(
    shoot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def start_none(processes: int, _: object) -> nullcontext[None]:
        started.append(processes)
        return nullcontext()

    monkeypatch.setattr("mamp.cli.segment_clips.worker_processes", start_none)
    monkeypatch.setattr("mamp.cli.segment_clips.use_share_of_machine", lambda *_: "cpu")
    monkeypatch.setattr("mamp.cli.segment_clips.segment_many", lambda *_, **__: iter(()))
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert main(command(shoot, "--processes", "3")) == 0
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(command(shoot, "--processes", "3")) == 0
    assert started == [3, 1]


def test_two_processes_share_the_clips(shoot: Path) -> None:
    """Neither does the work of the other, both end when all is done, and a clip that fails is tried once."""
    (shoot / "clips/a broken one.mp4").write_bytes(b"nothing")
    write_mask(shoot / "masks/a broken one.png", scene(0)[1])
    assert start(shoot, more=["--processes", "2"]).wait(timeout=300) == 3
    assert frames_by_clip(shoot) == LENGTHS
    assert all(Result(shoot / "out" / name).receipt["masks_reused"] == 0 for name in LENGTHS)
    attempts = {json.loads(record.read_text())["attempt"] for record in (shoot / "out").glob("*/clip.json")}
    assert len(attempts) == 1


def test_an_error_ends_the_processes_that_were_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\necho "$LOCAL_RANK of $LOCAL_WORLD_SIZE: $*" >{tmp_path}/$LOCAL_RANK\nexec sleep 600\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    started = [tmp_path / "1", tmp_path / "2"]
    with pytest.raises(KeyboardInterrupt), worker_processes(3, ["segment", "x"]):
        deadline = time.monotonic() + 60
        while not all(file.exists() and file.read_text() for file in started):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        raise KeyboardInterrupt
    assert [file.read_text() for file in started] == [f"{rank} of 3: -m mamp segment x\n" for rank in (1, 2)]


def start(shoot: Path, *launcher: str, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    program = list(launcher) or [sys.executable]
    return subprocess.Popen([*program, "-m", "mamp", *command(shoot, *more)], cwd=ROOT, env=OWN_THREAD)


@pytest.fixture
def long_clip(shoot: Path) -> Iterator[Path]:
    """A clip that takes a while, first in the list."""
    write_clip(shoot / "clips/a long one.mp4", [scene(t % 20)[0] for t in range(150)])
    write_mask(shoot / "masks/a long one.png", scene(0)[1])
    yield shoot / "out/a long one"


def test_the_clip_of_a_killed_process_is_taken_over(shoot: Path, long_clip: Path) -> None:
    killed = start(shoot)
    wait_for_masks(long_clip, 10)
    other = start(shoot)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert other.wait(timeout=300) == 0
    result = Result(long_clip)
    assert result.frames == 150 and result.receipt["masks_reused"] >= 10
    assert frames_by_clip(shoot) == LENGTHS


def test_ctrl_c_tells_how_many_clips_are_done_and_the_same_command_resumes(shoot: Path, long_clip: Path) -> None:
    # Tests that run in the background ignore SIGINT, and so would their child processes.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "mamp", *command(shoot)]
    with subprocess.Popen(program, cwd=ROOT, env=OWN_THREAD, stderr=subprocess.PIPE, text=True) as run:
        wait_for_masks(long_clip, 10)
        run.send_signal(signal.SIGINT)
        _, message = run.communicate()
    assert run.returncode == 130
    assert message == "mamp: 0 of 4 clips are done; the same command resumes with the others.\n"
    assert main(command(shoot)) == 0
    assert Result(long_clip).receipt["masks_reused"] >= 10 and frames_by_clip(shoot) == LENGTHS


def test_torchrun_restarts_a_killed_worker(shoot: Path, long_clip: Path) -> None:
    launcher = start(shoot, *TORCHRUN, "--max-restarts", "2")
    wait_for_masks(long_clip, 10)
    workers = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True)
    os.kill(int(workers.stdout.split()[0]), signal.SIGKILL)
    assert launcher.wait(timeout=300) == 0
    assert Result(long_clip).frames == 150 and frames_by_clip(shoot) == LENGTHS


def wait_for_masks(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "masks").exists() and len(list((folder / "masks").glob("[0-9]*.png"))) >= count:
            return
        time.sleep(0.02)
    raise TimeoutError(f"{folder.name} has no {count} masks")
