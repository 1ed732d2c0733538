"""Screenshots of every step of the page, desktop and phone, light and dark: ``scripts/screenshots [FOLDER]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import ROOT, browser, serve
from tests.webapp.painting import wait_for_scrolling

SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


def main(folder: Path) -> None:
    """Takes screenshots from the start page to a finished run, four times."""
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=30_000)
    with tempfile.TemporaryDirectory() as files, serve(Path(files)) as url, browser() as chromium:
        for screen, (width, height) in SCREENS.items():
            for theme in ("light", "dark"):
                page = chromium.new_context(viewport={"width": width, "height": height}).new_page()
                page.goto(f"{url}?__theme={theme}")
                expect(page.get_by_role("button", name="Street", exact=True)).to_be_visible()
                walk(page, folder / f"{screen}-{theme}")


def walk(page: Page, name: Path) -> None:
    """Takes the screenshots of one session; their names are ``name`` and the step."""

    def take(step: str) -> None:
        page.wait_for_timeout(1500)
        page.screenshot(path=f"{name}-{step}.jpg", full_page=True, type="jpeg", quality=80)

    take("1-start")
    page.locator("input[type=file]").first.set_input_files(ROOT / "examples/street.mp4")
    expect(page.get_by_text("38 frames")).to_be_visible()
    wait_for_scrolling(page)
    page.get_by_role("button", name="Use a mask file").click()
    page.locator("#mask-file input[type=file]").set_input_files(ROOT / "examples/street.png")
    expect(page.get_by_text("Mask loaded for frame 0")).to_be_visible()
    take("2-painted")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("frames/s ·").first).to_be_visible(timeout=120_000)
    take("3-running")
    expect(page.get_by_text("Done: 38 of 38")).to_be_visible(timeout=240_000)
    take("4-result")
    page.get_by_role("tab", name="Why this label?").click()
    page.get_by_label("number input for Frame", exact=True).fill("12")
    page.keyboard.press("Tab")
    page.locator(".why-frame[data-frame-shown='12']").click(timeout=60_000)
    expect(page.locator(".why-strip").first).to_be_visible(timeout=120_000)
    take("5-why")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/screenshots")
