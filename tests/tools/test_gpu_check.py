"""The check of a GPU machine, rehearsed on the CPU."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools import gpu_check


def report_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report


def test_a_rehearsal_on_the_cpu_gives_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    steps = ["versions", "agreement", "speed_with_few_cores", "profile"]
    options = ["--device", "cpu", "--frames", "2", "--short-sides", "48", "--steps", *steps]
    assert gpu_check.main(options) == 0
    report = report_of(capsys)
    assert report["device"] == "cpu" and set(report["seconds"]) == set(steps)
    ways = ["synchronous", "asynchronous"]
    rows = [(row["execution"], row["objects"], row["frames"]) for row in report["agreement"]]
    assert rows == [(way, objects, 2) for way in ways for objects in (1, 10)]
    assert all(row["least_equal"] == 1 for row in report["agreement"])
    assert [row["execution"] for row in report["speed_with_few_cores"]] == ways
    assert all(row["frames"] == 2 and row["peak_memory_mb"] > 100 for row in report["speed_with_few_cores"])
    synchronous, asynchronous = report["profile"]
    assert synchronous["operations"] > 300 > synchronous["host_reads"] > 0 == asynchronous["host_reads"]
    assert all((row["gpu_busy_ms"], row["copies"]) == (0, 0) for row in report["profile"])


def test_a_step_that_fails_or_has_no_time_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu_check.STEPS, "agreement", lambda _: 1 / 0)
    assert gpu_check.main(["--device", "cpu", "--steps", "agreement", "versions"]) == 1
    report = report_of(capsys)
    assert "ZeroDivisionError" in report["agreement"]["error"] and report["versions"]["torch"]
    assert gpu_check.main(["--device", "cpu", "--seconds", "0", "--steps", "versions"]) == 1
    assert report_of(capsys)["versions"] == {"skipped": "no time left"}
