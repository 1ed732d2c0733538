"""A result is scored against true masks of a visitor."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from mamp import Settings, write_mask
from mamp.evaluation.davis_metrics import contour_accuracy, region_similarity
from mamp.masks.mask_io import read_mask
from tests.conftest import browser, scene
from tests.webapp.painting import take_example
from webapp import scoring_view
from webapp import session as sessions
from webapp.results_view import result_updates


def true_masks(folder: Path, frames: range) -> list[Path]:
    folder.mkdir()
    for t in frames:
        write_mask(folder / f"{t:05d}.png", scene(t)[1])
    return sorted(folder.iterdir())


def zip_of(files: list[Path], path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, f"{inside}{file.name}")
    return path


def scored(session: dict[str, Any], *paths: Path) -> dict[str, str]:
    return dict(list(scoring_view.score_result(session, [str(path) for path in paths]))[-1])


def test_means_are_those_of_davis_and_the_chart_has_both_scores(finished: dict[str, Any], tmp_path: Path) -> None:
    files = true_masks(tmp_path / "true", range(12))
    page = scored(finished, zip_of(files, tmp_path / "true.zip", "Annotations/480p/clip/"))
    result = sessions.project_of(finished).result
    assert result is not None
    pairs = [(scene(t)[1] == 1, read_mask(result.masks_dir / f"{t:05d}.png") == 1) for t in range(1, 11)]
    J, F = (np.mean([metric(*pair) for pair in pairs]) for metric in (region_similarity, contour_accuracy))
    assert f"<td>{(J + F) / 2:.3f}</td><td>{J:.3f}</td><td>{F:.3f}</td>" in page["scored"] and 0.5 < J < 1
    assert "12 frames scored, of 12" in page["scored"]
    assert "J: overlap with the true masks" in page["flags"] and "F: contours" in page["flags"]
    assert scored(finished, *files)["scored"] == page["scored"]
    assert not list(Path(finished["folder"]).glob("true-*"))


def test_what_cannot_be_scored_is_said_in_one_sentence(finished: dict[str, Any], tmp_path: Path) -> None:
    small, other = tmp_path / "00001.png", tmp_path / "notes.png"
    write_mask(small, np.ones((4, 4), np.uint8))
    write_mask(other, np.ones((96, 128), np.uint8))
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    entry = zip_of([small], tmp_path / "wrong.zip", "../")
    twice = zip_of(true_masks(tmp_path / "a", range(1)), tmp_path / "twice.zip")
    for paths, message in (
        ([small], "The true mask of frame 1 is 4x4, but the clip is 128x96."),
        ([other], "No mask has the name of a frame"),
        ([tmp_path / "broken.zip"], "broken.zip cannot be read: the zip file is damaged."),
        ([twice, tmp_path / "a" / "00000.png"], "Two true masks are for frame 0."),
    ):
        page = scored(finished, *paths)
        assert message in page["scored"] and "flags" not in page and str(tmp_path) not in page["scored"]
    (tmp_path / "00002.png").write_text("no image")
    unreadable = zip_of([tmp_path / "00002.png"], tmp_path / "unreadable.zip")
    assert "The true mask of frame 2 cannot be read as a mask." in scored(finished, unreadable)["scored"]
    scored(finished, entry)
    assert not (Path(finished["folder"]).parent / "00001.png").exists()
    sessions.request_job(finished, "run")
    assert "in progress" in scored(finished, small)["scored"]


def test_several_zips_are_scored_together_and_long_names_are_no_paths(finished: dict[str, Any], tmp_path: Path) -> None:
    files = true_masks(tmp_path / "true", range(12))
    zips = [zip_of(files[:5], tmp_path / "a.zip"), zip_of(files[5:], tmp_path / "b.zip")]
    with zipfile.ZipFile(zips[0], "a") as archive:
        archive.writestr("x" * 300 + ".png", b"")
    assert "12 frames scored, of 12" in scored(finished, *zips)["scored"]


@pytest.mark.parametrize("over", [False, True])
def test_scoring_gives_way_to_a_run(
    finished: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    measured = []

    def measure(truth: Any, mask: Any) -> float:
        measured.append(truth)
        sessions.request_job(finished, "run")  # meanwhile
        if over:  # it has removed the result that is scored
            project = sessions.project_of(finished)
            project.set_latest_results(project.new_results_folder())
            sessions.end_job(finished)
        return 1.0

    monkeypatch.setattr("webapp.true_masks.region_similarity", measure)
    page = scored(finished, *true_masks(tmp_path / "true", range(12)))
    assert "in progress" in page["scored"] and "flags" not in page and len(measured) == 1


def test_the_time_is_looked_at_after_each_object(
    finished: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "00000.png", np.arange(96 * 128).reshape(96, 128).astype(np.uint8) % 200)
    monkeypatch.setattr(scoring_view, "_MAX_SECONDS", 0)
    monkeypatch.setattr("webapp.true_masks.region_similarity", lambda *_: pytest.fail("scored after the limit"))
    assert "longer than the limit" in scored(finished, tmp_path / "00000.png")["scored"]


def test_a_new_result_removes_the_true_masks_of_the_one_before(finished: dict[str, Any]) -> None:
    sessions.project_of(finished).save(Settings())
    updates = result_updates(finished)
    assert updates["true_masks"] is None and updates["scored"] == ""


def test_a_visitor_scores_a_result(page_url: str, tmp_path: Path) -> None:
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 1500})
        page.goto(page_url)
        take_example(page, "Street")
        page.get_by_role("button", name="Score it here").click()
        with zipfile.ZipFile("examples/results/street/masks.zip") as archive:
            archive.extractall(tmp_path)
        page.get_by_label("number input for Frame", exact=True).fill("8")
        page.keyboard.press("Tab")
        expect(page.locator(".plot-now")).to_have_text("frame 8")
        archive_path = zip_of(sorted((tmp_path / "masks").iterdir())[:9], tmp_path / "true.zip")
        page.locator("#true-masks input[type=file]").set_input_files(archive_path)
        expect(page.locator("#scored")).to_contain_text("9 frames scored, of 9", timeout=60_000)
        cells = page.locator("#scored table").first.locator("td").all_inner_texts()
        assert cells == ["1.000"] * 9  # the result against itself
        expect(page.get_by_text("J: overlap with the true masks")).to_be_visible()
        expect(page.locator(".plot-now")).to_have_text("frame 8")
        page.get_by_text("Each frame").click()
        expect(page.locator(".score-frames tbody tr")).to_have_count(9)
        assert re.fullmatch(r"8\s.*", page.locator(".score-frames tbody tr").last.inner_text())
