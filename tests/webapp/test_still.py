"""Every kind of clip that the page lists can be chosen and dropped; one that the browser cannot play shows a frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import browser, scene, write_clip
from tests.webapp.painting import clip_remover, paint

WAIT = 180_000  # [ms]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A clip of each kind that browsers do not play, one that they do, and a file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [scene(t, 192, 256)[0] for t in range(4)]
    write_clip(folder / "old.avi", frames, codec="mpeg4")
    write_clip(folder / "new.mp4", frames)
    write_clip(folder / "short.mp4", frames[:3])
    write_clip(folder / "camera.mxf", frames, codec="mpeg2video")
    pictures = [Image.fromarray(frame) for frame in frames]
    for kind in ("gif", "webp", "tif"):
        pictures[0].save(folder / f"pictures.{kind}", save_all=True, append_images=pictures[1:], duration=40)
    (folder / "broken.avi").write_bytes(b"no video")
    (folder / "text.txt").write_text("no video")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=WAIT)
    yield
    expect.set_options(timeout=5000)


def drop(page: Page, path: Path, *, target: str = "#clip button") -> None:
    """Drops a file on the box of the clip or elsewhere, as a hand does: it follows a page that moves."""
    place = page.locator(target).first
    place.click(trial=True)  # waits until the page has stopped to move
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        box = place.bounding_box()
        assert box is not None
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "data": data}
        session.send("Input.dispatchDragEvent", {"type": kind, **at})


def remove_clip(page: Page) -> None:
    clip_remover(page).click()
    expect(page.locator("#editor [data-state=empty]")).to_be_visible()


def test_every_kind_of_clip_is_taken_and_one_that_cannot_be_played_shows_its_first_frame(
    page_url: str, clips: dict[str, Path]
) -> None:
    still = "#clip video[poster*='frame-000000.jpg']"
    note = "#clip[data-note*='cannot play this clip']"
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        page.goto(page_url)
        for index, name in enumerate(
            ("pictures.gif", "pictures.webp", "pictures.tif", "camera.mxf", "old.avi", "new.mp4")
        ):
            expect(page.locator("#clip input[type=file]")).to_have_count(1)
            if index % 2:
                drop(page, clips[name])
            else:
                with page.expect_file_chooser() as chooser:
                    page.locator("#clip button").first.click()
                kinds = page.locator("#clip input[type=file]").get_attribute("accept") or ""
                assert f".{name.split('.')[1]}" in kinds.split(",")
                chooser.value.set_files(clips[name])
            expect(page.get_by_text("4 frames, 256x192")).to_be_visible()
            for shown in (still, note):
                expect(page.locator(shown)).to_have_count(0 if name == "new.mp4" else 1)
            remove_clip(page)
        for name in ("broken.avi", "text.txt"):
            drop(page, clips[name])
            expect(
                page.get_by_text(f"{name} cannot be read: it is no video, or it is damaged or incomplete.")
            ).to_be_visible()
            expect(page.locator("#clip video")).to_have_count(0)
            expect(page.locator("#clip input[type=file]")).to_have_count(1)
        expect(page.get_by_text("Video not playable")).to_have_count(0)


def test_a_clip_dropped_beside_the_box_is_taken_and_one_dropped_elsewhere_does_not_leave_the_page(
    page_url: str, clips: dict[str, Path]
) -> None:
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        page.goto(page_url)
        expect(page.locator("#clip input[type=file]")).to_have_count(1)
        drop(page, clips["new.mp4"], target="h1")
        drop(page, clips["old.avi"], target="#clip .source-selection")
        expect(page.get_by_text("4 frames, 256x192")).to_be_visible()
        expect(page).to_have_url(re.compile(re.escape(page_url)))
        paint(page)
        expect(page.get_by_label("Input masks")).to_contain_text("Frame 0")
        bring_back = page.get_by_role("button", name="Back to the clip before")
        drop(page, clips["short.mp4"], target="#clip video")  # it takes the place of the clip that is shown
        expect(page.get_by_text("3 frames, 256x192")).to_be_visible()
        expect(page.locator("#clip video[src*='short.mp4']")).to_have_count(1)
        bring_back.click()
        expect(page.get_by_label("Input masks")).to_contain_text("Frame 0")
        drop(page, clips["text.txt"], target="#clip video")
        expect(page.get_by_text("text.txt cannot be read")).to_be_visible()
        bring_back.click()
        expect(page.get_by_label("Input masks")).to_contain_text("Frame 0")
