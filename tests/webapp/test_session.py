"""A session lives as long as it is used, and its files no longer; one run or export at a time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.route_utils import delete_files_created_by_app
from gradio_client import Client, handle_file

from mamp import VideoReader
from tests.conftest import ROOT, scene, serve_process, write_clip
from webapp import api, clips, job_queue, jobs, mask_editing, results_view, run_handler, settings_controls
from webapp import session as sessions
from webapp.background import start_job, watch_job
from webapp.job_queue import LINES, Job, Line

SETTINGS = settings_controls.control_values(settings_controls.START) | {"short_side": 64, "flow": "none"}


@pytest.fixture
def upload(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clip in Gradio's folder."""
    folder = tmp_path / "gradio"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    (folder / "hash").mkdir(parents=True)
    return clip.rename(folder / "hash" / "clip.mp4")


@pytest.fixture
def session(upload: Path) -> dict[str, Any]:
    session: dict[str, Any] = clips.open_clip({}, str(upload))["session"]
    sessions.project_of(session).set_mask(0, scene(0)[1])
    return session


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are kept for a second."""
    for name, seconds in (("KEEP_SECONDS", 1), ("LEFT_SECONDS", 0.3), ("_RENEWAL_SECONDS", 0)):
        monkeypatch.setattr(sessions, name, seconds)


def clean_up() -> None:
    """What the server does from time to time."""
    sessions.end_unused_sessions()


def files_of(session: dict[str, Any]) -> list[Path]:
    return [path for path in (Path(session["folder"]), Path(session["clip"])) if path.exists()]


def test_a_session_lives_while_it_is_used_and_then_goes_with_its_upload(session: dict[str, Any], short: None) -> None:
    for _ in range(6):
        time.sleep(0.3)
        sessions.use_session(session)
        clean_up()
    assert len(files_of(session)) == 2
    time.sleep(1.1)
    clean_up()
    assert not files_of(session)
    with pytest.raises(sessions.SessionEndedError, match="Open the clip again"):
        sessions.use_session(session)
    assert not files_of(session)


def test_a_removed_clip_comes_back_with_its_masks_and_result_for_some_minutes(
    session: dict[str, Any], short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LEFT_SECONDS", 1)
    jobs.claim_job(session, "run")
    assert run(session)[-1]["result_video"]
    removed = clips.remove_clip(session)
    assert removed["session"] == {} and not Path(session["folder"]).exists()
    assert "The clip and its masks were removed. Choose a clip to begin." in removed["status"]
    back = clips.bring_back({}, button_in(removed["status"]))
    found = back["session"]
    assert Path(back["result_video"]).exists() and back["clip"] == session["clip"] and "Frame 0" in back["masks"]
    assert clips.bring_back(found, button_in(removed["status"])) == {}, "a second click"
    time.sleep(1.1)
    clean_up()
    assert not files_of(found), "a session in use is kept as long as every other"
    gone = clips.bring_back({}, button_in(removed["status"]))
    assert list(gone) == ["status"] and "no longer here" in gone["status"]


def button_in(status: str) -> gr.EventData:
    """A click on the button of a status line."""
    (name,) = re.findall('data-session="(\\w+)"', status)
    return gr.EventData(None, {"session": name})


def test_whatever_replaces_a_painted_clip_offers_it_again(session: dict[str, Any], upload: Path) -> None:
    example = clips.open_example(session, "shapes")
    assert "Back to the clip before" in example["status"]
    other = clips.open_example(example["session"], "street")
    offered = [button_in(each["status"]).session for each in (example, other)]
    assert offered[0] == offered[1], "nothing was painted on the example"
    sessions.project_of(other["session"]).set_mask(3, np.ones((384, 512), np.uint8))
    back = clips.bring_back(other["session"], button_in(example["status"]))
    assert back["clip"] == str(upload) and "Frame 0" in back["masks"]
    again = clips.bring_back(back["session"], button_in(back["status"]))
    assert again["session"]["clip"] == other["session"]["clip"] and "Frame 3" in again["masks"]


def test_an_example_after_a_removed_clip_offers_it_again(session: dict[str, Any], upload: Path) -> None:
    removed = clips.remove_clip(session)
    example = clips.open_example({}, "shapes", removed["closed_status"])
    assert "Back to the clip before" in example["status"]
    other = clips.open_example(example["session"], "street")
    assert "Back to the clip before" in other["status"], "two examples are browsed"
    back = clips.bring_back(other["session"], button_in(other["status"]))
    assert back["clip"] == str(upload) and "Frame 0" in back["masks"] and "data-session" not in back["status"]


def test_a_trimmed_clip_comes_back_and_does_not_take_the_whole_one_with_it(
    session: dict[str, Any], upload: Path, short: None
) -> None:
    trimmed = clips.trim_clip(session, str(upload), 2, 8)
    part = trimmed["session"]
    sessions.project_of(part).set_mask(1, scene(3)[1])
    whole = clips.bring_back(part, button_in(trimmed["status"]))
    assert whole["session"]["clip"] == str(upload) and whole["session"]["frames"] == 12
    back = clips.bring_back(whole["session"], button_in(whole["status"]))
    assert back["session"]["frames"] == 7 and "Frame 1" in back["masks"] and Path(back["clip"]).exists()
    time.sleep(0.4)
    clean_up()
    assert upload.exists(), "the clip that was trimmed can be trimmed again"


def test_a_session_with_a_job_is_in_use_however_long_it_takes(session: dict[str, Any], short: None) -> None:
    assert sessions.request_job(session, "run")
    for begun in (False, True):
        if begun:
            assert sessions.begin_job(session)
        for _ in range(4):
            time.sleep(0.4)
            clean_up()
        assert len(files_of(session)) == 2
    sessions.end_job(session)
    time.sleep(1.1)
    clean_up()
    assert not files_of(session)


def test_the_session_of_a_closed_page_goes_soon_unless_the_page_comes_back(
    session: dict[str, Any], short: None
) -> None:
    sessions.leave_session(session)
    sessions.use_session(session)
    time.sleep(0.4)
    clean_up()
    assert len(files_of(session)) == 2
    sessions.request_job(session, "run")
    sessions.leave_session(session)
    time.sleep(0.4)
    clean_up()
    assert not files_of(session)


def test_gradio_does_not_remove_what_a_session_uses(session: dict[str, Any], upload: Path, short: None) -> None:
    unused = upload.with_name("unused.mp4")
    unused.write_bytes(b"")
    result = Path(session["folder"]) / "run-1" / "overlay.mp4"
    result.parent.mkdir()
    result.write_bytes(b"")
    served: Any = SimpleNamespace(blocks={}, temp_file_sets=[{str(upload), str(unused), str(result)}])
    time.sleep(1.2)
    sessions.use_session(session)
    delete_files_created_by_app(served, 1)
    assert upload.exists() and result.exists() and not unused.exists()


def test_an_upload_of_two_sessions_goes_with_the_last(session: dict[str, Any], upload: Path) -> None:
    other = clips.open_clip({}, str(upload))["session"]
    sessions.close_session(session)
    assert upload.exists()
    sessions.close_session(other)
    assert not upload.exists()


def test_an_upload_that_broke_off_is_removed_and_one_in_progress_is_not(upload: Path, short: None) -> None:
    broken, in_progress = upload.parent.parent / "tmpx3_a", upload.parent.parent / "tmpx3_b"
    for path in (broken, in_progress):
        path.write_bytes(b"part of a clip")
    os.utime(broken, (time.time() - 5, time.time() - 5))
    sessions.remove_unfinished_uploads()
    assert not broken.exists() and in_progress.exists() and upload.exists()


def test_a_second_click_starts_nothing(session: dict[str, Any]) -> None:
    first = jobs.claim_job(session, "run")
    assert not first["start"]["interactive"] and not first["prepare"]["interactive"] and first["stop"]["interactive"]
    assert jobs.claim_job(session, "run") == jobs.job_updates(session)
    assert run(session)[-1]["result_video"]
    assert not run(session), "the second click ran as well"
    assert jobs.job_updates(session)["start"]["interactive"] and not jobs.job_updates(session)["stop"]["interactive"]


def test_a_page_does_not_start_what_another_page_of_the_project_claimed(session: dict[str, Any]) -> None:
    other = clips.resume_session({}, sessions.name_of(session))["session"]
    jobs.claim_job(session, "run")
    assert "status" not in jobs.claim_job(other, "export")
    assert not list(results_view.prepare_export(other, results_view.EXPORT_FORMATS[0]))
    assert run(session)[-1]["result_video"], "the export took the place of the run"


def test_a_job_that_waits_is_not_started_again(session: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LINES, "run", Line())
    begun: list[str] = []

    def work(name: str) -> Iterator[dict[str, Any]]:
        begun.append(name)
        yield {"status": name}

    jobs.claim_job(session, "run")
    with LINES["run"].turn(Job("run")):
        for name in ("first", "second"):
            job = start_job(session, "run", 1.0, partial(work, name))
    list(watch_job(session, job))
    assert begun == ["first"]


def run(session: dict[str, Any]) -> list[Any]:
    updates = run_handler.run(session, None, 0.5, [], *SETTINGS.values())
    return [update for update in updates if update]


def test_stop_cancels_a_run_that_waits(session: dict[str, Any]) -> None:
    other = clips.open_example({}, "street")["session"]
    jobs.claim_job(other, "run")
    jobs.claim_job(session, "run")
    stopped = jobs.cancel_job(session)
    assert stopped["start"]["interactive"] and "Stopped" in stopped["status"]
    assert not run(session) and sessions.project_of(session).result is None
    sessions.end_job(other)


def test_nothing_follows_the_last_updates_of_a_job() -> None:
    job = Job("run")
    job.publish({"status": "Done"}, over=True)
    job.publish({"status": "Stopping ..."})
    assert job.news(0, 0)[1:] == ({"status": "Done"}, True)


def test_those_who_wait_read_how_many_are_before_them_and_for_how_long(
    upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, goes_on = Line(), Event()
    monkeypatch.setitem(LINES, "run", line)
    monkeypatch.setattr(job_queue, "time", SimpleNamespace(monotonic=lambda: 0.0))  # else a slow machine reads less
    people = [clips.open_clip({}, str(upload))["session"] for _ in range(3)]

    def work() -> Iterator[dict[str, Any]]:
        yield {"status": "at work"}
        assert goes_on.wait(60)

    for person in people:
        assert sessions.request_job(person, "run")
        start_job(person, "run", 19.0, work)
    first, *others = [watch_job(person, sessions.job_of(person)) for person in people]
    while "at work" not in next(first).get("status", ""):
        pass
    assert "1 person ahead of you, about 20 seconds" in next(others[0])["status"]
    assert "2 people ahead of you, about 40 seconds" in next(others[1])["status"]
    sessions.stop_job(people[1])
    while "1 person ahead of you" not in (update := next(others[1])).get("status", ""):
        assert "at work" not in update.get("status", "")
    goes_on.set()
    assert "Stopped" in list(others[0])[-1]["status"]
    assert "at work" in str(list(others[1]))
    assert not any(sessions.has_job(person) for person in people) and not len(line)


def test_where_two_may_work_at_once_the_third_waits_for_one_of_them() -> None:
    line, (one, two, three) = Line(2), [Job("run") for _ in range(3)]
    one.expect(30)
    two.expect(10)
    begun = Event()

    def work() -> None:
        with line.turn(three):
            begun.set()

    with line.turn(one):
        with line.turn(two):
            waiting = Thread(target=work)
            waiting.start()
            while len(line) < 3:
                assert not begun.is_set()
            assert line.ahead_of(two) == (0, 0.0) and line.ahead_of(three) == (1, 20.0)
        assert begun.wait(60), "the first one still works"
    waiting.join()


def test_a_run_goes_on_when_its_page_is_closed_and_another_page_shows_it(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, track = Event(), run_handler.track

    def held(*arguments: Any) -> Iterator[Any]:
        assert goes_on.wait(60)
        yield from track(*arguments)

    monkeypatch.setattr(run_handler, "track", held)
    jobs.claim_job(session, "run")
    page = run_handler.run(session, None, 0.5, [], *SETTINGS.values())
    next(page)
    page.close()
    found = clips.resume_session({}, sessions.name_of(session))["session"]
    assert found is not session
    watching = jobs.watch(found)
    shown: dict[str, Any] = dict(next(watching))
    goes_on.set()
    for update in watching:
        shown |= update
    assert "Done: 12 of 12" in str(shown["status"]) and shown["result_video"] and shown["start"]["interactive"]


def test_the_message_of_a_short_job_is_seen(session: dict[str, Any]) -> None:
    jobs.claim_job(session, "run")
    job = start_job(session, "run", 1.0, lambda: (update for update in [{"status": "Paint first."}]))
    while sessions.has_job(session):
        time.sleep(0.01)
    assert [update for update in watch_job(session, job) if update] == [{"status": "Paint first."}]


@pytest.mark.parametrize("reload", ["before", "after"])
def test_a_page_that_is_reloaded_around_a_failure_tells_of_it(
    session: dict[str, Any], reload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    goes_on = Event()

    def work() -> Iterator[dict[str, Any]]:
        yield {"status": "at work"}
        assert goes_on.wait(60)
        raise RuntimeError("a secret of the server")

    def resumed() -> dict[str, Any]:
        return dict(clips.resume_session({}, sessions.name_of(session)))

    jobs.claim_job(session, "run")
    watching = watch_job(session, start_job(session, "run", 1.0, work))
    shown = resumed() if reload == "before" else {}
    goes_on.set()
    seen = list(watching)
    shown = shown or resumed()
    for update in jobs.watch(shown["session"]):
        shown |= update
    assert "failed on the server" in seen[-1]["status"] and "failed on the server" in shown["status"]
    assert shown["start"]["interactive"] and "a secret of the server" in capsys.readouterr().err
    jobs.claim_job(session, "run")
    assert "Your clip and your masks are here again" in resumed()["status"], "told of the failure of an earlier run"


@pytest.mark.parametrize("kind", ["run", "export"])
def test_the_line_has_an_end(session: dict[str, Any], kind: job_queue.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_queue, "MAX_WAITING", 0)
    other: job_queue.Kind = "export" if kind == "run" else "run"
    with LINES[kind].turn(Job(kind)):
        refused = jobs.claim_job(session, kind)
        assert "Try again in a few minutes" in refused["status"] and not sessions.has_job(session)
        assert "Starting" in jobs.claim_job(session, other)["status"]
        if kind == "run":
            with pytest.raises(gr.Error, match="Try again in a few minutes"):
                api.segment(session["clip"], "mask.png")
    assert "Stopped" in jobs.refuse_job(session, other)["status"]
    assert "Starting" in jobs.claim_job(session, kind)["status"]


def test_a_refused_job_stops_none_that_another_page_started(session: dict[str, Any]) -> None:
    jobs.claim_job(session, "run")
    jobs.refuse_job(session, "export")
    assert sessions.has_job(session), "a claim of another page"
    assert sessions.start_requested_job(session, "run") and sessions.begin_job(session)
    assert "status" not in jobs.refuse_job(session, "run")
    assert sessions.has_job(session) and not sessions.project_of(session).stop_file.exists()


def test_the_time_that_a_job_waits_is_not_taken_from_its_expected_duration(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(job_queue, "time", SimpleNamespace(monotonic=lambda: now))
    sessions.request_job(session, "run")
    job = sessions.job_of(session)
    assert job is not None
    job.expect(100)
    now += 60
    sessions.begin_job(session)
    assert job.seconds_left == 100
    now += 30
    assert job.seconds_left == 70


def test_an_export_and_a_run_exclude_each_other(session: dict[str, Any]) -> None:
    jobs.claim_job(session, "run")
    assert sessions.begin_job(session)
    assert not jobs.claim_job(session, "run")["prepare"]["interactive"]
    assert not list(results_view.prepare_export(session, results_view.EXPORT_FORMATS[0]))
    sessions.end_job(session)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_cleared_or_replaced_clip_stops_its_run_within_a_frame(
    session: dict[str, Any], upload: Path, replaced: bool, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    jobs.claim_job(session, "run")
    updates = run_handler.run(session, None, 0.5, [], *SETTINGS.values())
    for update in updates:
        if "Frame " in update.get("status", ""):
            break
    new = clips.open_clip(session, str(upload)) if replaced else clips.remove_clip(session)
    assert new["start"]["interactive"] is replaced and not new["stop"]["interactive"]
    assert not list(updates), "the page of the new clip shows the old run"
    assert not Path(session["folder"]).exists() and not sessions.has_job(session)
    assert capfd.readouterr() == ("", "")
    # Also where the page still shows the status of the run.
    settled = jobs.settle_job(new["session"], new["closed_status"])
    assert settled["results"] == new["results"], "late updates of the run stay"
    assert settled["status"] == new["status"] and "data-session" in new["status"]
    if replaced:
        sessions.project_of(new["session"]).set_mask(0, scene(0)[1])
        jobs.claim_job(new["session"], "run")
        assert run(new["session"])[-1]["result_video"]
        assert "status" not in jobs.settle_job(new["session"])


def test_the_frame_number_of_a_short_or_cleared_slider_is_one_of_the_clip(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    path = write_clip(tmp_path / "one.mp4", [scene(0)[0]])
    updates = clips.open_clip({}, str(path))
    session = updates["session"]
    assert not updates["frame"]["interactive"]
    sessions.project_of(session).set_mask(0, scene(0)[1])
    jobs.claim_job(session, "run")
    assert not run(session)[-1]["result_frame"]["interactive"]
    for index in (0, 1):
        assert len(results_view.show_frame(session, 0.5, [], {"frame": index})["comparison"]) == 2
    for index in (0, 1, None):
        mask_editing.select_frame(session, None, index)
        assert session["frame"] == 0


KEEP_A_FOLDER = """
import sys, time
from webapp.server_folder import server_folder
with server_folder() as folder:
    (folder / "upload").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_server_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    def serve() -> tuple[subprocess.Popen[str], Path]:
        environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}
        command = [sys.executable, "-c", KEEP_A_FOLDER]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    with serve()[0] as killed:
        killed.kill()
    first, folder = serve()
    with first:
        second, other = serve()
        with second:
            assert {path.name for path in tmp_path.iterdir()} == {folder.name, other.name}
            assert folder.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


def test_a_run_may_take_longer_than_files_are_kept(tmp_path: Path) -> None:
    frames = [scene(t % 40, 192, 256)[0] for t in range(160)]
    clip = write_clip(tmp_path / "long.mp4", frames)
    mask = tmp_path / "mask.png"
    from mamp import write_mask

    write_mask(mask, scene(0, 192, 256)[1])
    with serve_process(tmp_path, {"MAMP_KEEP_SECONDS": "2"}) as (url, _):
        client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
        start = time.monotonic()
        files = client.predict(handle_file(clip), handle_file(mask), short_side=0, api_name="/segment")
        assert time.monotonic() - start > 6
        assert VideoReader(files[0]).count() == 160
        deadline = time.monotonic() + 30
        while list(tmp_path.glob("mamp-server-*/mamp-session-*")):
            assert time.monotonic() < deadline, "the files stay after the session"
            time.sleep(0.2)
        client.close()
