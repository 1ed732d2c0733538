"""The page in a real Chromium."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from mamp import OBJECT_COLOURS, write_mask
from tests.conftest import scene, write_clip

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or "/usr/bin/chromium"
PATIENCE = 90_000  # [ms] for what computes


@pytest.fixture
def page(page_url: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        tab = browser.new_page(viewport={"width": 1280, "height": 1500})
        tab.goto(page_url)
        yield tab
        browser.close()


def take_example(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_text("Objects are painted already")).to_be_visible(timeout=30_000)


def paint(page: Page) -> None:
    """One stroke across the middle of the frame."""
    canvas = page.locator("canvas").first
    expect(canvas).to_be_visible(timeout=30_000)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.45, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, y, steps=8)
    page.mouse.up()


def objects_in_editor(page: Page) -> int:
    """How many of the brush's colours are on the editor's layers."""
    found: int = page.evaluate(
        """async (colours) => {
            const found = new Set();
            for (const layer of (await window.editor.get_blobs()).layers) {
                const image = await createImageBitmap(layer);
                const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
                context.drawImage(image, 0, 0);
                const pixels = context.getImageData(0, 0, image.width, image.height).data;
                for (let i = 0; i < pixels.length; i += 4)
                    if (pixels[i + 3] === 255) found.add(colours.indexOf(pixels.slice(i, i + 3).join()));
            }
            found.delete(-1);
            return found.size;
        }""",
        [",".join(map(str, colour)) for colour in OBJECT_COLOURS.tolist()],
    )
    return found


def wait_for_objects(page: Page, count: int) -> None:
    deadline = time.monotonic() + 30
    while objects_in_editor(page) != count:
        assert time.monotonic() < deadline, f"{objects_in_editor(page)} objects are painted, not {count}"
        page.wait_for_timeout(200)


def test_example_is_painted_run_and_played(page: Page, tmp_path: Path) -> None:
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    paint(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Done: 60 of 60 frames")).to_be_visible(timeout=PATIENCE)
    video = page.locator("video[src*='overlay']")
    expect(video).to_be_visible()
    played = video.evaluate(
        """async (video) => {
            video.muted = true;
            await video.play();
            await new Promise((done) => { video.ontimeupdate = () => video.currentTime > 0.2 && done(); });
            return [video.duration, video.videoWidth, video.error];
        }"""
    )
    assert played == [pytest.approx(2.4, abs=0.05), 416, None]
    with page.expect_download() as download:
        page.get_by_role("link", name="masks.zip").or_(page.locator("a[href*='masks.zip']")).first.click()
    download.value.save_as(tmp_path / "masks.zip")
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        assert len(archive.namelist()) == 60
        with archive.open("masks/00000.png") as file, Image.open(file) as first:
            mask = np.asarray(first)
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    assert (mask[115:125, 195:220] == 1).any()  # the stroke, away from what the example paints


def test_stop_keeps_what_is_done(page: Page) -> None:
    take_example(page, "Cup")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Frame 1 of 75").or_(page.get_by_text("left")).first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped; what was done is kept")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("video[src*='overlay']")).to_be_visible()


def choose_frame(page: Page, index: int) -> None:
    page.get_by_label("number input for Frame to paint on").fill(str(index))
    page.keyboard.press("Tab")


def test_uploaded_clip_is_painted_on_two_frames_and_corrected(page: Page, tmp_path: Path) -> None:
    truth = np.where(scene(9, 192, 256)[1], 1, 0).astype(np.uint8)
    write_clip(tmp_path / "mine.mp4", [scene(t, 192, 256)[0] for t in range(12)])
    write_mask(tmp_path / "late.png", truth)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "mine.mp4")
    expect(page.get_by_text("12 frames, 256x192")).to_be_visible(timeout=30_000)
    page.wait_for_timeout(1000)
    paint(page)

    choose_frame(page, 9)
    given = page.get_by_label("Masks given")
    expect(given).to_contain_text("Frame 0", timeout=30_000)
    wait_for_objects(page, 0)
    page.get_by_text("Without drawing").click()
    page.locator("#mask-file input[type=file]").set_input_files(tmp_path / "late.png")
    expect(page.get_by_text("Mask taken for frame 9: 1 object")).to_be_visible(timeout=30_000)
    wait_for_objects(page, 1)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Done: 12 of 12 frames")).to_be_visible(timeout=PATIENCE)

    page.get_by_label("number input for Frame", exact=True).fill("5")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Correct this frame").click()
    expect(page.get_by_label("number input for Frame to paint on")).to_have_value("5", timeout=30_000)
    wait_for_objects(page, 1)
    choose_frame(page, 0)
    wait_for_objects(page, 1)
    expect(given.get_by_role("listitem")).to_have_count(2)
