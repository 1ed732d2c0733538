"""The result's video, its frame slider and the chart show the same frame."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from tests.conftest import Image, scene, write_clip
from tests.webapp.painting import paint, take_example, view_of

RUN_TIMEOUT = 180_000  # [ms]
FRAMES = 40
BITS = 6  # of the frame number, as bright and dark squares in the upper row of each frame
SIDE = 16  # of a square [pixels]
OVERLAY = re.compile(r"overlay.*\.mp4$")  # the address of a result's video

READ_NUMBER = """([query, bits, side]) => {
    const picture = document.querySelector(query), canvas = document.createElement("canvas");
    canvas.width = picture.videoWidth ?? picture.naturalWidth, canvas.height = picture.videoHeight ?? picture.naturalHeight;
    if (!canvas.width) return -1;
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(picture, 0, 0);
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


@pytest.fixture(scope="module", params=["23.976", "varying"])
def result(
    request: pytest.FixtureRequest, desktop: BrowserContext, page_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """The page with the result of a clip of an odd frame rate."""
    gaps = [1001 / 24] * FRAMES if request.param == "23.976" else [17 + 90 * (t % 3 == 1) for t in range(FRAMES)]
    times = [math.floor(time) for time in np.cumsum([0, *gaps[1:]])]
    folder = tmp_path_factory.mktemp("playback")
    clip = write_clip(folder / "odd.mp4", [numbered_frame(t) for t in range(FRAMES)], times=times)
    page = desktop.new_page()
    page.set_default_timeout(RUN_TIMEOUT)
    page.goto(page_url)
    page.locator("input[type=file]").first.set_input_files(clip)
    expect(page.get_by_text(f"{FRAMES} frames, 128x96")).to_be_visible(timeout=RUN_TIMEOUT)
    view_of(page)
    paint(page, (0.25, 0.5), (0.35, 0.5))
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text(f"Done: {FRAMES} of {FRAMES} frames")).to_be_visible(timeout=RUN_TIMEOUT)
    page.wait_for_function("document.querySelector('#result-video video')?.readyState >= 2")
    page.get_by_role("tab", name="Why this label?").click()  # it shows which frame the server was asked for
    expect(page.locator(".why-frame")).to_be_visible()
    yield page
    page.close()


def wait_for_frame(page: Page, number: int) -> None:
    """Waits until the video, the slider, the chart and the answers of the server show a frame."""
    for picture in ("#result-video video", "#comparison img"):
        page.wait_for_function(f"({READ_NUMBER})(['{picture}', {BITS}, {SIDE}]) === {number}", timeout=RUN_TIMEOUT)
    expect(page.locator("#result-frame input[type=number]")).to_have_value(str(number))
    expect(page.locator("#result-frame input[type=range]")).to_have_value(str(number))
    expect(page.locator(".plot-now")).to_have_text(f"frame {number}")
    expect(page.locator(f".why-frame[data-frame-shown='{number}']")).to_have_count(1, timeout=RUN_TIMEOUT)


def choose(page: Page, frame: int) -> None:
    """Types a frame's number."""
    number = page.locator("#result-frame input[type=number]")
    number.fill(str(frame))
    number.press("Tab")
    wait_for_frame(page, frame)


def test_slider_chart_and_video_move_together_to_the_frame(result: Page) -> None:
    for frame in (1, 7, 22, FRAMES - 1):
        choose(result, frame)
    result.locator("#result-frame input[type=number]").fill("")  # no frame: it stays
    result.keyboard.press("Tab")
    result.wait_for_timeout(500)
    wait_for_frame(result, FRAMES - 1)
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


WATCH_COMPARISON = """() => {
    window.compared = [];
    const watch = () => {
        const source = document.querySelector("#comparison img")?.src;
        if (source && source !== window.compared.at(-1)) window.compared.push(source);
        requestAnimationFrame(watch);
    };
    watch();
}"""


def test_playing_moves_slider_chart_and_comparison_with_one_request_at_a_time(result: Page) -> None:
    asked: list[int] = []  # how many comparisons were shown before each request

    def note(request: Request) -> None:
        if "queue/join" in request.url:
            asked.append(result.evaluate("window.compared.length"))

    choose(result, 0)
    expect(result.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    view_of(result)
    video = result.locator("#result-video video")
    result.locator("#comparison").scroll_into_view_if_needed()
    result.evaluate(WATCH_COMPARISON)
    result.on("request", note)
    video.evaluate(
        "async (video) => { video.muted = true; video.loop = true; video.playbackRate = 0.1; await video.play(); }"
    )
    result.wait_for_function("window.compared.length >= 4", timeout=RUN_TIMEOUT)
    assert video.evaluate("(video) => !video.paused"), "the comparison follows only when the video pauses"
    assert int(result.locator("#result-frame input[type=number]").input_value()) >= 2
    video.evaluate("(video) => video.pause()")
    result.wait_for_function("document.querySelector('#result-video video').paused")
    expect(result.locator(".why-frame:not([data-frame-shown='0'])")).to_have_count(1, timeout=RUN_TIMEOUT)
    shown = int(result.locator(".plot-now").inner_text().split()[1])
    wait_for_frame(result, shown)
    assert all(shown > index - 1 for index, shown in enumerate(asked)), "a request did not wait for the answer before"
    video.evaluate("(video) => { video.currentTime = video.duration - 0.001; }")
    wait_for_frame(result, FRAMES - 1)


LATE_CHART = """(chart) => {
    const {parentElement} = chart;
    chart.remove();
    delete chart.dataset.frame;
    window.showChart = () => parentElement.append(chart);
}"""


def test_a_frame_that_is_typed_before_video_and_chart_are_there_stays(page: Page) -> None:
    held: list[Route] = []
    page.route(OVERLAY, lambda route: held.append(route))
    with page.expect_request(OVERLAY, timeout=RUN_TIMEOUT):
        take_example(page, "Cup")
    page.locator(".chart").evaluate(LATE_CHART)
    page.locator("#result-frame input[type=number]").fill("30")
    page.keyboard.press("Tab")
    video = page.locator("#result-video video")
    assert video.evaluate("(video) => !video.readyState"), "the video is not held"
    for route in held:
        route.continue_()
    page.unroute(OVERLAY)
    page.wait_for_function("document.querySelector('#result-video video').readyState >= 2")
    page.evaluate("showChart()")
    page.wait_for_timeout(1000)
    assert video.evaluate("(video) => video.paused && video.currentTime > 0")
    expect(page.locator(".plot-now")).to_have_text("frame 30")
    page.get_by_role("button", name="Correct this frame").click()
    expect(page.get_by_label("Frame 30 to paint on")).to_be_visible(timeout=RUN_TIMEOUT)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_the_frame_that_is_shown_is_corrected_and_explained_also_while_the_video_plays(page: Page, by: str) -> None:
    take_example(page, "Cup")
    video = page.locator("#result-video video")
    correct = page.get_by_role("button", name="Correct this frame")
    tab = page.get_by_role("tab", name="Why this label?")
    for control in (correct, tab):
        video.evaluate("(video) => { video.currentTime = 0.7; video.playbackRate = 0.25; return video.play(); }")
        page.wait_for_function("document.querySelector('#result-video video').currentTime > 1")
        assert video.evaluate("(video) => !video.paused")
        if by == "mouse":
            control.click()
        else:
            control.focus()
            page.keyboard.press("Enter")
        expect(page.locator(".chart")).to_be_visible()
        assert video.evaluate("(video) => video.paused")
        frame = page.locator(".chart").get_attribute("data-frame")
        assert int(frame or 0) > 10
        if control is correct:
            expect(page.get_by_label(f"Frame {frame} to paint on")).to_be_visible(timeout=RUN_TIMEOUT)
        else:
            expect(page.locator(".why-frame")).to_have_attribute("data-frame-shown", frame or "", timeout=RUN_TIMEOUT)


def test_after_a_correction_the_video_begins_at_the_corrected_frame(page: Page) -> None:
    frame = 30
    take_example(page, "Cup")
    expect(page.locator(".chart")).to_be_visible()
    page.locator("#result-frame input[type=number]").fill(str(frame))
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Correct this frame").click()
    expect(page.get_by_label(f"Frame {frame} to paint on")).to_be_visible(timeout=RUN_TIMEOUT)
    view_of(page)
    paint(page, (0.8, 0.2), (0.85, 0.2))
    page.evaluate(NOTE_FIRST_PICTURE)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text(f"{frame} reused from the previous run")).to_be_visible(timeout=RUN_TIMEOUT)
    page.wait_for_function("window.firstTime !== undefined")
    time = float((page.locator(".chart").get_attribute("data-times") or "").split()[frame])
    assert time - 0.1 < page.evaluate("window.firstTime") < time + 0.5


NOTE_FIRST_PICTURE = """() => document.addEventListener("playing", (event) => {
    if (event.target.closest("#result-video")) window.firstTime ??= event.target.currentTime;
}, {capture: true})"""
KEEP_CALLBACK = """() => {
    const request = HTMLVideoElement.prototype.requestVideoFrameCallback;
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
        window.pictureShown = callback;
        return request.call(this, callback);
    };
}"""
CHOOSE_WHILE_PICTURES_ARRIVE = """(frame) => {
    const number = document.querySelector("#result-frame input[type=number]");
    const video = document.querySelector("#result-video video");
    number.focus();
    number.value = frame;
    number.dispatchEvent(new Event("input", {bubbles: true}));
    for (let i = 0; i < 2; i++) window.pictureShown(0, {mediaTime: video.duration - 0.02});
    return document.querySelector(".chart").dataset.frame;
}"""


def test_pictures_from_before_a_frame_was_chosen_do_not_change_it(page: Page) -> None:
    page.evaluate(KEEP_CALLBACK)
    take_example(page, "Cup")
    page.wait_for_function("document.querySelector('#result-video video')?.currentTime > 0.2")  # it plays
    assert page.evaluate(CHOOSE_WHILE_PICTURES_ARRIVE, 20) == "20"
    page.wait_for_timeout(1000)
    expect(page.locator(".plot-now")).to_have_text("frame 20")
    expect(page.locator("#result-frame input[type=range]")).to_have_value("20")
    page.evaluate("document.querySelector('#result-video video').currentTime = 0")  # by the controls of the video
    expect(page.locator(".plot-now")).to_have_text("frame 0")


def test_the_chart_is_readable_on_a_phone(chromium: Browser, page_url: str) -> None:
    with chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as phone:
        page = phone.new_page()
        page.goto(page_url)
        take_example(page, "Street")
        page.wait_for_function("document.querySelector('#result-video video')?.readyState >= 2", timeout=60_000)
        page.wait_for_function("!document.body.dataset.scrolling")
        plot = page.locator(".plot").first
        plot.scroll_into_view_if_needed()
        hints = page.locator("#result-frame .info-text, .keys-hint")
        expect(hints.first).to_be_hidden()
        assert not any(hint.is_visible() for hint in hints.all()), "a phone has no keys"
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
        expect(page.locator("#result-frame input[type=number]")).to_have_value("19", timeout=RUN_TIMEOUT)
