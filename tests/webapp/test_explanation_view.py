"""Why a pixel of the result got its label: on the page, and its limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from mamp import load_encoder
from mamp.explanation.explain import FrameExplainer
from mamp.explanation.wording import describe
from mamp.runs.finished import open_trackers
from tests.webapp.painting import take_example
from webapp import explanation_view, results_view
from webapp import session as sessions
from webapp.languages import messages, text

WAIT = 120_000  # [ms]


def explained(session: dict[str, Any], frame: Any, x: Any, y: Any) -> str:
    event = gr.EventData(None, {"frame": frame, "x": x, "y": y})
    return explanation_view.explain_pixel(session, 0.45, ["Outline"], event).get("explained", "")


def test_a_place_is_explained_by_words_scores_and_memory_frames(finished: dict[str, Any]) -> None:
    page = explained(finished, 8, 52, 50)
    assert "decided by the votes of the memory" in page and "Sec. 3.2" in page
    assert "&lt;i&gt;disk&lt;/i&gt;" in page and "<i>disk" not in page
    assert [int(number) for number in re.findall(r"<figcaption>Frame (\d+)", page)] == [0, 3, 5, 7]
    memory, motion, time = page.split("<details")[1:]
    assert memory.count("<circle") == 9 and memory.count("data:image/jpeg") == 4
    assert "of the votes instead of" in motion and motion.count("data:image/jpeg") == 2
    assert motion.count("Motion to frame") == 8 and "Color wheel: red is right" in motion
    assert "Frame 0 always stays in memory (long term" in time and "Frames 3, 5 and 7 were the recent ones" in time
    assert 'aria-label="Frames in memory at frame 8: 0, 3, 5, 7"' in time


def test_words_and_scores_have_the_decimal_mark_of_the_visitor(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.languages.visitor_language", lambda: "de")
    page = explained(finished, 8, 52, 50)
    assert re.search(r"ergibt \+\d,\d\d: ", page) and re.search(r"<td>\+\d,\d\d</td>", page)


@pytest.mark.parametrize(("language", "way"), [("de", "1 Pixel nach"), ("en", "1 pixel to"), ("es", "1 píxel a")])
def test_a_motion_of_one_pixel_is_counted_in_the_singular(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch, language: str, way: str
) -> None:
    result = sessions.project_of(finished).result
    assert result is not None
    explanation = FrameExplainer(result.folder, finished["clip"], 8, device="cpu").explain(52, 50)
    memory = [replace(view, motion=(1.0, 0.0), redetected=False) for view in explanation.memory]
    monkeypatch.setattr("webapp.languages.visitor_language", lambda: language)
    assert way in describe(replace(explanation, memory=memory), messages("explanation"))


def test_keys_are_named_in_a_part_that_phones_hide(finished: dict[str, Any]) -> None:
    page = results_view.show_frame(finished, 0.45, [], {"frame": 0})["explained"]
    assert 'Click or tap a place in the frame. <span class="keys-hint">Or use the arrow keys' in page


def test_the_first_frame_and_a_frame_without_a_mask_say_so(finished: dict[str, Any]) -> None:
    page = explained(finished, 0, 36, 48)
    assert "The input mask of frame 0 gives this label." in page and "figcaption" not in page
    result = sessions.project_of(finished).result
    assert result is not None
    (result.masks_dir / "00005.png").unlink()
    assert "The run has no mask of frame 5." in explained(finished, 5, 36, 48)


def test_a_frame_is_prepared_before_a_place_is_chosen(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    results_view.show_frame(finished, 0.45, [], {"frame": 8})
    explanation_view.prepare_explanation(finished)
    monkeypatch.setattr("mamp.tracker.MaskTracker.inspect", lambda *_: pytest.fail("the frame is read once more"))
    assert "decided by the votes of the memory" in explained(finished, 8, 52, 50)


def test_nothing_is_computed_during_a_run_or_for_a_frame_that_was_left(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished["shown_frame"] = 3
    assert explained(finished, 8, 52, 50) == ""
    sessions.request_job(finished, "run")
    monkeypatch.setattr(explanation_view, "FrameExplainer", lambda *_, **__: pytest.fail("computed during a run"))
    assert text("why.running", "en") in explained(finished, 8, 52, 50)
    finished["shown_frame"] = 8
    explanation_view.prepare_explanation(finished)


def test_no_gpu_is_used_where_one_must_be_allocated(finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    monkeypatch.setattr(explanation_view, "ZERO_GPU", True)
    monkeypatch.setattr(
        "mamp.runs.finished.shared_encoder", lambda weights, device: devices.append(device) or load_encoder(weights)
    )
    explanation_view._explainer.cache_clear()
    assert explained(finished, 8, 52, 50) and devices == ["cpu"]


def test_a_frame_that_would_take_too_long_is_refused(finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation_view, "MAX_PIXELS", 5 * 128 * 96)
    assert "figcaption" in explained(finished, 5, 46, 48)
    assert text("why.too_far", "en") in explained(finished, 6, 48, 48)


def test_a_stored_memory_brings_later_frames_within_the_limit(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanation_view, "MAX_PIXELS", 5 * 128 * 96)
    assert text("why.too_far", "en") in explained(finished, 9, 48, 48)
    result = sessions.project_of(finished).result
    assert result is not None
    trackers = open_trackers(result, finished["clip"], device="cpu")
    trackers.memories.save(trackers.tracker_at(6, 1).memory.stored(), 1)
    assert "figcaption" in explained(finished, 9, 48, 48)


def test_raft_on_a_cpu_has_a_limit_of_its_own(finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    result = sessions.project_of(finished).result
    assert result is not None
    settings = {**result.receipt["settings"], "flow": "raft", "device": "cpu"}
    result.write_receipt({**result.receipt, "settings": settings})
    monkeypatch.setattr(explanation_view, "MAX_RAFT_PIXELS", 5 * 128 * 96)
    monkeypatch.setattr(explanation_view, "FrameExplainer", lambda *_, **__: pytest.fail("computed beyond the limit"))
    assert text("why.too_far", "en") in explained(finished, 6, 48, 48)


def test_the_picture_stays_that_of_the_run_and_keeps_its_style(finished: dict[str, Any]) -> None:
    before = results_view.show_frame(finished, 0.45, ["Outline"], {"frame": 0})["explained"]
    sessions.project_of(finished).set_mask(0, np.full((96, 128), 2, np.uint8))  # painted after the run
    after = results_view.show_frame(finished, 0.45, ["Outline"], {"frame": 0})["explained"]
    pictures = [picture(page) for page in (before, after, explained(finished, 0, 36, 48))]
    assert pictures[0] == pictures[1] == pictures[2]


def picture(page: str) -> str:
    found = re.search(r"data:image/jpeg;base64,[^\"]+", page)
    assert found is not None
    return found[0]


def test_explainers_are_dropped_with_the_session(finished: dict[str, Any]) -> None:
    assert "decided by" in explained(finished, 8, 52, 50)
    assert explanation_view._explainer.cache_info().currsize
    sessions.close_session(finished, keep=finished["clip"])
    assert not explanation_view._explainer.cache_info().currsize


@pytest.mark.parametrize("place", [(None, None, None), (-5, 1e9, -1e9)])
def test_places_outside_of_the_frame_are_moved_into_it(finished: dict[str, Any], place: tuple[Any, Any, Any]) -> None:
    assert 'data-frame-shown="0"' in explained(finished, *place)


@pytest.mark.parametrize(("device", "other_device"), [("mouse", "keyboard"), ("touch", "touch")])
def test_a_visitor_asks_why(chromium: Browser, page_url: str, device: str, other_device: str) -> None:
    size = {"width": 390, "height": 844} if device == "touch" else {"width": 1280, "height": 900}
    with chromium.new_context(viewport=size, has_touch=device == "touch") as context:
        page = context.new_page()
        page.goto(page_url)
        take_example(page, "Street")
        expect(page.locator("#result-video video")).to_be_visible(timeout=WAIT)
        expect(page.get_by_label("number input for Frame", exact=True)).to_be_editable()
        page.get_by_label("number input for Frame", exact=True).fill("12")
        page.keyboard.press("Tab")
        page.get_by_role("tab", name="Why this label?").click()
        frame = page.locator(".why-frame[data-frame-shown='12']")
        expect(frame).to_be_visible(timeout=WAIT)
        ask(page, device)
        expect(
            page.get_by_text("Reading the memory of this frame").or_(page.locator(".why-strip")).first
        ).to_be_visible()
        strip = page.locator(".why-part[open] figure")
        expect(strip.first).to_be_visible(timeout=WAIT)
        expect(strip.filter(has_text="Frame 0")).to_be_visible()
        expect(page.locator(".why-words")).to_contain_text("Sec. 3.2")
        for part, content in (("What the motion does", "Without motion"), ("Memory over time", "long term")):
            inside = page.locator(".why-part", has_text=part).get_by_text(content).first
            expect(inside).to_be_hidden()
            page.get_by_text(part).click()
            expect(inside).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the window"
        page.get_by_label("number input for Frame", exact=True).fill("0")
        page.keyboard.press("Tab")
        expect(page.locator(".why-frame[data-frame-shown='0']")).to_be_visible(timeout=WAIT)
        expect(strip).to_have_count(0)
        ask(page, other_device)
        expect(page.locator(".why-words")).to_contain_text("The input mask of frame 0 gives this label.", timeout=WAIT)


def ask(page: Page, device: str) -> None:
    """Chooses a place right of the middle of the frame."""
    frame = page.locator(".why-frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box is not None
    place = (box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4)
    if device == "touch":
        page.touchscreen.tap(*place)
    elif device == "mouse":
        page.mouse.click(*place)
    else:
        frame.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
            page.keyboard.press(key)
