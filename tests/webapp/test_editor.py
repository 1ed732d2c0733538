"""The page's editor in a real Chromium, with real mouse, touch and keyboard events."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Route, expect

from tests.conftest import ROOT, scene, write_clip
from tests.webapp.painting import (
    choose_frame,
    paint,
    paint_exactly,
    place_in,
    shown_areas,
    take_example,
    view_of,
    wait_for_masks,
    wait_for_objects,
)

SCRIPTS = ROOT / "webapp" / "static"
FRAME_PICTURE = re.compile(r"/gradio_api/file=.*\.jpg")  # the address of the editor's picture


@pytest.fixture
def page(page: Page) -> Page:
    page.set_viewport_size({"width": 1280, "height": 1000})
    return page


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("editor") / "mine.mp4", [scene(t, 192, 256)[0] for t in range(12)])


@pytest.fixture
def painted(page: Page, mine: Path) -> Page:
    """A clip with nothing painted on it."""
    upload(page, mine)
    return page


def upload(page: Page, clip: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(clip)
    expect(page.get_by_text("Now paint each object")).to_be_visible(timeout=30_000)
    view_of(page)


def slow_down(page: Page) -> None:
    """A slow machine on a slow line."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.route("**/gradio_api/**", lambda route: (page.wait_for_timeout(60), route.continue_()))


def expect_masks(page: Page, *frames: int) -> None:
    """Waits for the list of input masks."""
    rows = page.get_by_label("Input masks").get_by_role("button", name=re.compile("^Frame"))
    expect(rows).to_have_text([f"Frame {frame}" for frame in frames], timeout=30_000)


def correct(page: Page, frame: int) -> None:
    """Chooses a frame of the result, and corrects it."""
    page.get_by_label("number input for Frame", exact=True).fill(str(frame))
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Correct this frame").click()
    expect(page.get_by_label(f"Frame {frame} to paint on")).to_be_visible(timeout=30_000)
    expect(page.get_by_label(f"Frame {frame} to paint on")).to_be_in_viewport(timeout=30_000)


def test_ten_corrections_of_an_example_arrive_on_a_slow_machine(page: Page) -> None:
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    expect(page.locator("#result-video video")).to_be_visible(timeout=30_000)
    slow_down(page)
    frames = [0]
    for frame in (10, 30, 5, 60, 20, 74, 40, 1, 50, 15):
        correct(page, frame)
        before = shown_areas(page).get(3, 0)
        page.keyboard.press("3")
        paint(page, (0.1, 0.2), (0.3, 0.2))
        assert shown_areas(page).get(3, 0) > before, f"frame {frame} takes no stroke"
        frames.append(frame)
    expect_masks(page, *sorted(frames))


def test_a_frame_is_opened_for_correction_with_the_brush_and_the_chosen_object(page: Page) -> None:
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    expect(page.locator("#result-video video")).to_be_visible(timeout=30_000)
    correct(page, 10)
    paint_exactly(page)
    page.keyboard.press("2")
    eraser = page.locator("button[data-tool=eraser]")
    for tool, frame in ((eraser, 30), (page.locator("button[data-tool=box]"), 20), (eraser, 20)):
        tool.click()
        correct(page, frame)
        expect(page.locator("button[data-tool=brush]")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("button", name="Object 2", exact=True)).to_have_attribute("aria-pressed", "true")
    before = shown_areas(page)[2]
    paint(page, (0.1, 0.2), (0.3, 0.2))
    assert shown_areas(page)[2] > before
    eraser.click()
    choose_frame(page, 21)
    expect(page.get_by_label("Frame 21 to paint on")).to_be_visible(timeout=30_000)
    expect(eraser).to_have_attribute("aria-pressed", "true")


def test_the_editor_comes_into_view_although_another_message_of_its_frame_arrives_first(page: Page) -> None:
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    held: list[Route] = []
    page.route(FRAME_PICTURE, lambda route: held.append(route))
    page.get_by_label("number input for Frame", exact=True).fill("30")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Correct this frame").click()
    expect(page.locator("#editor [data-state=loading]")).to_have_count(1, timeout=30_000)
    page.get_by_role("button", name="Remove object 2 from frame 0").click()  # its answer holds the frame, too
    expect(page.get_by_role("button", name="Remove object 2 from frame 0")).to_have_count(0, timeout=30_000)
    page.wait_for_timeout(500)
    for route in held:
        route.continue_()
    page.unroute(FRAME_PICTURE)
    expect(page.get_by_label("Frame 30 to paint on")).to_be_focused(timeout=30_000)
    expect(page.get_by_label("Frame 30 to paint on")).to_be_in_viewport()


def test_ten_frames_of_an_uploaded_clip_are_painted_without_waiting(painted: Page) -> None:
    slow_down(painted)
    for frame in range(10):
        choose_frame(painted, frame)
        expect(painted.get_by_label(f"Frame {frame} to paint on")).to_be_visible(timeout=30_000)
        paint(painted, (0.3, 0.5), (0.5, 0.6))  # and on to the next frame before the stroke is saved
    choose_frame(painted, 0)
    expect_masks(painted, *range(10))


def test_a_stroke_lands_on_the_frame_that_is_shown(painted: Page) -> None:
    held: list[Route] = []
    painted.route(FRAME_PICTURE, lambda route: held.append(route))
    places = [place_in(painted, (x, 0.5)) for x in (0.3, 0.5)]
    choose_frame(painted, 7)
    expect(painted.locator("#editor [data-state=loading]")).to_be_visible(timeout=30_000)
    painted.mouse.move(*places[0])
    painted.mouse.down()
    painted.mouse.move(*places[1])
    for route in held:
        route.continue_()  # frame 7 arrives in the middle of a stroke
    expect(painted.get_by_label("Frame 7 to paint on")).to_be_visible(timeout=30_000)
    painted.mouse.move(*places[0])
    painted.mouse.up()
    assert not shown_areas(painted)
    expect_masks(painted, 0)


def test_arrow_keys_on_the_frame_number_change_the_picture(painted: Page) -> None:
    number = painted.get_by_label("number input for Frame to paint on")
    number.focus()
    for _ in range(5):
        number.press("ArrowUp")
    expect(painted.get_by_label("Frame 5 to paint on")).to_be_visible(timeout=30_000)
    expect(number).to_have_value("5")
    slider = painted.get_by_label("range slider for Frame to paint on")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    expect(painted.get_by_label("Frame 8 to paint on")).to_be_visible(timeout=30_000)


def test_undo_redo_and_clear_leave_the_frame(painted: Page) -> None:
    paint_exactly(painted)
    paint(painted, (0.2, 0.3), (0.6, 0.3))
    one = shown_areas(painted)
    paint(painted, (0.2, 0.7), (0.6, 0.7))
    both = shown_areas(painted)
    for keys, expected in (
        *(("Control+z", one), ("Control+z", {}), ("Control+z", {})),
        *(("Control+Shift+z", one), ("Control+y", both), ("Control+y", both), ("Control+z", one)),
    ):
        painted.keyboard.press(keys)
        assert shown_areas(painted) == expected, keys
        note = "Frame 0: painted." if expected else "Frame 0: scribble on an object"
        expect(painted.locator(".editor-note")).to_contain_text(note)
    painted.get_by_role("button", name="Clear frame").click()
    assert not shown_areas(painted)
    expect(painted.locator(".editor-note")).to_contain_text("Frame 0: scribble on an object")
    expect(painted.get_by_label("Input masks")).to_have_count(0)
    painted.get_by_role("button", name="Undo", exact=True).click()
    assert shown_areas(painted) == one
    expect_masks(painted, 0)
    drawn = painted.locator("#editor img").evaluate("(image) => image.complete && image.naturalWidth")
    assert drawn == 256


def test_clear_stays_clear_after_a_run(page: Page) -> None:
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    page.get_by_role("button", name="Clear frame").click()
    expect(page.get_by_label("Input masks")).to_have_count(0)
    choose_frame(page, 20)
    wait_for_objects(page, 3)
    choose_frame(page, 0)
    expect(page.get_by_label("Frame 0 to paint on")).to_be_visible(timeout=30_000)
    assert not shown_areas(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Paint at least one object")).to_be_visible(timeout=30_000)


def test_the_frame_in_the_editor_shows_its_mask_after_a_run(page: Page, tmp_path: Path) -> None:
    upload(page, write_clip(tmp_path / "short.mp4", [scene(t)[0] for t in range(4)]))
    paint(page, (0.2, 0.5), (0.4, 0.5))
    choose_frame(page, 2)
    expect(page.get_by_label("Frame 2 to paint on")).to_be_visible(timeout=30_000)
    assert not shown_areas(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Done: 4 of 4 frames")).to_be_visible(timeout=90_000)
    wait_for_objects(page, 1)
    tracked = page.get_by_text("Frame 2: the mask of the last run")
    expect(tracked).to_be_visible()
    expect_masks(page, 0)
    paint(page, (0.7, 0.2), (0.8, 0.2))
    expect_masks(page, 0, 2)
    page.keyboard.press("Control+z")
    expect(tracked).to_be_visible()
    expect_masks(page, 0)


def outline(page: Page) -> None:
    """Draws around the disk of ``scene(0, 192, 256)``, which is 28 pixels in radius."""
    paint(page, *((36 / 256 + 0.13 * math.cos(t / 2), 0.5 + 0.18 * math.sin(t / 2)) for t in range(14)))


def test_a_scribble_becomes_a_mask_and_undo_steps_through_strokes_and_their_masks(painted: Page) -> None:
    paint(painted, (0.1, 0.45), (0.17, 0.55))
    scribble = shown_areas(painted)[1]
    wait_for_masks(painted)
    completed = shown_areas(painted)
    assert completed[1] > 1.5 * scribble
    expect(painted.get_by_label("Input masks")).to_contain_text(f"{completed[1] / 256 / 192:.1%}")
    painted.keyboard.press("e")
    paint(painted, (0.1, 0.55), (0.18, 0.55))
    wait_for_masks(painted)
    corrected = shown_areas(painted)
    assert corrected[1] < completed[1]
    for keys, areas in (
        ("Control+z", completed),
        ("Control+z", {}),
        ("Control+y", completed),
        ("Control+y", corrected),
    ):
        painted.keyboard.press(keys)
        assert shown_areas(painted) == areas, keys
    expect(painted.get_by_label("Input masks")).to_contain_text(f"{corrected[1] / 256 / 192:.1%}", timeout=30_000)


def test_strokes_painted_meanwhile_are_never_lost(painted: Page) -> None:
    slow_down(painted)
    for row in range(5):  # the mask of the first one arrives in the middle of the others
        paint(painted, (0.1, 0.4 + 0.05 * row), (0.17, 0.4 + 0.05 * row))
    painted.keyboard.press("2")
    paint(painted, (0.7, 0.2), (0.8, 0.2))
    painted.keyboard.press("e")
    paint(painted, (0.6, 0.8), (0.9, 0.8))
    wait_for_masks(painted)
    areas = shown_areas(painted)
    assert areas[1] > 1000 and areas[2] > 100
    pixels = painted.evaluate(
        """() => [[35, 77], [35, 115], [192, 38], [192, 154]].map(([x, y]) =>
            document.querySelector('#editor canvas').getContext('2d').getImageData(x, y, 1, 1).data[3] > 0)"""
    )
    assert pixels == [True, True, True, False]


def test_a_box_dragged_on_the_picture_and_a_click_find_the_object(painted: Page) -> None:
    truth = int(scene(0, 192, 256)[1].sum())
    painted.locator("[data-tool=box]").click()
    paint(painted, (0.01, 0.3), (0.27, 0.7))
    wait_for_objects(painted, 1)
    wait_for_masks(painted)
    assert shown_areas(painted)[1] == pytest.approx(truth, rel=0.25)
    painted.keyboard.press("Control+z")
    assert not shown_areas(painted)
    painted.keyboard.press("b")
    paint(painted, (36 / 256, 0.5))
    wait_for_masks(painted)
    assert shown_areas(painted)[1] > 0.3 * truth


def test_a_closed_outline_fills_at_once_and_exactly(painted: Page) -> None:
    outline(painted)
    wait_for_masks(painted)
    area = math.pi * (0.13 * 256) * (0.18 * 192)  # and half of the line's width
    assert area < shown_areas(painted)[1] < 1.35 * area


def test_a_small_correction_leaves_the_rest_of_an_examples_mask(page: Page) -> None:
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    read = "() => document.querySelector('#editor canvas').toDataURL()"
    right = """() => {
        const canvas = document.querySelector('#editor canvas').getContext('2d');
        return [...canvas.getImageData(208, 0, 208, 240).data].join();
    }"""
    areas, before, right_before = shown_areas(page), page.evaluate(read), page.evaluate(right)
    paint(page, (0.02, 0.02), (0.06, 0.02))
    wait_for_masks(page)
    assert page.evaluate(read) != before and shown_areas(page)[1] > areas[1]
    assert page.evaluate(right) == right_before
    assert {label: area for label, area in shown_areas(page).items() if label > 1} == {2: areas[2], 3: areas[3]}


def test_the_switch_keeps_strokes_exactly(painted: Page) -> None:
    paint_exactly(painted)
    paint(painted, (0.1, 0.45), (0.17, 0.55))
    areas = shown_areas(painted)
    expect_masks(painted, 0)
    expect(painted.get_by_label("Input masks")).to_contain_text(f"{areas[1] / 256 / 192:.1%}")
    for frame in (1, 0):
        choose_frame(painted, frame)
        expect(painted.get_by_label(f"Frame {frame} to paint on")).to_be_visible(timeout=30_000)
    wait_for_objects(painted, 1)
    assert shown_areas(painted) == areas


def test_a_mask_and_an_object_are_removed_and_nothing_else(page: Page) -> None:
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    choose_frame(page, 12)
    expect(page.get_by_label("Frame 12 to paint on")).to_be_visible(timeout=30_000)
    wait_for_objects(page, 3)
    page.get_by_role("button", name="Object 4", exact=True).click()
    paint(page, (0.05, 0.05), (0.15, 0.05))
    expect_masks(page, 0, 12)
    page.get_by_role("button", name="Remove object 2 from frame 12").click()
    expect(page.get_by_text("Object 2 was removed from frame 12.")).to_be_visible(timeout=30_000)
    wait_for_objects(page, 3)
    assert list(shown_areas(page)) == [1, 3, 4]
    expect(page.get_by_role("button", name="Remove object 2 from frame 0")).to_be_visible()
    page.get_by_role("button", name="Remove the mask of frame 0").focus()
    page.keyboard.press("Enter")
    expect_masks(page, 12)
    assert list(shown_areas(page)) == [1, 3, 4]
    expect(page.locator("video[src*='overlay']")).to_be_visible()


def test_keys_choose_tools_objects_and_the_brush(painted: Page) -> None:
    paint_exactly(painted)
    paint(painted)
    thin = shown_areas(painted)[1]
    for key in "]]]]":
        painted.keyboard.press(key)
    painted.keyboard.press("2")
    paint(painted, (0.45, 0.2), (0.55, 0.2))
    assert shown_areas(painted)[2] > 1.5 * thin
    painted.keyboard.press("e")
    expect(painted.get_by_role("button", name="Eraser")).to_have_attribute("aria-pressed", "true")
    paint(painted, (0.4, 0.5), (0.6, 0.5))
    assert list(shown_areas(painted)) == [2]
    painted.keyboard.press("b")
    painted.keyboard.press("9")
    assert painted.get_by_role("button", name="Object 9").get_attribute("aria-pressed") == "true"


def test_a_closed_outline_is_filled_and_an_open_one_is_not(painted: Page) -> None:
    paint_exactly(painted)
    corners = [(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)]
    paint(painted, *corners)
    outline = shown_areas(painted)[1]
    painted.keyboard.press("f")
    paint(painted, (0.5, 0.5))
    expect(painted.get_by_text("There is no closed outline here")).to_be_visible()
    assert shown_areas(painted)[1] == outline
    painted.keyboard.press("b")
    paint(painted, corners[3], corners[0])
    painted.keyboard.press("f")
    paint(painted, (0.5, 0.5))
    assert shown_areas(painted)[1] == pytest.approx(0.47**2 * 256 * 192, rel=0.15)


def test_the_wheel_scrolls_and_zooms_with_ctrl(painted: Page) -> None:
    painted.set_viewport_size({"width": 1280, "height": 600})
    painted.mouse.move(*place_in(painted, (0.25, 0.5)))
    before = painted.evaluate("scrollY")
    painted.mouse.wheel(0, 120)
    painted.wait_for_function("(before) => scrollY > before", arg=before)

    def width() -> float:
        box = painted.locator("#editor canvas").bounding_box()
        assert box is not None
        return box["width"]

    whole = width()
    painted.mouse.move(*place_in(painted, (0.25, 0.5)))
    painted.keyboard.down("Control")
    painted.mouse.wheel(0, -120)
    painted.keyboard.up("Control")
    assert 1.3 * whole < width() < 3 * whole
    x, y = place_in(painted, (0.25, 0.5))
    painted.mouse.move(x, y)
    painted.mouse.down()
    painted.mouse.up()
    pixels = painted.locator("#editor canvas").evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(64, 96, 1, 1).data[3]"
    )
    assert pixels > 0, "zoomed, a click did not land under the pointer"
    painted.get_by_role("button", name="Fit", exact=True).click()
    assert width() == pytest.approx(whole)


def touch(session: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    touches: list[dict[str, Any]] = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": touches})


def test_on_a_phone_one_finger_paints_and_two_zoom(chromium: Browser, page_url: str) -> None:
    with chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as phone:
        tab = phone.new_page()
        tab.goto(page_url)
        take_example(tab, "Cup")
        wait_for_objects(tab, 2)
        heights = tab.locator("#editor button, #editor input").evaluate_all(
            "(all) => all.map((each) => each.offsetHeight)"
        )
        widths = tab.locator("#editor button").evaluate_all("(all) => all.map((each) => each.offsetWidth)")
        assert min(heights) >= 40 and min(widths) >= 40
        canvas = tab.locator("#editor canvas")
        frame, view = canvas.bounding_box(), view_of(tab).bounding_box()
        assert frame is not None and view is not None and view["height"] == pytest.approx(frame["height"], abs=1)
        tab.get_by_role("button", name="Object 3").tap()
        session = tab.context.new_cdp_session(tab)
        (x1, y1), (x2, y2) = place_in(tab, (0.1, 0.1)), place_in(tab, (0.4, 0.1))
        touch(session, "Start", (x1, y1))
        touch(session, "Move", (x2, y2))
        touch(session, "End")
        wait_for_masks(tab)
        areas = shown_areas(tab)
        assert areas[3] > 0
        touch(session, "Start", (x1, y1))
        touch(session, "Start", (x1, y1), (x2, y2))
        for step in range(5):
            touch(session, "Move", (x1, y1 + 10 * step), (x2 + 10 * step, y2 + 40 * step))
        touch(session, "End")
        zoomed = canvas.bounding_box()
        assert zoomed is not None and zoomed["width"] > 1.2 * frame["width"]
        assert shown_areas(tab) == areas, "two fingers painted"


@pytest.fixture
def scripts(desktop: BrowserContext) -> Iterator[Page]:
    """The editor's scripts without a page."""
    tab = desktop.new_page()
    tab.add_script_tag(content=(SCRIPTS / "label_map.js").read_text())
    yield tab
    tab.close()


def test_labels_are_exact_and_every_edit_can_be_undone(scripts: Page) -> None:
    failed = scripts.evaluate(
        """() => {
            let seed = 1;
            const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
            const map = new LabelMap(40, 30, [0, 600, 200, 600]), states = [map.runs()];
            for (let edit = 0; edit < 200; edit++) {
                const place = () => ({x: random(60) - 10, y: random(50) - 10});
                if (random(3)) map.line(place(), place(), random(8), random(4));
                else map.fill(random(40), random(30), random(4));
                if (map.commit()) states.push(map.runs());
            }
            const same = (runs) => JSON.stringify(runs) === JSON.stringify(map.runs());
            for (let i = states.length - 2; i >= 0; i--) if (!map.undo() || !same(states[i])) return `undo ${i}`;
            if (map.undo()) return 'undo of nothing';
            for (let i = 1; i < states.length; i++) if (!map.redo() || !same(states[i])) return `redo ${i}`;
            if (map.redo()) return 'redo of nothing';
            if (!same(new LabelMap(40, 30, map.runs()).runs())) return 'runs';
            return states.length > 50 ? '' : 'too few edits';
        }"""
    )
    assert not failed


def test_a_line_covers_what_is_within_its_radius(scripts: Page) -> None:
    covered = scripts.evaluate(
        """() => {
            const map = new LabelMap(20, 20, [0, 400]);
            map.line({x: 5, y: 10}, {x: 15, y: 10}, 3, 1);
            return [...map.labels];
        }"""
    )
    for index, label in enumerate(covered):
        x, y = index % 20 + 0.5, index // 20 + 0.5
        outside = (x - min(max(x, 5), 15)) ** 2 + (y - 10) ** 2 > 9
        assert label == (0 if outside else 1), (x, y)
