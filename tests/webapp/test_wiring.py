"""Every event of the page, with right and wrong inputs: its outputs fit the wiring, and errors are one sentence."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.helpers import special_args
from gradio.state_holder import SessionState

from mamp import Settings, write_mask
from tests.conftest import scene
from tests.webapp.conftest import take_result
from webapp import clips
from webapp import session as sessions
from webapp.html import session_to_bring_back
from webapp.layout.wiring import Wiring
from webapp.updates import FrameUpdates, SessionUpdates, StatusUpdates

pytestmark = pytest.mark.usefixtures("loops")

EVENT = gr.EventData(None, {"frame": 3, "object": 1, "name": "street", "x": 40, "y": 48})


@pytest.fixture
def files(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "wrong").write_text("nothing of use")
    write_mask(tmp_path / "mask.png", scene(0)[1])
    return {"clip": clip, "wrong": tmp_path / "wrong", "mask": tmp_path / "mask.png"}


def value_of(component: Any, kind: str, files: dict[str, Path]) -> Any:
    """A value of a component: "default", "cleared" or "wrong"."""
    if isinstance(component, gr.State):
        return component.value
    if kind == "cleared":
        return None
    if isinstance(component, gr.Video):
        return str(files["clip"] if kind == "default" else files["wrong"])
    if isinstance(component, gr.File):
        return str(files["mask"] if kind == "default" else files["wrong"])
    if kind == "default":
        return component.value
    return -5e17 if isinstance(component, gr.Number | gr.Slider) else "\x00 wrong / value"


def run_event(page: gr.Blocks, event: Any, session: dict[str, Any], kind: str, files: dict[str, Path]) -> int:
    """Handles an event as Gradio does; returns the number of updates. An error for the visitor counts as none."""
    inputs = [
        session if component.value == {} and isinstance(component, gr.State) else value_of(component, kind, files)
        for component in event.inputs
    ]
    arguments, *_ = special_args(event.fn, inputs, event_data=EVENT)
    try:
        result = event.fn(*arguments)
        updates = list(result) if inspect.isgenerator(result) else [result]
    except gr.Error as error:
        assert (
            error.message.endswith((".", "!"))
            and "\n" not in error.message
            and str(files["clip"].parent) not in error.message
        )
        return 0
    for update in updates:
        asyncio.get_event_loop_policy().get_event_loop().run_until_complete(
            page.postprocess_data(event, update, SessionState(page))
        )
    return len(updates)


@pytest.mark.parametrize("kind", ["default", "cleared", "wrong"])
@pytest.mark.parametrize("state", ["none", "open", "finished", "ended"])
def test_the_outputs_of_every_event_fit_the_wiring(
    built_page: gr.Blocks, files: dict[str, Path], stored_run: Path, state: str, kind: str
) -> None:
    handled = 0
    for event in built_page.fns.values():
        if event.fn is None or event.name in ("segment", "_leave"):
            continue
        session: dict[str, Any] = {}
        if state != "none":
            session = clips.open_clip({}, str(files["clip"]))["session"]
        if state == "finished":
            sessions.project_of(session).set_mask(0, scene(0)[1])
            take_result(session, stored_run)
            sessions.project_of(session).save(Settings())
        if state == "ended":
            sessions.close_session(session, keep=str(files["clip"]))
        elif session:
            sessions.request_job(session, "export" if event.name == "prepare_export" else "run")
        handled += run_event(built_page, event, session, kind, files)
        sessions.close_session(session, keep=str(files["clip"]))
        assert not session or not Path(session["folder"]).exists(), "an ended session has files"
    assert handled > 10 or state == "ended"


def test_the_editor_is_refreshed_after_every_event_that_may_show_the_end_of_a_run(built_page: gr.Blocks) -> None:
    refreshes = [event.trigger_after for event in built_page.fns.values() if event.name == "refresh_editor"]
    ends = {number for number, event in built_page.fns.items() if event.name in ("run", "watch")}
    assert len(ends) == 2 and ends <= set(refreshes)


def test_an_update_of_a_component_that_is_no_output_is_an_error(built_page: gr.Blocks) -> None:
    with gr.Blocks() as other:
        wiring = Wiring(other, gr.State({}), {"status": gr.HTML(), "settings": {"radius": gr.Slider()}}, gr.HTML())
    assert wiring.values(["status", "settings"], {"status": "x"}) == ["x", gr.skip()]
    for wrong in ({"other": 1}, {"settings": {"other": 1}}):
        with pytest.raises(KeyError, match="other"):
            wiring.values(["status", "settings"], wrong)


def test_the_editor_is_refreshed_after_a_run_however_its_page_follows_it(built_page: gr.Blocks) -> None:
    names = {number: event.name for number, event in built_page.fns.items()}
    before = [names[event.trigger_after] for event in built_page.fns.values() if event.name == "refresh_editor"]
    assert sorted(before) == ["prepare_export", "run", "watch"]


def test_a_place_that_a_failed_run_gives_back_is_not_shown_as_taken(built_page: gr.Blocks) -> None:
    names = {number: event.name for number, event in built_page.fns.items()}
    settled = [event for event in built_page.fns.values() if event.name == "settle_job"]
    after_success = [names[event.trigger_after] for event in settled if event.trigger_only_on_success]
    others = {names[event.trigger_after] for event in settled if not event.trigger_only_on_success}
    assert sorted(after_success) == ["prepare_export", "run"] and others == {"refuse_job"}


def test_estimates_are_answered_in_the_order_in_which_they_were_asked(built_page: gr.Blocks) -> None:
    estimates = [event for event in built_page.fns.values() if event.name == "estimate"]
    assert len(estimates) > 10
    assert {(event.concurrency_id, event.concurrency_limit) for event in estimates} == {("estimate", 1)}


def test_a_second_clip_is_opened_after_the_first_and_other_events_wait_in_silence(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.layout.wiring._page", lambda: "page")
    begun, may_end, given = Event(), Event(), []

    def replace(session: dict[str, Any], clip: str) -> SessionUpdates:
        given.append(session)
        sessions.close_session(session, keep=clip)
        begun.set()
        assert may_end.wait(60)
        return {"session": sessions.new_session(clip)}

    def paint(session: dict[str, Any]) -> StatusUpdates:
        return {"status": "painted"}

    with gr.Blocks() as blocks:
        state, status, button = gr.State({}), gr.HTML(), gr.Button()
        wiring = Wiring(blocks, state, {"status": status}, gr.HTML())
        wiring.connect(button.click, replace, gr.State(str(files["clip"])))
        wiring.connect(button.click, paint)
    events = {event.name: event.fn for event in blocks.fns.values()}
    session = sessions.new_session(str(files["clip"]))
    first = Thread(target=events["replace"], args=(session, str(files["clip"])))
    first.start()
    assert begun.wait(60)
    second = Thread(target=events["replace"], args=(session, str(files["clip"])))
    second.start()
    assert events["paint"](session) == [gr.skip(), session["folder"]]  # the page then checks which clip it shows
    assert given == [session]
    may_end.set()
    first.join(60)
    second.join(60)
    assert given[1]["folder"] != session["folder"], "the second event got the session that the first one has ended"
    assert not sessions.is_open(given[1])


def test_every_event_notices_that_another_page_closed_the_clip(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.layout.wiring._page", lambda: "page")

    def follow(session: dict[str, Any]) -> Iterator[StatusUpdates]:
        yield {"status": "begun"}
        sessions.use_session(session)

    def draw(session: dict[str, Any]) -> FrameUpdates:
        return {}

    def rename(session: dict[str, Any]) -> None:
        pass

    def replace(session: dict[str, Any]) -> SessionUpdates:
        return {"session": sessions.new_session(str(files["clip"]))}

    with gr.Blocks() as blocks:
        components = {name: gr.HTML() for name in ("status", "comparison", "explained")}
        button = gr.Button()
        wiring = Wiring(blocks, gr.State({}), components, gr.HTML())
        for handler in (follow, draw, rename, replace):
            wiring.connect(button.click, handler)
    events = {event.name: event.fn for event in blocks.fns.values()}
    session = events["replace"]({})
    following = events["follow"](session)
    assert next(following) == ["begun", gr.skip()]
    sessions.close_session(session, keep=str(files["clip"]))
    assert list(following) == [[gr.skip(), session["folder"]]]
    assert events["draw"](session) == [gr.skip(), gr.skip(), session["folder"]]
    assert events["rename"](session) == session["folder"]


def test_a_page_whose_clip_is_gone_shows_none_and_offers_what_was_painted(files: dict[str, Path]) -> None:
    session = clips.open_clip({}, str(files["clip"]))["session"]
    assert clips.check_session({}) == clips.check_session(session) == {}
    sessions.project_of(session).set_mask(0, scene(0)[1])
    clips.remove_clip(session)
    updates = clips.check_session(session)
    assert updates["session"] == {} and updates["clip"] is None and updates["masks"] == "" and updates["estimate"] == ""
    assert "Another page closed this clip" in updates["status"]
    name = session_to_bring_back(updates["status"])
    back = clips.bring_back({}, gr.EventData(None, {"session": name}))["session"]
    assert list(sessions.project_of(back).input_masks) == [0]
    sessions.close_session(back)
    assert session_to_bring_back(clips.check_session(session)["status"]) == ""


def unexpected(session: dict[str, Any]) -> StatusUpdates:
    raise RuntimeError(f"{np.__file__} is wrong")


def in_pieces(session: dict[str, Any]) -> Iterator[StatusUpdates]:
    yield {"status": "begun"}
    raise RuntimeError(f"{np.__file__} is wrong")


@pytest.mark.parametrize("handler", [unexpected, in_pieces])
def test_an_unexpected_error_is_logged_and_reveals_nothing(
    handler: Any, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with gr.Blocks() as blocks:
        status, button = gr.HTML(), gr.Button()
        wiring = Wiring(blocks, gr.State({}), {"status": status}, gr.HTML())
        wiring.connect(button.click, handler)
    (event,) = (event for event in blocks.fns.values() if event.name == handler.__name__)
    session = clips.open_clip({}, str(files["clip"]))["session"]
    with pytest.raises(gr.Error, match="failed on the server") as raised:
        list(event.fn(session))
    assert np.__file__ not in raised.value.message and np.__file__ in capsys.readouterr().err
    sessions.close_session(session, keep=str(files["clip"]))
