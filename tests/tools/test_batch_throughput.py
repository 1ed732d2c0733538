"""The measurement of several processes: what it compares, and that the median counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mamp.batch.clip_list import read_clip_list
from mamp.settings import Settings
from tools import batch_throughput


@pytest.mark.parametrize(("torchrun", "more"), [([], "--processes=3"), (["--torchrun"], "--nproc-per-node=3")])
def test_one_process_and_several_take_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], torchrun: list[str], more: str
) -> None:
    commands: list[Sequence[str]] = []
    seconds = iter([10.0, 5.0, 10.0, 2.0, 10.0, 4.0])

    def timed(command: Sequence[str]) -> tuple[float, float]:
        clips, masks = command[command.index("segment") + 1 :], command[command.index("--masks") + 1]
        folder = next(argument for argument in clips if not argument.startswith("--"))
        assert all(item.masks for item in read_clip_list(folder, Path(masks), Settings()))
        commands.append(command)
        return next(seconds), 3.0 if more in command else 6.0

    monkeypatch.setattr(batch_throughput, "segment", timed)
    batch_throughput.main(
        ["--clips", "2", "--frames", "2", "--short-side", "48", "--processes", "3", *torchrun, "--radius", "3"]
    )
    assert [more in command for command in commands] == [False, True] * 3
    assert all(command[-2:] == ["--radius", "3"] for command in commands)
    assert len({command[command.index("--out") + 1] for command in commands}) == 6
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["times_faster"] == 2.5 and report["times_less_cpu"] == 2.0


def test_cpu_time_is_that_of_the_command() -> None:
    seconds, cpu_seconds = batch_throughput.segment([sys.executable, "-c", "sum(range(3_000_000))"])
    assert 0 < cpu_seconds <= 8 * seconds
