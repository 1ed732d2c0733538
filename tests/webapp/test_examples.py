"""The first screen: what the page does, and the examples."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.webapp.painting import take_example
from webapp import clips
from webapp.examples import EXAMPLE_NAMES, EXAMPLES, gallery_html, intro_html


def test_every_example_has_its_files_and_a_small_thumbnail() -> None:
    assert set(EXAMPLE_NAMES) == {clip.stem for clip in EXAMPLES.glob("*.mp4")}
    thumbnails = re.findall(r'src="data:image/webp;base64,([^"]+)"', gallery_html())
    assert len(thumbnails) == len(EXAMPLE_NAMES) and max(map(len, thumbnails)) < 20_000


def test_the_first_screen_is_small_and_names_paper_code_and_license(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(intro_html()) < 100_000
    assert "arxiv.org/abs/2107.12569" in intro_html() and "intro.license" in intro_html()
    monkeypatch.setenv("SPACE_ID", 'someone/mamp"><b>')
    assert "huggingface.co/spaces/someone/mamp&quot;&gt;&lt;b&gt;/tree/main" in intro_html()


def test_only_examples_are_opened() -> None:
    class Event:
        name = "../examples/cup"

    assert clips.choose_example({}, "", Event()) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_a_thumbnail_opens_its_example_by_keyboard(chromium: Browser, page_url: str, motion: Any) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion=motion) as context:
        page = context.new_page()
        page.goto(page_url)
        shown = page.get_by_role("img", name=re.compile("A clip of a cup"))
        expect(shown).to_be_in_viewport(timeout=60_000)
        kind = shown.evaluate("(image) => image.decode().then(() => image.currentSrc.slice(0, 15))")
        assert kind == ("data:image/jpeg" if motion == "reduce" else "data:image/webp")
        example = page.get_by_role("button", name="Shapes", exact=True)
        expect(example).to_be_in_viewport(ratio=1)
        expect(example).to_have_accessible_description("Shapes that hide each other")
        example.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("objects are already painted")).to_be_visible(timeout=30_000)
        expect(page.locator("#editor [data-state=ready] .editor-view")).to_be_in_viewport(ratio=0.99, timeout=30_000)
        expect(shown).to_be_hidden()  # an animation would slow a run down


def test_the_code_of_an_example_has_its_clip_and_this_server(page: Page, page_url: str) -> None:
    take_example(page, "Shapes")
    expect(page.locator("#files a[href*='shapes.mp4']").first).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="This run as code").click()
    client = page.locator(".code textarea").last
    expect(client).to_have_value(re.compile(re.escape(f"Client('{page_url}')")), timeout=30_000)
