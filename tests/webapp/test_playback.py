"""The result's video, its frame slider and the chart show the same frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect

from tests.conftest import Image, browser, scene, write_clip
from tests.webapp.painting import paint, take_example, view_of

RUN_TIMEOUT = 180_000  # [ms]
FRAMES = 40
BITS = 6  # of the frame number, as bright and dark squares in the upper row of each frame
SIDE = 16  # of a square [pixels]

READ_NUMBER = """([bits, side]) => {
    const video = document.querySelector("#result-video video"), canvas = document.createElement("canvas");
    canvas.width = video.videoWidth, canvas.height = video.videoHeight;
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(video, 0, 0);
    let number = 0;
    for (let bit = 0; bit < bits; bit++)
        number += (context.getImageData(side * bit + side / 2, side / 2, 1, 1).data[1] > 128) << bit;
    return number;
}"""


def numbered_frame(t: int) -> Image:
    """The scene with the number of the frame in it."""
    frame = scene(t)[0]
    for bit in range(BITS):
        frame[:SIDE, SIDE * bit : SIDE * (bit + 1)] = 235 if t >> bit & 1 else 20
    return frame


@pytest.fixture(params=["23.976", "varying"])
def result(request: pytest.FixtureRequest, page_url: str, tmp_path: Path) -> Iterator[Page]:
    """The page with the result of a clip of an odd frame rate."""
    gaps = [1001 / 24] * FRAMES if request.param == "23.976" else [17 + 90 * (t % 3 == 1) for t in range(FRAMES)]
    times = [math.floor(time) for time in np.cumsum([0, *gaps[1:]])]
    clip = write_clip(tmp_path / "odd.mp4", [numbered_frame(t) for t in range(FRAMES)], times=times)
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 1500})
        page.goto(page_url)
        page.locator("input[type=file]").first.set_input_files(clip)
        expect(page.get_by_text(f"{FRAMES} frames, 128x96")).to_be_visible(timeout=30_000)
        view_of(page)
        paint(page, (0.25, 0.5), (0.35, 0.5))
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_text(f"Done: {FRAMES} of {FRAMES} frames")).to_be_visible(timeout=RUN_TIMEOUT)
        page.wait_for_function("document.querySelector('#result-video video')?.readyState >= 2")
        page.get_by_role("tab", name="Why this label?").click()  # it shows which frame the server was asked for
        expect(page.locator(".why-frame")).to_be_visible()
        yield page


def wait_for_frame(page: Page, number: int) -> None:
    """Waits until the video, the slider, the chart and the answer of the server show a frame."""
    page.wait_for_function(f"({READ_NUMBER})([{BITS}, {SIDE}]) === {number}", timeout=30_000)
    expect(page.locator("#result-frame input[type=number]")).to_have_value(str(number))
    expect(page.locator("#result-frame input[type=range]")).to_have_value(str(number))
    expect(page.locator(".plot-now")).to_have_text(f"frame {number}")
    expect(page.locator(f".why-frame[data-frame-shown='{number}']")).to_have_count(1, timeout=30_000)


def test_slider_chart_and_video_move_together_to_the_frame(result: Page) -> None:
    number = result.locator("#result-frame input[type=number]")
    for frame in (1, 7, 22, FRAMES - 1):
        number.fill(str(frame))
        number.press("Tab")
        wait_for_frame(result, frame)
    slider = result.locator("#result-frame input[type=range]")
    slider.focus()
    for _ in range(3):
        result.keyboard.press("ArrowLeft")
    wait_for_frame(result, FRAMES - 4)
    plot = result.locator(".plot").last
    box = plot.locator("svg").bounding_box()
    assert box is not None
    result.mouse.click(box["x"] + box["width"] * 10 / (FRAMES - 1), box["y"] + 50)
    wait_for_frame(result, 10)


def test_playing_moves_slider_and_chart_and_asks_only_when_it_ends(result: Page) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        if "queue/join" in request.url:
            asked.append(request.url)

    expect(result.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    view_of(result)
    result.on("request", note)
    video = result.locator("#result-video video")
    video.evaluate(
        "async (video) => { video.muted = true; video.loop = false; video.playbackRate = 0.2; await video.play(); }"
    )
    result.wait_for_function(
        "Number(document.querySelector('#result-frame input[type=number]').value) >= 8", timeout=30_000
    )
    moving = video.evaluate("(video) => !video.paused")
    assert moving and not asked, "the server is asked while the video plays"
    video.evaluate("(video) => video.pause()")
    result.wait_for_function("document.querySelector('#result-video video').paused")
    expect(result.locator(".why-frame:not([data-frame-shown='0'])")).to_have_count(1, timeout=30_000)
    shown = int(result.locator(".plot-now").inner_text().split()[1])
    wait_for_frame(result, shown)
    assert len(asked) == 1
    video.evaluate("(video) => { video.currentTime = video.duration - 0.001; }")
    wait_for_frame(result, FRAMES - 1)


def test_the_chart_is_readable_on_a_phone(page_url: str) -> None:
    with browser() as chromium:
        page = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True).new_page()
        page.goto(page_url)
        take_example(page, "Street")
        page.wait_for_function("document.querySelector('#result-video video')?.readyState >= 2", timeout=60_000)
        page.wait_for_function("!document.body.dataset.scrolling")
        plot = page.locator(".plot").first
        plot.scroll_into_view_if_needed()
        sizes = page.locator(".chart span, .plot-title").evaluate_all(
            "(all) => all.map((each) => parseFloat(getComputedStyle(each).fontSize))"
        )
        assert min(sizes) >= 12
        for text in page.locator(".chart span, .plot-title").all():
            box = text.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390)
        box = plot.locator("svg").bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + box["width"] * 19 / 37, box["y"] + 40)
        expect(page.locator("#result-frame input[type=number]")).to_have_value("19", timeout=30_000)
