"""A reload of the page finds the work again."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.webapp.painting import WAIT, choose_frame, clip_remover, paint, take_example, wait_for_objects
from webapp import clips, mask_editing
from webapp import session as sessions

FIRST_MASK = gr.EventData(None, {"frame": 0, "object": 0})
RUN_TIMEOUT = 180_000  # [ms]
VISIBLE = "document.dispatchEvent(new Event('visibilitychange'))"
UNNOTICED = """
for (const name of ["focus", "visibilitychange"])
    addEventListener(name, (event) => event.stopImmediatePropagation(), true);
"""
ADDRESS = re.compile(r"#project=\w{32}$")


@pytest.mark.parametrize("saved", [True, False])
def test_a_reload_finds_a_result_whose_masks_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    before = clips.open_example({}, "shapes")
    project, name = sessions.project_of(before["session"]), sessions.name_of(before["session"])
    content = project.file.read_bytes()
    mask_editing.remove_from_mask(before["session"], None, FIRST_MASK)
    if not saved:  # as if the server had stopped between the end of the run and its project file
        project.file.unlink()
    found = clips.resume_session({}, name)
    assert found["results"]["visible"] and found["result_frame"]["value"] == 0 and found["masks"] == ""
    if saved:
        assert project.file.read_bytes() == content and found["python"] == before["python"], "files of the run changed"
    sessions.close_session(found["session"])


def expect_masks(page: Page, *frames: int) -> None:
    rows = page.get_by_label("Input masks").get_by_role("button", name=re.compile("^Frame"))
    expect(rows).to_have_text([f"Frame {frame}" for frame in frames], timeout=30_000)


def test_a_reload_finds_the_clip_the_masks_and_the_result(page: Page, page_url: str) -> None:
    assert page.url == page_url, "an address names a project before there is one"
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    choose_frame(page, 7)
    expect(page.get_by_label("Frame 7 to paint on")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Object 4").click()
    paint(page, (0.1, 0.1), (0.3, 0.1))
    expect_masks(page, 0, 7)
    expect(page).to_have_url(ADDRESS)
    for _ in range(2):
        page.reload()
        expect(page.get_by_text("Your clip and your masks are here again")).to_be_visible(timeout=30_000)
        expect(page).to_have_url(ADDRESS)
        expect(page.get_by_label("Frame 7 to paint on")).to_be_visible(timeout=30_000)
        wait_for_objects(page, 4)
        expect_masks(page, 0, 7)
        expect(page.locator("#clip video[src*='shapes.mp4']")).to_be_visible()
        expect(page.locator("video[src*='overlay']")).to_be_visible()
    page.get_by_role("button", name="Clear frame").click()
    expect_masks(page, 0)
    opens_a_pasted_address(page)


def opens_a_pasted_address(page: Page) -> None:
    """Another page takes the address of a project, and tells while it waits for the server."""
    other, address = page.context.new_page(), page.url
    other.goto(address.partition("#")[0])
    expect(other.get_by_text("Choose a clip to begin")).to_be_visible(timeout=30_000)
    held: list[Route] = []
    is_slow = True
    other.route("**/queue/join*", lambda request: held.append(request) if is_slow else request.continue_())
    other.evaluate("(address) => { location.href = address; }", address)
    expect(other.get_by_text("Bringing your clip and your masks back")).to_be_visible(timeout=30_000)
    is_slow = False
    for request in held:
        request.continue_()
    expect(other.get_by_text("Your clip and your masks are here again")).to_be_visible(timeout=30_000)


def test_a_run_goes_on_while_its_page_is_reloaded(page: Page) -> None:
    stop = page.get_by_role("button", name="Stop", exact=True)
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    paint(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
    page.reload()
    expect(page.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
    expect(page.locator("#preview img")).to_be_visible()
    expect(stop).to_be_enabled()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
    page.reload()
    expect(page.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
    stop.click()
    for tab in (page, other):
        expect(tab.get_by_text("Stopped; finished frames are kept")).to_be_visible(timeout=RUN_TIMEOUT)
        expect(tab.locator("video[src*='overlay']")).to_be_visible()
        expect(tab.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    page.reload()
    expect(page.locator("video[src*='overlay']")).to_be_visible(timeout=30_000)


def test_two_pages_of_one_project_both_paint(page: Page) -> None:
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    expect(page).to_have_url(ADDRESS)
    other = page.context.new_page()
    other.goto(page.url)
    wait_for_objects(other, 3)
    for tab, frame in ((page, 3), (other, 5)):
        choose_frame(tab, frame)
        expect(tab.get_by_label(f"Frame {frame} to paint on")).to_be_visible(timeout=30_000)
        paint(tab, (0.1, 0.1), (0.3, 0.1))
    expect_masks(other, 0, 3, 5)
    other.close()
    paint(page, (0.1, 0.9), (0.3, 0.9))
    expect_masks(page, 0, 3, 5)


@pytest.mark.parametrize("event", ["window.dispatchEvent(new Event('focus'))", VISIBLE])
def test_a_page_says_that_another_one_closed_its_clip_when_its_visitor_comes_back(page: Page, event: str) -> None:
    other = example_on_two_pages(page)
    run, closed = other.get_by_role("button", name="Run", exact=True), other.get_by_text("another page closed its clip")
    expect(run).to_be_enabled()
    other.evaluate(event)
    expect(closed).to_have_count(0)
    clip_remover(page).click()
    expect(page.get_by_text("Choose a clip to begin.")).to_be_visible(timeout=30_000)
    other.evaluate(event)
    expect(closed).to_be_visible(timeout=30_000)
    expect_no_clip(other)


def expect_no_clip(page: Page) -> None:
    """Expects a page that shows nothing of its former clip."""
    for name in ("Run", "Stop"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    expect(page.locator("#editor [data-state=empty]")).to_be_visible()
    expect(page.locator("#clip video")).to_have_count(0)
    expect(page.get_by_label("Remove object").locator("visible=true")).to_have_count(0)
    expect(page.locator(".toast-body")).to_have_count(0)
    expect(page).not_to_have_url(ADDRESS)


def test_a_stroke_on_a_clip_that_another_page_closed_is_refused_and_what_was_painted_comes_back(page: Page) -> None:
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    choose_frame(page, 3)
    expect(page.get_by_label("Frame 3 to paint on")).to_be_visible(timeout=30_000)
    paint(page, (0.1, 0.1), (0.3, 0.1))
    expect_masks(page, 0, 3)
    other = page.context.new_page()
    other.add_init_script(UNNOTICED)
    other.goto(page.url)
    expect_masks(other, 0, 3)
    clip_remover(page).click()
    expect(page.get_by_text("Choose a clip to begin.")).to_be_visible(timeout=30_000)
    paint(other, (0.5, 0.1), (0.7, 0.1))
    expect(other.get_by_text("Another page closed this clip")).to_be_visible(timeout=30_000)
    expect_no_clip(other)
    for tab in (other, page):
        tab.get_by_role("button", name="Bring them back").click()
        expect_masks(tab, 0, 3)
    expect(page).to_have_url(other.url)


def test_a_frame_number_that_is_typed_while_the_page_learns_of_its_closed_clip_is_no_error(page: Page) -> None:
    other = example_on_two_pages(page)
    held: list[Route] = []
    other.route("**/gradio_api/run/predict*", lambda event: held.append(event))
    clip_remover(page).click()
    expect(page.get_by_text("Choose a clip to begin.")).to_be_visible(timeout=30_000)
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    check, answer = answer_that_the_clip_is_gone(other, held)
    with other.expect_response("**/gradio_api/queue/join*", timeout=30_000):
        choose_frame(other, 5)
    other.wait_for_timeout(1000)
    check.fulfill(response=answer)
    expect(other.get_by_text("another page closed its clip")).to_be_visible(timeout=30_000)
    expect_no_clip(other)


def example_on_two_pages(page: Page) -> Page:
    """Opens an example, and its address in a second page, which is returned."""
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    other = page.context.new_page()
    other.goto(page.url)
    wait_for_objects(other, 2)
    return other


def answer_that_the_clip_is_gone(page: Page, held: list[Route]) -> tuple[Route, APIResponse]:
    """Delivers the server's answers up to the one that tells a page of its closed clip, and returns that one."""
    for _ in range(WAIT // 50):
        page.wait_for_timeout(50)
        while held:
            event = held.pop(0)
            answer = event.fetch()
            if "another page closed its clip" in answer.text():
                return event, answer
            event.fulfill(response=answer)
    raise AssertionError("the server did not tell of the closed clip")


def test_a_page_says_that_another_one_closed_its_clip_during_a_run(page: Page) -> None:
    other = example_on_two_pages(page)
    paint(other)
    run = other.get_by_role("button", name="Run", exact=True)
    run.click()
    expect(other.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
    clip_remover(page).click()
    expect(other.locator(".status").get_by_text("Another page closed this clip")).to_be_visible(timeout=30_000)
    expect_no_clip(other)
    expect(other.locator("#preview img")).to_be_hidden()
    take_example(other, "Shapes")
    wait_for_objects(other, 3)
    expect(run).to_be_enabled()


def test_the_address_of_no_project_opens_the_empty_page(page: Page, page_url: str) -> None:
    for name in ("0" * 32, "..", "%2Fetc", "x"):
        page.goto("about:blank")
        page.goto(f"{page_url}#project={name}")
        gone = "The clip of this address is no longer here" if name.isalnum() else "Choose a clip to begin"
        expect(page.get_by_text(gone)).to_be_visible(timeout=30_000)
        if name.isalnum():
            expect(page).to_have_url(page_url)
        expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    take_example(page, "Shapes")
    expect(page).to_have_url(ADDRESS)
