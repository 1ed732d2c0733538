"""The page's handlers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app
from tests.conftest import scene, write_clip

SETTINGS = (next(iter(app.SIZES)), "Off", "Colour patches, untrained")


@pytest.fixture
def visit(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return app.open_clip(str(clip), {})[0]


def painted(visit: dict[str, Any]) -> dict[str, Any]:
    strokes = app.mask_to_strokes(scene(0)[1], app.OBJECT_COLOURS.tolist())
    return {**app.first_frame(visit), "layers": [strokes]}


def words(update: tuple[Any, ...]) -> str:
    return str(update[1])


def test_a_run_gives_video_masks_and_receipt(visit: dict[str, Any]) -> None:
    last = list(app.run(visit, painted(visit), *SETTINGS))[-1]
    assert "Done: 12 of 12 frames" in words(last)
    assert Path(last[2]).name == "overlay.mp4" and all(Path(file).exists() for file in last[3])
    assert app.look(visit, 5).shape == (96, 128, 3)


def test_every_update_has_the_same_shape(visit: dict[str, Any]) -> None:
    nothing = app.first_frame(visit)
    updates = [
        *app.run(visit, painted(visit), *SETTINGS),
        *app.run(visit, nothing, *SETTINGS),
        *app.run({}, None, *SETTINGS),
    ]
    assert {len(update) for update in updates} == {9}


def test_running_without_a_painted_object_says_what_is_missing(visit: dict[str, Any]) -> None:
    assert "Paint at least one object" in words(next(iter(app.run(visit, app.first_frame(visit), *SETTINGS))))
    emptied = {"background": None, "layers": [np.zeros((800, 800, 4), np.uint8)], "composite": None}
    assert "Paint at least one object" in words(next(iter(app.run(visit, emptied, *SETTINGS))))


def test_stop_ends_the_run_and_keeps_what_is_done(visit: dict[str, Any]) -> None:
    updates = app.run(visit, painted(visit), *SETTINGS)
    next(updates)
    app.ask_to_stop(visit)
    assert "Stopped" in words(list(updates)[-1])


def test_a_clip_that_is_none_or_too_long_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert "cannot be read" in app.open_clip(str(text), {})[2]
    monkeypatch.setattr(app, "MAX_FRAMES", 3)
    long = write_clip(tmp_path / "long.mp4", [scene(t)[0] for t in range(5)])
    assert "limit here is 3" in app.open_clip(str(long), {})[2]


def test_a_new_clip_removes_what_the_old_one_left(visit: dict[str, Any], clip: Path) -> None:
    app.open_clip(str(clip), visit)
    assert not Path(visit["folder"]).exists()


def test_words_from_outside_are_no_markup() -> None:
    assert "<script>" not in app.say("<script>")


def test_an_example_is_painted_until_the_bin_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    _, visit, editor, *_ = app.open_example("shapes", {})
    assert Path(editor["background"]).exists()
    layer = app.lay_strokes(visit)["layers"][0]
    assert set(np.unique(app.strokes_to_mask(layer, app.OBJECT_COLOURS.tolist()))) == {0, 1, 2, 3}
    visit, editor = app.restore_frame(visit)
    assert "layers" not in app.lay_strokes(visit) and Path(editor["background"]).exists()
