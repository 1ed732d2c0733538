"""A clip that the browser cannot play."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.conftest import browser, scene, write_clip


def test_a_clip_that_the_browser_cannot_play_shows_its_first_frame_unless_it_is_refused(
    page_url: str, tmp_path: Path
) -> None:
    write_clip(tmp_path / "old.avi", [scene(t, 192, 256)[0] for t in range(4)], codec="mpeg4")
    (tmp_path / "broken.avi").write_bytes(b"no video")
    with browser() as chromium:
        for name, status, notes in (
            ("old.avi", "4 frames, 256x192", 1),
            ("broken.avi", "broken.avi cannot be read", 0),
        ):
            page = chromium.new_page()
            page.goto(page_url)
            page.locator("#clip input[type=file]").set_input_files(tmp_path / name)
            expect(page.get_by_text(status)).to_be_visible(timeout=30_000)
            expect(page.locator("#clip video[poster*='frame-000000.jpg']")).to_have_count(notes)
            expect(page.locator("#clip[data-note*='cannot play this clip']")).to_have_count(notes)
            expect(page.get_by_text("Video not playable")).to_have_count(0)
