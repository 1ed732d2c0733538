"""No request occupies the machine for longer than a stated time, and none takes all its memory."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from mamp import write_mask
from tests.conftest import scene
from webapp import api, clips, jobs, results_view, run_handler, settings_controls, work_limit
from webapp import session as sessions

FAST = replace(settings_controls.START, short_side=64, flow="none")
CONTROLS = tuple((settings_controls.control_values(FAST) | {"short_side": 64}).values())


@pytest.fixture
def session(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    session: dict[str, Any] = clips.open_clip({}, str(clip))["session"]
    sessions.project_of(session).set_mask(0, scene(0)[1])
    return session


def run(session: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    jobs.claim_job(session, "run")
    for update in run_handler.run(session, None, 0.5, [], *CONTROLS):
        shown |= update
    return shown


def test_the_limit_is_said_before_a_run_and_a_longer_one_is_refused(
    session: dict[str, Any], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "The limit of a run is 30 min" in run_handler.estimate_text(session, *CONTROLS)
    monkeypatch.setattr(run_handler, "estimate_run_seconds", lambda *_: 7200.0)
    refusal = "would take about 120 min, and the limit is 30 min: trim the clip"
    assert refusal in run_handler.estimate_text(session, *CONTROLS)
    assert refusal in run(session)["status"] and sessions.project_of(session).result is None
    write_mask(tmp_path / "mask.png", scene(0)[1])
    with pytest.raises(gr.Error, match="would take about 120 min"):
        api.segment(str(clip), str(tmp_path / "mask.png"), short_side=64, flow="none")


def test_every_object_counts(session: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    monkeypatch.setattr(run_handler, "estimate_run_seconds", lambda *arguments: float(counts.append(arguments[4]) or 1))
    sessions.project_of(session).set_mask(3, scene(3)[1] * 7)
    run_handler.expected_seconds(session, FAST)
    assert counts == [2]


def test_the_estimate_leaves_out_the_frames_that_a_run_keeps(session: dict[str, Any]) -> None:
    settings = settings_controls.settings_of(*CONTROLS)
    assert "for 12 frames on this machine. The limit" in run_handler.estimate_text(session, *CONTROLS)
    whole = run_handler.expected_seconds(session, settings)
    assert "Done" in run(session)["status"]
    assert "All 12 frames keep their masks" in run_handler.estimate_text(session, *CONTROLS)
    assert run_handler.expected_seconds(session, settings) < whole / 2
    sessions.project_of(session).set_mask(9, scene(9)[1])
    assert "for 3 frames on this machine. 9 other frames stay" in run_handler.estimate_text(session, *CONTROLS)
    sessions.project_of(session).set_mask(0, scene(1)[1])
    assert "for 12 frames on this machine. The limit" in run_handler.estimate_text(session, *CONTROLS)


def test_frames_that_would_take_all_memory_are_refused(session: dict[str, Any], monkeypatch: Any) -> None:
    with pytest.raises(work_limit.WorkLimitError, match="choose a smaller processing size, of at most 4 megapixels"):
        work_limit.check_work(1, (4320, 7680))
    monkeypatch.setattr(work_limit, "MAX_PROCESSING_PIXELS", 1000)
    assert "choose a smaller processing size" in run(session)["status"]


def test_a_run_that_takes_longer_than_expected_is_stopped_and_can_go_on(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_handler.estimate_text(session, *CONTROLS)  # the trial takes time
    monkeypatch.setattr(work_limit, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(run_handler, "check_work", lambda *_: None)
    shown = run(session)
    assert "Stopped at the limit of 0 seconds" in shown["status"] and "1 of 12 frames" in shown["status"]
    jobs.claim_job(session, "export")
    exported = list(results_view.prepare_export(session, "png"))[-1]
    assert "longer than the limit" in exported["status"]
    monkeypatch.setattr(work_limit, "MAX_SECONDS", 1800.0)
    assert "Done: 12 of 12 frames" in run(session)["status"]


def test_a_deadline_is_in_the_future() -> None:
    assert 1700 < work_limit.deadline() - time.time() < 1900
