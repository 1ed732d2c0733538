"""The page of an index in a browser, opened from disk."""

from __future__ import annotations

import csv
from pathlib import Path

from playwright.sync_api import Page, expect

from mamp import Settings
from mamp.batch.clip_list import read_clip_list
from mamp.batch.index import write_index
from mamp.batch.segment_many import segment_many
from mamp.runs.results import Result
from tests.batch.shoot import make_shoot
from tests.conftest import browser

FAST = Settings(short_side=64, flow="none", radius=3, weights="patch")


def test_clips_are_found_by_their_end_their_confidence_and_their_frames_to_review(tmp_path: Path) -> None:
    make_shoot(tmp_path, dict.fromkeys(("a & b", "c", "later"), 6), broken=True)
    items = read_clip_list(str(tmp_path / "clips"), tmp_path / "masks", FAST)
    for _ in segment_many([item for item in items if item.name != "later"], tmp_path / "out"):
        pass
    doubtful = Result(tmp_path / "out/c")
    rows = doubtful.objects_csv.read_text().splitlines()
    rows[5] = ",".join([*rows[5].split(",")[:4], "0.1"])  # frame 4
    doubtful.objects_csv.write_text("\n".join(rows) + "\n")
    index = write_index(items, tmp_path / "out")
    with (tmp_path / "out/index.csv").open(newline="") as file:
        ends = {row["clip"]: row["end"] for row in csv.DictReader(file)}
    assert ends == {"a & b": "complete", "broken": "failed", "c": "complete", "later": "not started"}
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        page.goto(index.as_uri())
        expect(page.locator("body")).to_contain_text(
            "2 of 4 clips are complete, 1 failed, 1 not started, 1 with frames"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing is wider than a phone"
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"
        assert names(page) == ["a & b", "broken", "c", "later"]
        page.get_by_label("Sort by").select_option("lowest confidence")
        assert names(page) == ["c", "a & b", "broken", "later"]
        page.get_by_label("Show").select_option("failed and incomplete clips")
        expect(page.get_by_role("status")).to_have_text("2 of 4 clips")
        assert names(page) == ["broken", "later"]
        page.get_by_label("Show").select_option("clips to review")
        assert names(page) == ["c"]
        page.get_by_role("button", name="frame 4").click()
        page.wait_for_function("document.querySelector('[data-review=\"1\"] video').currentTime > 0.15")
        page.wait_for_function("document.querySelector('[data-review=\"1\"] video').readyState >= 2")


def names(page: Page) -> list[str]:
    """The clips that are shown, in order."""
    return page.locator("section:visible h2").all_inner_texts()
