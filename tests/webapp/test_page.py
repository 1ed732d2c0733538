"""The page in a real Chromium."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from mamp import VideoReader, write_mask
from tests.conftest import scene, write_clip
from tests.webapp.painting import choose_frame, clip_remover, paint, take_example, wait_for_objects

RUN_TIMEOUT = 180_000  # [ms]


def test_an_example_is_painted_run_and_played(page: Page, tmp_path: Path) -> None:
    take_example(page, "Shapes")
    expect(page.locator("video[src*='overlay']")).to_be_visible()
    wait_for_objects(page, 3)
    choose_frame(page, 50)  # the frames before keep their masks
    expect(page.get_by_label("Frame 50 to paint on")).to_be_visible(timeout=30_000)
    paint(page, (0.02, 0.02), (0.06, 0.02))
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Done: 60 of 60 frames, 50 reused")).to_be_visible(timeout=RUN_TIMEOUT)
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
        page.locator("a[href*='masks.zip']").first.click()
    expect(page.locator("#files").get_by_label("Remove this file").first).to_be_hidden()
    assert download.value.suggested_filename == "shapes_masks.zip"
    download.value.save_as(tmp_path / "masks.zip")
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        assert len(archive.namelist()) == 60
        with archive.open("masks/00050.png") as file, Image.open(file) as first:
            mask = np.asarray(first)
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    assert (mask[4:6, 10:24] == 1).any()  # the stroke, outside the objects of the example


def test_stop_keeps_finished_frames(page: Page) -> None:
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    paint(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Frame 1 of 75").or_(page.get_by_text("frames/s ·")).first).to_be_visible(
        timeout=RUN_TIMEOUT
    )
    pulsing = """document.getAnimations().filter((each) =>
        each instanceof CSSAnimation && each.effect.target.matches('.generating')).length"""  # no transition: those end
    assert page.evaluate(pulsing) == 0, "animations in the browser slow the run down"
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped; finished frames are kept")).to_be_visible(timeout=RUN_TIMEOUT)
    expect(page.locator("video[src*='overlay']")).to_be_visible()


def test_an_estimate_that_no_longer_holds_fades_until_the_next_one(page: Page) -> None:
    take_example(page, "Shapes")
    sentence = page.locator("#estimate .html-container")
    expect(sentence).to_contain_text("All 60 frames keep their masks", timeout=60_000)
    expect(sentence).not_to_have_class(re.compile("pending"), timeout=30_000)
    shown, opacity = sentence.inner_text(), "element => Number(getComputedStyle(element).opacity)"
    held: list[Route] = []
    is_slow = True
    page.route("**/queue/join*", lambda request: held.append(request) if is_slow else request.continue_())
    page.locator(".label-wrap", has_text="Settings").click()
    page.get_by_label("Optical flow").click()
    page.get_by_role("option").last.click()
    expect(sentence).to_have_class(re.compile("pending"))
    page.wait_for_timeout(1000)
    assert sentence.inner_text() == shown
    assert sentence.evaluate(opacity) < 0.5
    is_slow = False
    for request in held:
        request.continue_()
    expect(sentence).not_to_have_text(shown, timeout=60_000)
    expect(sentence).to_have_css("opacity", "1", timeout=30_000)


def test_another_clip_during_a_run_leaves_working_buttons(page: Page) -> None:
    run, stop = (page.get_by_role("button", name=name, exact=True) for name in ("Run", "Stop"))
    take_example(page, "Cup")
    wait_for_objects(page, 2)
    paint(page)
    run.dblclick()
    expect(run).to_be_disabled(timeout=2000)
    expect(page.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
    take_example(page, "Shapes")
    expect(run).to_be_enabled()
    expect(stop).to_be_disabled()
    run.click()
    expect(page.get_by_text("Done: 60 of 60 frames")).to_be_visible(timeout=RUN_TIMEOUT)
    expect(run).to_be_enabled()
    expect(page.get_by_text("Error", exact=True)).to_have_count(0)
    clip_remover(page).click()
    expect(page.get_by_text("Choose a clip to begin")).to_be_visible(timeout=30_000)
    expect(run).to_be_disabled()


def test_uploaded_clip_is_painted_on_two_frames_and_corrected(page: Page, tmp_path: Path) -> None:
    truth = np.where(scene(9, 192, 256)[1], 1, 0).astype(np.uint8)
    write_clip(tmp_path / "mine.mp4", [scene(t, 192, 256)[0] for t in range(12)])
    write_mask(tmp_path / "late.png", truth)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "mine.mp4")
    expect(page.get_by_text("12 frames, 256x192")).to_be_visible(timeout=30_000)
    paint(page)

    choose_frame(page, 9)
    masks = page.get_by_label("Input masks")
    expect(masks).to_contain_text("Frame 0", timeout=30_000)
    wait_for_objects(page, 0)
    page.get_by_text("Use a mask file").click()
    page.locator("#mask-file input[type=file]").set_input_files(tmp_path / "late.png")
    expect(page.get_by_text("Mask loaded for frame 9: 1 object")).to_be_visible(timeout=30_000)
    wait_for_objects(page, 1)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Done: 12 of 12 frames")).to_be_visible(timeout=RUN_TIMEOUT)

    page.get_by_label("number input for Frame", exact=True).fill("5")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Correct this frame").click()
    expect(page.get_by_label("number input for Frame to paint on")).to_have_value("5", timeout=30_000)
    wait_for_objects(page, 1)
    choose_frame(page, 0)
    wait_for_objects(page, 1)
    expect(masks.get_by_role("listitem")).to_have_count(2)


EXPORT_FORMATS = {
    "WebM": "cutout.webm",
    "ProRes": "cutout.mov",
    "PNG images": "cutout.zip",
    "per object": "objects.zip",
}


def download_to(path: Path, page: Page, link: str) -> None:
    with page.expect_download() as download:
        page.locator(link).first.click()
    download.value.save_as(path)


def test_a_camera_recording_becomes_the_clip(page: Page) -> None:
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    record = page.get_by_role("button", name="start recording")
    record.click()
    page.wait_for_timeout(2500)
    record.click()
    status = page.get_by_text("Now paint each object")
    expect(status).to_be_visible(timeout=RUN_TIMEOUT)
    rate = re.search(r"([\d.]+) frames/s", status.inner_text())
    assert rate is not None and 1 < float(rate[1]) < 121
    expect(page.locator("#editor [data-state=ready]")).to_be_visible(timeout=30_000)


def test_every_kind_of_mask_file_is_loaded(page: Page, tmp_path: Path) -> None:
    truth = np.zeros((192, 256), np.uint8)
    truth[40:90, 30:90], truth[100:150, 150:230] = 1, 2
    one = (truth == 1).astype(np.uint8) * 255
    soft = np.asarray(Image.fromarray(one).resize((64, 48)).resize((256, 192), Image.Resampling.BILINEAR))
    write_clip(tmp_path / "mine.mp4", [scene(t, 192, 256)[0] for t in range(4)])
    write_mask(tmp_path / "palette.png", truth)
    colors = np.array([(0, 0, 0), (200, 30, 30), (30, 160, 60)], np.uint8)
    images = {
        "labels.png": truth,
        "black-and-white.png": one,
        "colors.png": colors[truth],
        "transparent.png": np.dstack([colors[truth], np.minimum(truth, 1) * 255]),
        "soft.png": soft,
        "small.png": truth[::2, ::2],
    }
    for name, image in images.items():
        Image.fromarray(image).save(tmp_path / name)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "mine.mp4")
    expect(page.get_by_text("4 frames, 256x192")).to_be_visible(timeout=30_000)
    page.get_by_text("Use a mask file").click()
    expected_notes = {
        "palette.png": "2 objects",
        "black-and-white.png": "1 object",
        "colors.png": "2 objects",
        "soft.png": "1 object.*soft edges cut at half",
        "transparent.png": "2 objects",
        "labels.png": "2 objects",
        "small.png": "2 objects.*scaled from 128x96",
    }
    for name, notes in expected_notes.items():
        page.locator("#mask-file input[type=file]").set_input_files(tmp_path / name)
        expect(page.get_by_text(re.compile(f"Mask loaded for frame 0: {notes}"))).to_be_visible(timeout=30_000)
        wait_for_objects(page, int(notes[0]))
        page.locator("#mask-file").get_by_label("Remove this file").or_(
            page.locator("#mask-file").get_by_label("Clear")
        ).first.click()


def test_review_exports_names_and_project_file(page: Page, page_url: str, tmp_path: Path) -> None:
    mask = scene(0)[1]
    mask[:16, 100:] = 2
    write_mask(tmp_path / "mask.png", mask)
    clip = write_clip(tmp_path / "mine.mp4", [scene(t)[0] for t in range(12)])
    run = page.get_by_role("button", name="Run", exact=True)
    page.locator("input[type=file]").first.set_input_files(clip)
    expect(page.get_by_text("12 frames, 128x96")).to_be_visible(timeout=30_000)
    page.get_by_text("Use a mask file").click()
    page.locator("#mask-file input[type=file]").set_input_files(tmp_path / "mask.png")
    wait_for_objects(page, 2)
    run.click()
    expect(page.get_by_text("Done: 12 of 12 frames")).to_be_visible(timeout=RUN_TIMEOUT)
    name = page.get_by_label("Name of object 2")
    name.fill("${1+1}{{value}}<b>x</b>")
    name.press("Tab")
    chart = page.locator(".plot").first
    box = chart.bounding_box()
    assert box is not None
    chart.click(position={"x": box["width"] * 0.99, "y": 40})
    expect(page.get_by_label("number input for Frame", exact=True)).to_have_value("11", timeout=30_000)
    run.click()
    expect(page.get_by_text("12 reused")).to_be_visible(timeout=RUN_TIMEOUT)
    assert page.get_by_label("Name of object 2").input_value() == "${1+1}{{value}}<b>x</b>"

    for export_format, file in EXPORT_FORMATS.items():
        page.get_by_label("More formats").click()
        page.get_by_role("option", name=export_format).click()
        page.get_by_role("button", name="Prepare").click()
        expect(page.get_by_text(f"{file} is ready")).to_be_visible(timeout=RUN_TIMEOUT)
        download_to(tmp_path / file, page, f"#product a[href*='{file}']")
    for file in ("overlay.mp4", "masks.zip", "masks.json", "objects.csv", "receipt.json", "project.zip"):
        download_to(tmp_path / file, page, f"a[href*='{file}']")

    for file in ("overlay.mp4", "cutout.webm", "cutout.mov"):
        video = VideoReader(tmp_path / file)
        assert video.count() == 12 and video.time(11) == pytest.approx(VideoReader(clip).time(11), abs=1e-3), file
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    rows = (tmp_path / "objects.csv").read_text().splitlines()
    document = json.loads((tmp_path / "masks.json").read_text())
    assert receipt["masks_written"] == receipt["frames_in_video"] == document["videos"][0]["length"] == 12
    assert len(rows) > 12 and [entry["category_id"] for entry in document["annotations"]] == [1, 2]
    with zipfile.ZipFile(tmp_path / "masks.zip") as masks, zipfile.ZipFile(tmp_path / "objects.zip") as objects:
        with masks.open("masks/00011.png") as file, Image.open(file) as image:
            last = np.asarray(image)
        names = [name for name in objects.namelist() if name.endswith("00011.png")]
        assert len(names) == 2
        for label, name in enumerate(sorted(names), 1):
            with objects.open(name) as file, Image.open(file) as image:
                assert np.array_equal(np.asarray(image) > 0, last == label), name
        for label, entry in enumerate(document["annotations"], 1):
            assert (entry["areas"][11] or 0) == (last == label).sum()
    with zipfile.ZipFile(tmp_path / "cutout.zip") as images:
        assert len(images.namelist()) == 12
        with images.open(sorted(images.namelist())[11]) as file, Image.open(file) as image:
            assert np.array_equal(np.asarray(image)[..., 3] > 0, last > 0)

    page = page.context.new_page()
    page.goto(page_url)
    page.locator("input[type=file]").first.set_input_files(clip)
    expect(page.get_by_text("12 frames, 128x96")).to_be_visible(timeout=120_000)
    page.get_by_text("Continue a saved project").click()
    page.locator("#project-file input[type=file]").set_input_files(tmp_path / "project.zip")
    expect(page.get_by_text("Loaded 1 mask and the settings of mine.mp4")).to_be_visible(timeout=30_000)
    wait_for_objects(page, 2)
    assert page.get_by_label("Name of object 2").input_value() == "${1+1}{{value}}<b>x</b>"


def test_two_visitors_never_see_each_others_clip(page: Page, page_url: str, chromium: Browser) -> None:
    with chromium.new_context() as context:
        other = context.new_page()
        other.goto(page_url)
        take_example(page, "Shapes")
        take_example(other, "Cup")
        wait_for_objects(other, 2)
        paint(other)  # otherwise every mask of the example would be reused
        other.get_by_role("button", name="Run", exact=True).click()
        expect(other.get_by_text("frames/s ·").first).to_be_visible(timeout=RUN_TIMEOUT)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_text("1 person ahead of you, about")).to_be_visible(timeout=10_000)
        other.get_by_role("button", name="Stop", exact=True).click()
        expect(other.get_by_text("Stopped; finished frames are kept")).to_be_visible(timeout=RUN_TIMEOUT)
        expect(page.get_by_text("Done: 60 of 60 frames")).to_be_visible(timeout=RUN_TIMEOUT)
        videos = [tab.locator("video[src*='overlay']").get_attribute("src") for tab in (page, other)]
        assert videos[0] != videos[1]
        page.wait_for_function("document.querySelector(\"video[src*='overlay']\").videoWidth === 416")


@pytest.mark.parametrize("size", [(1280, 1000), (390, 844)])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_meets_the_accessibility_rules(page: Page, page_url: str, size: tuple[int, int], theme: str) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{page_url}?__theme={theme}")
    expect(page.get_by_role("button", name="Shapes", exact=True)).to_be_visible(timeout=RUN_TIMEOUT)
    assert_accessible(page)
    take_example(page, "Shapes")
    wait_for_objects(page, 3)
    for panel in ("Settings", "Use a mask file", "Continue a saved project"):
        page.get_by_role("button", name=panel).first.click()
    page.wait_for_timeout(500)
    assert_accessible(page)
    page.get_by_role("button", name="Score it here").click()
    for name in ("Why this label?", "This run as code"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(500)
        assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "the page is wider than the window"
    )
    if size[0] < 640:
        assert_fits_a_phone(page)


def assert_fits_a_phone(page: Page) -> None:
    """The frame has the whole width, and controls are large enough for a finger and in rows."""
    width = page.locator("#editor .editor-view").evaluate("(view) => view.getBoundingClientRect().width")
    assert width == 390
    for row in ("[data-tool]", "[data-label]", ".editor-sliders label", "[data-action=undo], [data-action=hide]"):
        tops = page.locator("#editor").locator(row).evaluate_all("(all) => all.map((each) => each.offsetTop)")
        assert len(tops) > 1 and len(set(tops)) == 1, f"{row} is in several rows"
    for files in ("#mask-file", "#project-file", "#true-masks"):
        label, drop = (
            page.locator(files).locator("label").first.bounding_box(),
            page.locator(files).locator("button").first,
        )
        box = drop.bounding_box()
        assert label is not None and box is not None and label["y"] + label["height"] <= box["y"], f"{files} is covered"
    number = page.get_by_label("number input for Frame to paint on")
    for control in (clip_remover(page), number, page.get_by_role("button", name="Correct this frame")):
        box = control.bounding_box()
        assert box is not None and min(box["width"], box["height"]) >= 40, control


def assert_accessible(page: Page) -> None:
    expect(page.locator("#estimate .pending")).to_have_count(0, timeout=30_000)  # it is faded
    violations = [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert not violations, violations
