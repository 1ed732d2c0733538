"""The page's handlers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image as Pictures

from mamp import Result, Settings, VideoReader, write_mask
from mamp.masks.palette import mask_to_strokes, strokes_to_mask
from tests.conftest import Image, overlap, scene, write_clip
from webapp import api as endpoint
from webapp import clips as opening
from webapp import mask_editing as painting
from webapp import results_view as results
from webapp import run_handler as running
from webapp import session as visits
from webapp import settings_controls as choices
from webapp.html import say
from webapp.project import Project

CHOSEN = (
    choices.QUICK_LOOK,
    "Off",
    next(iter(choices.MEMORY)),
    "Colour patches, untrained",
    "As voted, as in the paper",
    "By likeness alone, as in the paper",
    36,
    12,
)
STATUS, GIVEN, VIDEO, FILES, REVIEW = 1, 2, 6, 7, 10  # where they stand in what a run yields


@pytest.fixture
def session(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return opening.open_clip(str(clip), {})[0]


def editor(session: dict[str, Any], mask: Image | None = None) -> dict[str, Any]:
    """What the editor sends: the chosen frame, and this mask painted on it."""
    with Pictures.open(painting.shown_frame(session)["background"]) as picture:
        background = np.asarray(picture.convert("RGBA"))
    mask = np.zeros(background.shape[:2], np.uint8) if mask is None else mask
    return {
        "background": background,
        "layers": [mask_to_strokes(mask, painting.colors_for(mask))],
        "composite": None,
    }


def start(session: dict[str, Any], painted: Any, opacity: float = 0.4) -> Iterator[tuple[Any, ...]]:
    return running.run(None, session, painted, opacity, ["Outline"], *CHOSEN)


def words(update: tuple[Any, ...]) -> str:
    return str(update[STATUS])


def test_a_run_gives_video_masks_and_receipt(session: dict[str, Any]) -> None:
    last = list(start(session, editor(session, scene(0)[1])))[-1]
    assert "Done: 12 of 12 frames" in words(last)
    assert Path(last[VIDEO]).name == "overlay.mp4" and all(Path(file).exists() for file in last[FILES])
    assert {Path(file).suffix for file in last[FILES]} == {".mp4", ".zip", ".json", ".csv"}
    assert "<svg" in last[REVIEW] and "segment_video" in last[REVIEW + 1]
    frame, laid = results.look_at(session, 5, 0.4, ["Outline"])
    assert frame.shape == laid.shape == (96, 128, 3) and (frame != laid).any()


def test_every_update_has_the_same_shape(session: dict[str, Any]) -> None:
    updates = [
        *start(session, editor(session)),
        *start(session, editor(session, scene(0)[1])),
        *start({}, None),
    ]
    assert {len(update) for update in updates} == {15}


def test_running_without_a_painted_object_says_what_is_missing(session: dict[str, Any]) -> None:
    assert "Paint at least one object" in words(next(iter(start(session, editor(session)))))
    emptied = {"background": None, "layers": [np.zeros((800, 800, 4), np.uint8)], "composite": None}
    assert "Paint at least one object" in words(next(iter(start(session, emptied))))


def test_stop_ends_the_run_and_keeps_what_is_done(session: dict[str, Any]) -> None:
    updates = start(session, editor(session, scene(0)[1]))
    next(updates)
    running.ask_to_stop(session)
    assert "Stopped" in words(list(updates)[-1])


class LentGpu:
    """A stand-in for the ``spaces`` package: it notes what is asked for, and refuses after some loans."""

    def __init__(self, loans: int) -> None:
        self.loans, self.durations = loans, list[int]()

    def GPU(self, *, duration: Callable[..., int]) -> Callable[[Any], Any]:  # noqa: N802 (its name)
        def decorate(work: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            def lent(*given: Any) -> Iterator[Any]:
                if len(self.durations) == self.loans:
                    raise gr.Error("You have used up your minutes.")
                self.durations.append(duration(*given))
                yield from work(*given)

            return lent

        return decorate


@pytest.fixture
def lent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LentGpu:
    gpu = LentGpu(request.param)
    monkeypatch.setattr(running, "spaces", gpu)
    monkeypatch.setattr(running, "ON_LOAN", True)
    monkeypatch.setattr(running, "GPU_SECONDS_AT_ONCE", running.GPU_SECONDS_TO_START + 5.5)
    monkeypatch.setattr(running, "gpu_seconds_a_frame", lambda *_: 1.0)
    monkeypatch.setattr(running, "work_on_gpu", running.on_gpu(running.work))
    return gpu


@pytest.mark.parametrize("lent", [9], indirect=True)
def test_a_lent_gpu_is_asked_for_part_by_part(session: dict[str, Any], lent: LentGpu) -> None:
    last = list(start(session, editor(session, scene(0)[1])))[-1]
    assert "Done: 12 of 12 frames" in words(last)
    assert lent.durations == [15, 15, 15]
    result = visits.project_of(session).result
    assert result is not None and VideoReader(result.overlay).count() == 12
    parts = [path.read_bytes() for path in sorted(result.masks_dir.iterdir())]

    running.ON_LOAN = False  # undone by the fixture
    visits.project_of(session).new_results()
    (visits.project_of(session).folder / "results.txt").unlink()
    list(start(session, editor(session, scene(0)[1])))
    whole = visits.project_of(session).result
    assert whole is not None and parts == [path.read_bytes() for path in sorted(whole.masks_dir.iterdir())]


@pytest.mark.parametrize("lent", [2], indirect=True)
def test_what_was_done_before_the_minutes_ran_out_is_kept(session: dict[str, Any], lent: LentGpu) -> None:
    last = list(start(session, editor(session, scene(0)[1])))[-1]
    assert "used up your minutes" in words(last) and "What was done is kept" in words(last)
    result = visits.project_of(session).result
    assert result is not None and VideoReader(result.overlay).count() == result.frames == 11
    lent.loans = 3
    assert "Done: 12 of 12 frames" in words(list(start(session, editor(session, scene(0)[1])))[-1])


@pytest.mark.parametrize("lent", [0], indirect=True)
def test_a_gpu_that_is_not_lent_is_told_in_words(session: dict[str, Any], lent: LentGpu) -> None:
    last = list(start(session, editor(session, scene(0)[1])))[-1]
    assert "used up your minutes" in words(last) and "kept" not in words(last)


def test_a_lent_gpu_is_asked_for_by_frames_and_pixels(session: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = Settings(short_side=48), Settings(short_side=0)
    assert running.gpu_seconds_a_frame(session, small) <= running.gpu_seconds_a_frame(session, large)
    assert running.frames_at_once(session, small) >= running.frames_at_once(session, large) > 100
    monkeypatch.setattr(running, "ON_LOAN", True)
    assert "seconds of a GPU" in running.forecast(session, *choices.USUAL)


def test_any_frame_can_be_painted(session: dict[str, Any]) -> None:
    session, _shown, at, listing = painting.go_to(session, editor(session), 6)
    assert at["value"] == session["at"] == 6 and "Masks given" not in listing
    last = list(start(session, editor(session, scene(6)[1])))[-1]
    assert "Done: 12 of 12 frames" in words(last) and "Frame 6" in last[GIVEN]
    assert overlap(visits.project_of(session).mask(0), scene(0)[1]) > 0.8


def test_a_result_is_corrected_on_its_frame(session: dict[str, Any]) -> None:
    list(start(session, editor(session, scene(0)[1])))
    session = painting.go_to(session, editor(session, scene(0)[1]), 8)[0]
    assert list(visits.project_of(session).input_masks) == [0]
    found = visits.project_of(session).mask(8)
    layer = painting.lay_strokes(session)["layers"][0]
    assert np.array_equal(strokes_to_mask(layer, painting.colors_for(None)), found)

    session = painting.go_to(session, editor(session, found), 9)[0]
    assert list(visits.project_of(session).input_masks) == [0], "a mask that was only looked at is not given"
    session = painting.go_to(session, editor(session), 8)[0]
    session = painting.go_to(session, editor(session, np.where(scene(8)[1], 2, 0).astype(np.uint8)), 0)[0]
    assert list(visits.project_of(session).input_masks) == [0, 8]


def test_strokes_of_another_frame_are_not_taken(session: dict[str, Any]) -> None:
    late = editor(session, scene(0)[1])
    session["at"] = 7  # the editor still shows frame 0
    painting.keep_strokes(session, late)
    assert not visits.project_of(session).input_masks


def test_a_mask_file_is_taken_and_explained(session: dict[str, Any], tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Pictures.fromarray(scene(0)[1][::2, ::2] * np.uint8(255)).save(small)
    _, said, listing = painting.take_mask_file(session, None, str(small))
    assert "frame 0: 1 object; scaled from 64x48" in said and "Frame 0" in listing
    assert overlap(visits.project_of(session).mask(0), scene(0)[1]) > 0.9
    Pictures.fromarray(np.zeros((96, 128), np.uint8)).save(small)
    assert "names no object" in painting.take_mask_file(session, None, str(small))[1]
    small.write_text("no picture")
    assert "cannot be read as an image" in painting.take_mask_file(session, None, str(small))[1]


def test_a_box_adds_an_object(session: dict[str, Any]) -> None:
    painting.fill_box(session, editor(session), 1, 10, 10, 50, 50)
    _, said, _listing = painting.fill_box(session, editor(session), 12, 60, 50, 100, 90)
    assert "Object 12 takes" in said
    assert set(np.unique(visits.project_of(session).mask(0))) == {0, 1, 12}
    layer = painting.lay_strokes(session)["layers"][0]
    assert 12 in strokes_to_mask(layer, painting.colors_for(visits.project_of(session).mask(0)))
    assert "does not lie in the frame" in painting.fill_box(session, editor(session), 1, 5, 5, 900, 9)[1]


def test_the_bin_takes_a_mask_back(session: dict[str, Any]) -> None:
    session = painting.go_to(session, editor(session, scene(0)[1]), 0)[0]
    assert list(visits.project_of(session).input_masks) == [0]
    shown, listing = painting.clear_frame(session)
    assert (
        Path(shown["background"]).exists()
        and not visits.project_of(session).input_masks
        and "Masks given" not in listing
    )


def test_a_clip_that_is_none_or_too_long_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert "cannot be read" in opening.open_clip(str(text), {})[3]
    monkeypatch.setattr(opening, "MAX_FRAMES", 3)
    long = write_clip(tmp_path / "long.mp4", [scene(t)[0] for t in range(5)])
    _, _, _, said, *_, part, first, last = opening.open_clip(str(long), {})[:10]
    assert "limit here is 3" in said and part["visible"] and part["open"]
    assert (first["value"], last["value"]) == (0, 2)
    monkeypatch.setattr(opening, "MAX_CLIP", 4)
    visits.reader_of.cache_clear()
    assert "more than 4 frames" in opening.open_clip(str(long), {})[3]


def test_a_part_of_a_clip_that_is_too_long_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(opening, "MAX_FRAMES", 6)
    long = write_clip(tmp_path / "long.mp4", [scene(t)[0] for t in range(15)], sound="aac")
    session, *_ = opening.take_part(str(long), {}, 5, 9)
    assert session["frames"] == 5
    reader = VideoReader(session["clip"])
    assert reader.info.has_audio and float(reader.time(4)) == pytest.approx(0.16)
    first = next(iter(reader)).image.astype(int)
    assert np.abs(first - scene(5)[0]).mean() < np.abs(first - scene(4)[0]).mean()
    for wrong in ((0, 14), (9, 5), (12, 15)):
        refused = opening.take_part(str(long), {}, *wrong)
        assert refused[0] == {} and "bad" in refused[3]
    assert len(list(tmp_path.glob("mamp-session-*"))) == 1


def test_nothing_is_done_before_there_is_a_clip() -> None:
    assert painting.shown_frame({}) is None
    assert painting.go_to({}, None, 3)[0] == {}
    assert "Choose a clip first" in painting.take_mask_file({}, None, None)[1]
    assert "Choose a clip first" in painting.fill_box({}, None, 1, 0, 0, 9, 9)[1]


def test_a_new_clip_removes_what_the_old_one_left(session: dict[str, Any], clip: Path) -> None:
    opening.open_clip(str(clip), session)
    assert not Path(session["folder"]).exists()


def test_words_from_outside_are_no_markup() -> None:
    assert "<script>" not in say("<script>")


def test_an_example_comes_with_its_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    _, session, shown, empty, said, *_, group, video, _files, _at, _seen, _checks, _a, _b, _c, _p = (
        opening.open_example("shapes", {})
    )
    assert "finished run" in said and group["visible"] and Path(video).exists()
    assert Path(shown["value"]["background"]).exists() and not empty["visible"]
    layer = painting.lay_strokes(session)["layers"][0]
    assert set(np.unique(strokes_to_mask(layer, painting.colors_for(None)))) == {0, 1, 2, 3}


def test_an_example_that_is_run_again_is_the_run_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for clip in opening.EXAMPLES.glob("*.mp4"):
        session = opening.open_example(clip.stem, {})[1]
        last = list(running.run(None, session, None, 0.45, results.LOOK, *choices.USUAL))[-1]
        count = session["frames"]
        assert f"Done: {count} of {count} frames" in words(last) and f"{count} taken over" in words(last)


def test_another_clip_hides_the_results_of_the_last(session: dict[str, Any], clip: Path) -> None:
    list(start(session, editor(session, scene(0)[1])))
    assert opening.open_clip(str(clip), session)[10] == {"visible": False, "__type__": "update"}


def test_products_are_made_of_the_last_run(session: dict[str, Any]) -> None:
    assert "Run first" in list(results.make(session, next(iter(results.PRODUCTS))))[-1][1]
    list(start(session, editor(session, scene(0)[1])))
    for product in results.PRODUCTS:
        made, said = list(results.make(session, product))[-1]
        assert Path(made["value"]).stat().st_size > 1000 and "is ready" in said


def test_a_project_file_brings_back_masks_names_and_settings(
    session: dict[str, Any], clip: Path, tmp_path: Path
) -> None:
    assert "clip first" in painting.take_project_file({}, None, "x")[0]
    list(start(session, editor(session, scene(0)[1])))
    visits.project_of(session).rename({1: "disk"})
    kept = tmp_path / "kept.zip"
    visits.project_of(session).save(choices.settings_of(*CHOSEN))
    kept.write_bytes((Path(session["folder"]) / "project.zip").read_bytes())
    other = opening.open_clip(str(clip), session)[0]
    said, shown, listing, *chosen = painting.take_project_file(other, None, str(kept))
    assert "1 mask" in said and shown and "disk" in listing and tuple(chosen) == CHOSEN
    kept.write_text("nothing")
    assert "is no project file" in painting.take_project_file(other, None, str(kept))[0]


def test_presets_fill_every_control() -> None:
    for settings in choices.PRESETS.values():
        assert choices.settings_of(*choices.as_chosen(settings)) == replace(settings, raft_weights=choices.RAFT)


def test_settings_from_outside_are_bounded_and_keep_this_pages_weights() -> None:
    wild = Settings(short_side=-5, top_k=-3, radius=999, long_term=tuple(range(900)), weights="/etc/passwd", device="x")
    tame = choices.allowed(wild)
    assert (tame.short_side, tame.top_k, tame.radius, tame.weights, tame.device) == (0, 1, 24, choices.WEIGHTS, "auto")
    assert (tame.long_term, tame.short_term) == (Settings().long_term, Settings().short_term)
    assert choices.allowed(choices.PRESETS["Paper"]).long_term == (0, 5)
    assert choices.allowed(choices.PRESETS["Paper"]).logit_adjustment == 0
    assert choices.allowed(Settings(discriminant_weight=float("nan"), logit_adjustment=1e9)) == choices.allowed(
        Settings()
    )


def test_the_endpoint_takes_a_mask_or_a_project_and_says_what_is_wrong(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    mask = tmp_path / "mask.png"
    write_mask(mask, scene(0)[1])
    files = endpoint.segment(str(clip), str(mask), short_side=64, flow="none")
    assert [Path(file).name for file in files][:2] == ["overlay.mp4", "masks.zip"]
    project = Project(tmp_path / "p", clip)
    project.give(3, scene(3)[1])
    again = endpoint.segment(str(clip), str(project.save(Settings(short_side=64, flow="none"))))
    assert Result(Path(again[0]).parent).receipt["input_masks"] == [3]
    for wrong, message in (({"frame": 99}, "frames 0 to 11"), ({"flow": "x"}, "flow must be one of")):
        with pytest.raises(gr.Error, match=message):
            endpoint.segment(str(clip), str(mask), **wrong)  # type: ignore[arg-type]
