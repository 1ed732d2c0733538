"""The page brings its visitor along: what is needed next is in view, without scrolling."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import scene, write_clip

RUN_TIMEOUT = 180_000  # [ms]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [scene(t % 30, 192, 256)[0] for t in range(40)]
    return write_clip(tmp_path_factory.mktemp("flow") / "mine.mp4", frames, sound="aac")


def in_view(page: Page, *parts: Locator) -> None:
    """Waits until the page has scrolled, and all parts are wholly in the window."""
    page.wait_for_function("!document.body.dataset.scrolling", timeout=30_000)
    for part in parts:
        expect(part).to_be_in_viewport(ratio=0.99, timeout=30_000)


def press(page: Page, target: Locator) -> None:
    """A click where the target is: unlike ``Locator.click``, this does not scroll."""
    box = target.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_what_is_needed_next_is_in_view(chromium: Browser, page_url: str, clip: Path, size: tuple[int, int]) -> None:
    viewport = {"width": size[0], "height": size[1]}
    with chromium.new_context(viewport=viewport, reduced_motion="no-preference", is_mobile=size[0] < 400) as context:
        page = context.new_page()
        page.goto(page_url)
        page.locator("input[type=file]").first.set_input_files(clip)
        expect(page.locator("#editor [data-state=ready]")).to_be_visible(timeout=60_000)
        start, view = page.get_by_role("button", name="Run", exact=True), page.locator("#editor .editor-view")
        in_view(page, view, start, page.locator("#run-bar").get_by_role("status"))
        box = view.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5, steps=4)
        page.mouse.up()
        press(page, start)
        preview, stop = page.locator("#preview"), page.get_by_role("button", name="Stop", exact=True)
        expect(preview).to_be_visible(timeout=RUN_TIMEOUT)
        in_view(page, preview, stop)
        expect(page.get_by_text("Done: 40 of 40 frames")).to_be_visible(timeout=RUN_TIMEOUT)
        video = page.locator("#result-video video")
        expect(video).to_be_in_viewport(ratio=0.9, timeout=30_000)
        page.wait_for_function(
            """() => {
                const video = document.querySelector('#result-video video');
                return video.currentTime > 0 && !video.paused && video.muted && video.loop;
            }""",
            timeout=30_000,
        )
        page.get_by_role("button", name="Correct this frame").click()
        expect(view).to_be_in_viewport(ratio=0.99, timeout=30_000)


def test_a_visitor_who_types_stays_where_they_are(chromium: Browser, page_url: str, clip: Path) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(page_url)
        page.locator("input[type=file]").first.set_input_files(clip)
        expect(page.locator("#editor [data-state=ready]")).to_be_visible(timeout=60_000)
        page.locator("#editor .editor-view").click()
        start = page.get_by_role("button", name="Run", exact=True)
        start.click()
        name = page.get_by_label("Name of object 1")
        expect(page.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
        name.click()
        page.keyboard.type("disk")
        before = page.evaluate("scrollY")
        expect(page.get_by_text("Done: 40 of 40 frames")).to_be_visible(timeout=RUN_TIMEOUT)
        page.wait_for_function("document.querySelector('#result-video video')?.readyState > 0", timeout=30_000)
        page.wait_for_timeout(500)
        assert page.evaluate("scrollY") == before
        expect(name).to_be_focused()
        expect(name).to_have_value("disk")
        assert page.locator("#result-video video").evaluate("(video) => video.muted && video.paused"), "reduced motion"
