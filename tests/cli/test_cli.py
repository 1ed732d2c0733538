"""The command line reports its results, and each error with a clear message."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mamp
from mamp.cli.main import main
from mamp.masks.mask_io import read_mask, write_mask
from mamp.runs.results import Result
from mamp.video.writer import VideoWriter
from tests.conftest import scene, write_clip

FAST = ["--weights", "patch", "--flow", "none", "--radius", "2", "--device", "cpu"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "clip.mp4", None, (48, 64)) as writer:
        for t in range(4):
            writer.write(np.full((48, 64, 3), 90, np.uint8), Fraction(t, 25))
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:30] = 1
    write_mask(tmp_path / "first.png", mask)
    write_mask(tmp_path / "none.png", np.zeros((48, 64), np.uint8))
    write_mask(tmp_path / "small.png", np.ones((8, 8), np.uint8))
    (tmp_path / "text.mp4").write_text("hello")
    return tmp_path / "clip.mp4"


def segment(clip: Path, *arguments: str) -> int:
    folder = clip.parent
    expanded = [argument.replace("@", f"{folder}/") for argument in arguments]
    return main(["segment", *expanded, "--out", str(folder / "out"), *FAST])


def test_segment_writes_all_outputs_and_reports_them(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment(clip, "@clip.mp4", "--mask", "@first.png", "--mask", "2=@first.png") == 0
    assert "4 frames" in capsys.readouterr().out
    found = {path.name for path in (clip.parent / "out").iterdir()}
    assert found == {"overlay.mp4", "masks", "masks.zip", "masks.json", "objects.csv", "input_masks", "receipt.json"}


def test_the_damage_of_a_clip_is_printed(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)
    with VideoWriter(clip.parent / "whole.mp4", None, (48, 64)) as writer:
        for t, image in enumerate(noise):
            writer.write(image, Fraction(t, 25))
    whole = (clip.parent / "whole.mp4").read_bytes()
    (clip.parent / "half.mp4").write_bytes(whole[: len(whole) // 2])
    assert segment(clip, "@half.mp4", "--mask", "@first.png") == 0
    assert "note: half.mp4 is damaged: it breaks off; only the frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["@gone.mp4", "--mask", "@first.png"], "There is no file gone.mp4."),
        (["@text.mp4", "--mask", "@first.png"], "text.mp4 cannot be read"),
        (["@clip.mp4", "--mask", "@none.png"], "contains no object"),
        (["@clip.mp4", "--mask", "@small.png"], "8x8, but the clip is 64x48"),
        (["@clip.mp4", "--mask", "9=@first.png"], "frames 0 to 3"),
        (["@clip.mp4", "--mask", "@gone.png"], "gone.png"),
        (["@clip.mp4", "--mask", "x=@first.png"], "--mask takes"),
        (["@clip.mp4", "--mask", "@first.png", "--name", "dog"], "--name takes"),
        (["@clip.mp4", "--mask", "@first.png", "--previous", "@nowhere"], "no results of a run in nowhere"),
    ],
)
def test_invalid_input_ends_with_one_line_and_code_2(
    clip: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert segment(clip, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mask", "@first.png", "--previous", "@out"], "A previous run must be in another folder than the new one."),
        (["--mask", "@first.png", "--previous", "@nowhere"], "There are no results of a run in nowhere."),
        (["--mask", "@gone.png"], "There is no file gone.png."),
        (["--mask", "@first.png", "--out", "@text.mp4"], "text.mp4 is a file; choose another name"),
        (["--mask", "@first.png", "--out", "@foreign"], "The folder foreign holds masks that no run has written"),
        (["--mask", "@first.png", "--processes", "2"], "are for many clips, with --masks."),
        (["--masks", "@", "--previous", "@nowhere"], "--previous and --name are for one clip."),
        (["--masks", "@", "--export", "paper"], "A format of exports is one of youtube-vis"),
    ],
)
def test_options_are_refused_without_waiting_for_pytorch(clip: Path, arguments: list[str], message: str) -> None:
    (clip.parent / "foreign/masks").mkdir(parents=True)
    shutil.copy(clip.parent / "first.png", clip.parent / "foreign/masks")
    expanded = [argument.replace("@", f"{clip.parent}/") for argument in ["--out", "@out", *arguments]]
    command = [sys.executable, "-X", "importtime", "-m", "mamp", "segment", str(clip), *expanded]
    done = subprocess.run(command, capture_output=True, text=True)
    *imports, last = done.stderr.splitlines()
    assert done.returncode == 2 and last.startswith("mamp: ") and message in last
    assert "torch" not in {line.split("|")[-1].strip() for line in imports}


def test_help_of_segment_says_that_a_previous_run_is_in_another_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    assert "in another folder than --out" in " ".join(capsys.readouterr().out.split())


def start_run(clip: Path) -> tuple[subprocess.Popen[bytes], list[str]]:
    """Starts a long run and waits for its first masks; returns the process and its arguments."""
    out = clip.parent / "out"
    long = write_clip(clip.parent / "long.mp4", [scene(t % 8)[0] for t in range(200)])
    write_mask(clip.parent / "scene.png", scene(0)[1])
    arguments = ["segment", str(long), "--mask", str(clip.parent / "scene.png"), *FAST]
    command = [sys.executable, "-m", "mamp", *arguments, "--out", str(out)]
    # Tests that run in the background ignore SIGINT, and so would their child processes.
    with (clip.parent / "stderr.txt").open("w") as messages:
        run = subprocess.Popen(["env", "--default-signal=INT", *command], stderr=messages)
    deadline = time.monotonic() + 60
    while not (out / "masks" / "00003.png").exists():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return run, arguments


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["argparse", "numpy.exceptions", "torch._C", "torch"])
def test_an_interrupt_during_imports_ends_without_a_traceback(clip: Path, module: str, number: signal.Signals) -> None:
    arguments = ["segment", str(clip), "--mask", str(clip.parent / "first.png"), "--out", str(clip.parent / "out")]
    command = ["env", "--default-signal=INT", sys.executable, "-X", "importtime", "-m", "mamp", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert any(line.split("|")[-1].strip() == module for line in run.stderr), "it is imported"
        run.send_signal(number)
        after = run.stderr.read()
    assert run.returncode == 128 + number
    assert all(line.startswith("import time:") for line in after.splitlines()), after


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_terminated_run_keeps_its_results_and_says_how_to_resume(
    clip: Path, number: signal.Signals, code: int
) -> None:
    run, arguments = start_run(clip)
    run.send_signal(number)
    assert run.wait(60) == code
    out = clip.parent / "out"
    receipt = json.loads((out / "receipt.json").read_text())
    assert receipt["end"] == "stopped" and 3 <= receipt["masks_written"] < 200
    assert receipt["masks_written"] == receipt["frames_in_video"] == len(list((out / "masks").iterdir()))
    message = re.fullmatch(
        r"mamp: (\d+) of 200 frames are done; "
        r"to resume, add (--previous .+ --out )NEW to the command, where NEW is another folder\.\n",
        (clip.parent / "stderr.txt").read_text(),
    )
    assert message is not None and int(message[1]) == receipt["masks_written"]
    new = clip.parent / "new"
    assert main([*arguments, "--out", str(out), *shlex.split(message[2]), str(new)]) == 0
    resumed = Result(new)
    assert resumed.frames == 200 and resumed.receipt["masks_reused"] == receipt["masks_written"]


def test_a_killed_run_resumes_to_the_same_masks(clip: Path) -> None:
    run, arguments = start_run(clip)
    run.kill()
    run.wait(60)
    out, again, unbroken = (clip.parent / name for name in ("out", "again", "unbroken"))
    receipt = json.loads((out / "receipt.json").read_text())
    done = list((out / "masks").glob("*.png"))
    assert receipt["end"] == "killed" and not (out / "overlay.mp4").exists() and 4 <= len(done) < 200
    assert main([*arguments, "--out", str(again), "--previous", str(out)]) == 0
    assert main([*arguments, "--out", str(unbroken)]) == 0
    assert json.loads((again / "receipt.json").read_text())["masks_reused"] >= 4
    for path in (unbroken / "masks").iterdir():
        assert path.read_bytes() == (again / "masks" / path.name).read_bytes()
    rows = [Result(folder).object_frames for folder in (again, unbroken)]
    assert len(rows[0]) == len(rows[1]) == 200
    assert sum(one != other for one, other in zip(*rows, strict=True)) <= 1, "at most the row being written is lost"
    (out / "masks" / ".00199.png.1.part").touch()
    assert main([*arguments, "--out", str(out)]) == 0, "into the same folder"
    assert len(list((out / "masks").iterdir())) == 200, "partial files are removed"


def test_a_full_disk_is_reported_and_the_run_resumes_elsewhere(clip: Path) -> None:
    long = write_clip(clip.parent / "long.mp4", [scene(t % 8)[0] for t in range(60)])
    write_mask(clip.parent / "scene.png", scene(0)[1])
    small, kept = clip.parent / "small", clip.parent / "kept"
    small.mkdir()
    arguments = ["segment", str(long), "--mask", str(clip.parent / "scene.png"), *FAST]
    run = shlex.join([sys.executable, "-m", "mamp", *arguments, "--out", str(small / "out")])
    room = f"mount -t tmpfs -o size=120k none {shlex.quote(str(small))}"
    own = ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c"]
    attempt = subprocess.run([*own, room], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if any(word in attempt.stderr for word in ("not permitted", "denied")):
        pytest.skip(f"a separate file system cannot be mounted: {attempt.stderr.strip()}")
    assert attempt.returncode == 0, attempt.stderr
    keep = f"cp -r {shlex.quote(str(small / 'out'))} {shlex.quote(str(kept))}"
    done = subprocess.run([*own, f"{room} && {run}; {keep}"], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "mamp: The disk is full."
    assert json.loads((kept / "receipt.json").read_text())["end"] in ("failed", "killed")
    masks = list((kept / "masks").iterdir())
    assert 3 < len(masks) < 60 and all(read_mask(path).any() for path in masks)
    for name in ("masks.zip", "masks.json", "overlay.mp4"):
        assert not (kept / name).exists() or (kept / name).stat().st_size > 1000, "complete or absent"
    again, unbroken = clip.parent / "again", clip.parent / "unbroken"
    assert main([*arguments, "--out", str(again), "--previous", str(kept)]) == 0
    assert main([*arguments, "--out", str(unbroken)]) == 0
    for path in (unbroken / "masks").iterdir():
        assert path.read_bytes() == (again / "masks" / path.name).read_bytes()


def test_public_names_and_all_agree() -> None:
    assert set(mamp._MODULES) == set(mamp.__all__) == set(dir(mamp))
    assert all(getattr(mamp, name) is not None for name in mamp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = mamp.other


def test_help_names_the_commands_and_does_not_wait_for_pytorch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mamp", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("segment", "train", "distill", "evaluate"))
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported and not imported & {"torch", "numpy", "cv2", "av"}


def test_how_a_mask_was_read_is_printed_and_in_the_receipt(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    square = np.zeros((48, 64), np.uint8)
    square[10:30, 10:30] = 255
    Image.fromarray(cv2.GaussianBlur(square, (0, 0), 1.5)).save(clip.parent / "soft.png")

    def segment(mask: str, out: str) -> None:
        files = ["--mask", str(clip.parent / mask), "--out", str(clip.parent / out)]
        assert main(["segment", str(clip), *files, *FAST]) == 0

    segment("soft.png", "out")
    assert "read as black and white; soft edges cut at half" in capsys.readouterr().out
    summary = Result(clip.parent / "out").receipt["input_masks_read"]["0"]
    assert summary["rule"] == "black and white" and list(summary["objects"]) == ["1"]
    assert 390 <= summary["objects"]["1"] <= 400
    segment("out/masks.json", "again")
    assert Result(clip.parent / "again").receipt["input_masks_read"]["0"]["rule"] == "COCO run lengths"
