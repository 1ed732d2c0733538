"""Painting in the page's editor with a real mouse."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from mamp import OBJECT_COLORS

Point = tuple[float, float]  # x and y, as fractions of the frame
WAIT = 120_000  # [ms] on a busy machine


def take_example(page: Page, name: str) -> None:
    """Opens an example."""
    page.get_by_role("button", name=name, exact=True).click(timeout=WAIT)
    expect(page.get_by_text("objects are already painted")).to_be_visible(timeout=WAIT)


def clip_remover(page: Page) -> Locator:
    """The button that removes the clip."""
    return page.locator("#clip").get_by_label("Clear").or_(page.locator("#clip").get_by_label("Remove")).first


def choose_frame(page: Page, index: int) -> None:
    """Types a frame's number."""
    page.get_by_label("number input for Frame to paint on").fill(str(index))
    page.keyboard.press("Tab")


def view_of(page: Page) -> Locator:
    """The frame in the editor, once it is there."""
    expect(page.locator("#editor [data-state=ready]")).to_be_visible(timeout=WAIT)
    return page.locator("#editor .editor-view")


def place_in(page: Page, at: Point) -> Point:
    """A place of the frame in the window [pixels]."""
    view = view_of(page)
    wait_for_scrolling(page)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    assert box is not None
    return box["x"] + box["width"] * at[0], box["y"] + box["height"] * at[1]


def wait_for_scrolling(page: Page) -> None:
    """Waits until the page has brought the editor into view."""
    page.wait_for_function("!document.body.dataset.scrolling")


def paint(page: Page, *points: Point) -> None:
    """One stroke through points; by default across the middle of the frame."""
    first, *others = [place_in(page, point) for point in points or ((0.45, 0.5), (0.55, 0.5))]
    page.mouse.move(*first)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()


def paint_exactly(page: Page) -> None:
    """Keeps strokes exactly as they are painted."""
    view_of(page)
    switch = page.get_by_role("button", name="Complete my strokes")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "false")


def wait_for_masks(page: Page) -> None:
    """Waits until the strokes that were painted are completed."""
    expect(page.locator("#editor .completing")).to_have_count(0, timeout=WAIT)


def shown_areas(page: Page) -> dict[int, int]:
    """The area [pixels] of each of the eight brush colors that the editor shows, as far as it shows them."""
    areas: list[int] = page.evaluate(
        """(colors) => {
            const canvas = document.querySelector("#editor canvas"), areas = colors.map(() => 0);
            const pixels = canvas.width ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data : [];
            for (let i = 0; i < pixels.length; i += 4) {
                if (!pixels[i + 3]) continue; // canvases round the colors of transparent pixels
                const near = (color) => color.every((value, channel) => Math.abs(value - pixels[i + channel]) < 4);
                areas[colors.findIndex(near)]++;
            }
            return areas;
        }""",
        OBJECT_COLORS.tolist(),
    )
    return {label: area for label, area in enumerate(areas, 1) if area}


def wait_for_objects(page: Page, count: int) -> None:
    """Waits until the editor shows ``count`` objects on its frame."""
    view_of(page)
    for _ in range(WAIT // 200):
        if len(shown_areas(page)) == count:
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"{len(shown_areas(page))} objects are painted, not {count}")
