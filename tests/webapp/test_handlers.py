"""The event handlers of the page."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image as Pictures

from mamp import Result, Settings, VideoReader, write_mask
from mamp.interactive.strokes import OUTSIDE
from mamp.video.writer import VideoWriter
from tests.conftest import Image, overlap, scene, write_clip
from webapp import (
    api,
    clips,
    jobs,
    mask_completion,
    mask_editing,
    mask_files,
    results_view,
    run_handler,
    segmenters,
    settings_controls,
)
from webapp import session as sessions
from webapp.html import status_html
from webapp.label_runs import mask_to_runs, runs_to_mask
from webapp.languages import TEXTS
from webapp.project import Project

CHOSEN = settings_controls.control_values(
    replace(Settings.paper(), short_side=240, flow="none", motion="chained", long_term=(0, 5, 10, 20), weights="patch")
)
START = settings_controls.control_values(settings_controls.START)


@pytest.fixture
def session(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return clips.open_clip({}, str(clip))["session"]


def editor(session: dict[str, Any], mask: Image | None = None) -> dict[str, Any]:
    """The editor's value: the current frame, and this mask painted on it."""
    shown = mask_editing.editor_frame(session)
    assert shown is not None
    edit = {"frame": shown["frame"], "revision": shown["revision"], "stroke": shown["stroke"] + 1}
    edits = [] if mask is None else [{**edit, "mask": mask_to_runs(mask)}]
    return {"frame": shown["frame"], "edits": edits}


def shown_mask(session: dict[str, Any]) -> Image:
    """The mask that the editor shows."""
    shown = mask_editing.editor_frame(session)
    assert shown is not None
    return runs_to_mask(shown["mask"], (shown["height"], shown["width"]))


def start(session: dict[str, Any], painted: Any, opacity: float = 0.4, chosen: Any = CHOSEN) -> Iterator[Any]:
    """What a click on Run yields."""
    jobs.claim_job(session, "run")
    return run_handler.run(session, painted, opacity, ["Outline"], *chosen.values())


def finished(session: dict[str, Any], painted: Any, chosen: Any = CHOSEN) -> dict[str, Any]:
    """What the page shows after a run."""
    shown: dict[str, Any] = {}
    for update in start(session, painted, chosen=chosen):
        shown |= update
    return shown


def export(session: dict[str, Any], export_format: str) -> dict[str, Any]:
    """What the page shows after an export."""
    shown: dict[str, Any] = {}
    jobs.claim_job(session, "export")
    for update in results_view.prepare_export(session, export_format):
        shown |= update
    return shown


def status(update: dict[str, Any]) -> str:
    return str(update["status"])


@pytest.mark.parametrize(
    ("chosen", "weights", "encoder"),
    [
        ("", "mamp-small.safetensors", "width 64, depth 3"),
        ("paper", "mamp-paper.safetensors", "width 64, depth 3"),
        ("table1", "mamp.safetensors", "Table 1"),
    ],
)
def test_the_receipt_of_a_run_says_which_encoder_ran(
    session: dict[str, Any], chosen: str, weights: str, encoder: str
) -> None:
    list(start(session, editor(session, scene(0)[1]), chosen={**CHOSEN, "weights": chosen}))
    result = sessions.project_of(session).result
    assert result is not None
    assert (result.receipt["weights"], result.receipt["encoder"]) == (weights, encoder)


def test_a_run_returns_video_masks_and_receipt(session: dict[str, Any]) -> None:
    last = finished(session, editor(session, scene(0)[1]))
    assert "Done: 12 of 12 frames" in status(last)
    assert Path(last["result_video"]).name == "overlay.mp4" and all(Path(file).exists() for file in last["files"])
    assert {Path(file).suffix for file in last["files"]} == {".mp4", ".zip", ".json", ".csv"}
    assert "<svg" in last["flags"] and "segment_video" in last["python"]
    frame, overlaid = results_view.show_frame(session, 0.4, ["Outline"], {"frame": 5})["comparison"]
    assert frame.shape == overlaid.shape == (96, 128, 3) and (frame != overlaid).any()
    result = sessions.project_of(session).result
    assert result is not None and [path.name for path in result.memory_dir.iterdir()] == ["forwards-000010.npz"]


def test_objects_start_on_the_frame_of_their_first_mask_unless_it_is_the_earliest(session: dict[str, Any]) -> None:
    added = np.zeros((96, 128), np.uint8)
    added[5:25, 90:120] = 2
    for index, mask in ((4, scene(4)[1]), (8, added)):
        mask_editing.select_frame(session, None, index)
        mask_editing.save_strokes(session, editor(session, mask))
    finished(session, None)
    result = sessions.project_of(session).result
    assert result is not None
    tracked = [(entry.object, entry.frame) for entry in result.object_frames if entry.area]
    assert sorted(tracked) == [*((1, index) for index in range(12)), *((2, index) for index in range(8, 12))]
    said = TEXTS["en"]["paint.frame_info"]
    assert "from that frame on" in said and "Only the objects of your earliest mask are also tracked backwards" in said


def test_the_speed_of_a_run_that_tracked_enough_frames_is_taken_for_later_estimates(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[Any] = []
    monkeypatch.setattr(run_handler, "learn_speed", lambda *of: learned.append(of[2:]))
    finished(session, editor(session, scene(0)[1]))
    assert [(size, objects) for size, objects, _ in learned] == [((96, 128), 1)] and learned[0][2] > 0
    finished(session, None)  # it reuses all masks
    assert len(learned) == 1


def test_the_end_of_a_run_tells_that_masks_were_changed_meanwhile(session: dict[str, Any]) -> None:
    changed = "The masks were changed during the run"
    running = start(session, editor(session, scene(0)[1]))
    shown = next(update for update in running if "Frame 1 of 12" in status(update))
    mask_editing.select_frame(session, None, 4)
    mask_editing.save_strokes(session, editor(session, scene(4)[1]))
    for update in running:
        shown |= update
    assert changed in status(shown)
    assert changed not in status(finished(session, None))


def test_what_was_removed_from_a_mask_comes_back_unless_the_frame_was_edited(session: dict[str, Any]) -> None:
    two = np.where(scene(0)[1], 1, 0).astype(np.uint8)
    two[:10, :10] = 2
    mask_editing.save_strokes(session, editor(session, two))
    removed = mask_editing.remove_from_mask(session, None, gr.EventData(None, {"frame": 0, "object": 2}))
    assert "Object 2 was removed from frame 0. <button" in removed["masks"] and "data-undo" in removed["masks"]
    assert "Ready to run" in status(removed), "the sentence is there once"
    assert "The mask of frame 0 is back." in status(mask_editing.undo_removal(session, None))
    assert np.array_equal(shown_mask(session), two) and "data-undo" not in mask_editing.masks_html(session)

    whole = mask_editing.remove_from_mask(session, None, gr.EventData(None, {"frame": 0, "object": 0}))
    assert "data-undo" in whole["masks"] and "Paint at least one object" in status(whole)
    mask_editing.save_strokes(session, editor(session, scene(0)[1]))
    assert "data-undo" not in mask_editing.masks_html(session)
    assert "status" not in mask_editing.undo_removal(session, None)
    assert np.array_equal(shown_mask(session), scene(0)[1])


def test_a_refused_clip_brings_its_message_into_view(session: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    refused = clips.open_clip(session, str(tmp_path / "broken.mp4"))
    assert "broken.mp4 cannot be read: it is no video, or it is damaged or incomplete." in status(refused)
    assert refused["scroll"]["to"] == "status" and refused["clip"] is None, "no player that shows nothing"


def test_running_without_a_painted_object_reports_what_is_missing(session: dict[str, Any]) -> None:
    assert "Paint at least one object" in status(finished(session, editor(session)))
    assert "Paint at least one object" in status(finished(session, editor(session, np.zeros((96, 128), np.uint8))))


def test_the_page_says_that_it_downloads_the_optical_flow_and_why_it_cannot(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def download(*args: Any, **kwargs: Any) -> str:
        attempts.append(args)
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr("webapp.settings_controls.RAFT", "somebody/raft")
    chosen = {**CHOSEN, "flow": "raft"}
    finished(session, editor(session, scene(0)[1]))
    assert "RAFT is downloaded first" in run_handler.estimate_text(session, *chosen.values())
    updates = list(start(session, None, chosen=chosen))
    said = [status(update) for update in updates if "status" in update]
    assert not any("Frame" in sentence for sentence in said) and "could not be downloaded" in said[-1]
    assert len(attempts) == 1, "an attempt without a network takes half a minute"
    assert updates[-1]["results"]["visible"], "the result of the run before is hidden"


def test_stop_does_not_wait_for_the_download_of_the_optical_flow(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, requests = Event(), []

    def download(*args: Any, **kwargs: Any) -> str:
        requests.append(args)
        assert over.wait(60)
        return str(tmp_path / "raft.pt")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr("webapp.settings_controls.RAFT", "somebody/raft")
    updates = start(session, editor(session, scene(0)[1]), chosen={**CHOSEN, "flow": "raft"})
    while "Downloading RAFT" not in next(updates).get("status", ""):
        pass
    try:
        jobs.cancel_job(session)
        assert "Stopped." in status(list(updates)[-1]) and not over.is_set() and len(requests) == 1
        assert not sessions.has_job(session)
    finally:
        over.set()


@pytest.mark.parametrize(
    ("language", "opened", "estimated", "ended"),
    [
        ("en", "1 frame, 128x96", "for 1 frame on", "1 of 1 frame,"),
        ("de", "1 Bild, 128x96", "für 1 Bild auf", "1 von 1 Bild,"),
        ("es", "1 fotograma, 128x96", "para 1 fotograma en", "1 de 1 fotograma,"),
        ("zh", "1 帧，128x96", "1 帧大约需要", "1/1 帧，"),
    ],
)
def test_a_clip_of_one_frame_is_counted_in_the_singular(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, opened: str, estimated: str, ended: str
) -> None:
    monkeypatch.setattr("webapp.languages.visitor_language", lambda: language)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    updates = clips.open_clip({}, str(write_clip(tmp_path / "one.mp4", [scene(0)[0]])))
    session = updates["session"]
    assert opened in status(updates)
    assert estimated in run_handler.estimate_text(session, *CHOSEN.values())
    assert ended in status(finished(session, editor(session, scene(0)[1])))


def test_the_request_to_paint_goes_once_something_is_painted(session: dict[str, Any]) -> None:
    finished(session, editor(session))
    updates = mask_completion.save_and_complete(session, editor(session, scene(0)[1]))
    assert any("Ready to run" in str(update.get("status")) for update in updates)


def test_stop_ends_the_run_and_keeps_finished_frames(session: dict[str, Any]) -> None:
    updates = start(session, editor(session, scene(0)[1]))
    next(updates)
    assert not jobs.cancel_job(session), "an answer to the click may come after the last updates of the run"
    assert "Stopped" in status(list(updates)[-1])


def test_any_frame_can_be_painted(session: dict[str, Any]) -> None:
    updates = mask_editing.jump_to_frame(session, editor(session), 6)
    assert updates["frame"]["value"] == updates["editor"]["frame"] == session["frame"] == 6
    assert updates["editor"]["reveal"] and "Input masks" not in updates["masks"]
    last = finished(session, editor(session, scene(6)[1]))
    assert "Done: 12 of 12 frames" in status(last) and "Frame 6" in last["masks"]
    assert overlap(sessions.project_of(session).mask(0), scene(0)[1]) > 0.8


def test_a_result_can_be_corrected_on_any_frame(session: dict[str, Any]) -> None:
    finished(session, editor(session, scene(0)[1]))
    mask_editing.select_frame(session, editor(session, scene(0)[1]), 8)
    assert list(sessions.project_of(session).input_masks) == [0]
    assert np.array_equal(shown_mask(session), sessions.project_of(session).mask(8))

    mask_editing.select_frame(session, editor(session), 9)
    assert list(sessions.project_of(session).input_masks) == [0], "a mask that was only viewed became an input mask"
    mask_editing.select_frame(session, editor(session), 8)
    mask_editing.select_frame(session, editor(session, np.where(scene(8)[1], 2, 0).astype(np.uint8)), 0)
    assert list(sessions.project_of(session).input_masks) == [0, 8]


def test_a_correction_that_is_undone_leaves_the_mask_of_the_run(session: dict[str, Any]) -> None:
    finished(session, editor(session, scene(0)[1]))
    project, corrected = sessions.project_of(session), np.where(scene(8)[1], 2, 0).astype(np.uint8)
    tracked = {}
    for index in (0, 8):
        mask_editing.select_frame(session, editor(session), index)
        tracked[index] = shown_mask(session)
    for mask in (corrected, np.zeros_like(corrected)):  # painted, or cleared
        mask_editing.save_strokes(session, editor(session, mask))
        assert list(project.input_masks) == ([0, 8] if mask.any() else [0])
        mask_editing.save_strokes(session, editor(session, tracked[8]))
        assert list(project.input_masks) == [0]
        np.testing.assert_array_equal(shown_mask(session), tracked[8])
    mask_editing.select_frame(session, editor(session), 0)
    mask_editing.save_strokes(session, editor(session, corrected))
    mask_editing.save_strokes(session, editor(session, tracked[0]))
    assert list(project.input_masks) == [0], "an input mask of the run was taken for a tracked one"


def test_strokes_that_arrive_late_or_out_of_order_stay_on_their_frame(session: dict[str, Any]) -> None:
    project, first = sessions.project_of(session), editor(session, scene(0)[1])
    mask_editing.select_frame(session, editor(session), 7)
    mask_editing.save_strokes(session, first)  # painted while frame 7 was on its way
    assert list(project.input_masks) == [0]

    edit = first["edits"][0]
    second = {**edit, "stroke": 2, "mask": mask_to_runs(scene(3)[1])}
    mask_editing.save_strokes(session, {"frame": 0, "edits": [second]})
    mask_editing.save_strokes(session, {"frame": 0, "edits": [edit]})
    assert np.array_equal(project.mask(0), scene(3)[1]), "an earlier stroke replaced a later one"


def file_removed(path: Path | None = None) -> gr.EventData:
    """A click on the x of the box of mask files, or on that of one file."""
    return gr.EventData(None, None if path is None else {"path": str(path)})


def test_the_x_of_a_mask_file_takes_its_mask_away_and_undo_brings_it_back(
    session: dict[str, Any], tmp_path: Path
) -> None:
    mask_editing.save_strokes(session, editor(session, scene(0)[1]))
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    write_mask(one, scene(5)[1])
    write_mask(two, scene(11)[1] * 2)
    mask_files.load_mask_files(session, None, [str(one)])
    mask_files.load_mask_files(session, None, [str(one), str(two)])
    assert set(np.unique(shown_mask(session))) == {0, 1, 2}
    mask_files.remove_mask_files(session, None, [str(one), str(two)], file_removed(two))
    assert np.array_equal(shown_mask(session), scene(5)[1]), "the other file is loaded still"
    both = scene(5)[1].copy()
    both[:8, :8] = 1
    mask_editing.save_strokes(session, editor(session, both))
    removed = mask_files.remove_mask_files(session, None, [], file_removed(one))
    assert np.array_equal(shown_mask(session), scene(0)[1]), "what was painted before the file"
    assert "The mask of the file was removed. <button" in removed["masks"]
    mask_editing.undo_removal(session, None)
    assert np.array_equal(shown_mask(session), both)


def test_the_box_of_mask_files_is_that_of_a_frame(session: dict[str, Any], tmp_path: Path, clip: Path) -> None:
    write_mask(tmp_path / "mask.png", scene(0)[1])
    mask_files.load_mask_files(session, None, [str(tmp_path / "mask.png")])
    assert "mask_file" not in mask_editing.select_frame(session, None, 0)
    assert mask_editing.select_frame(session, None, 4)["mask_file"] is None
    mask_files.remove_mask_files(session, None, None, file_removed())
    assert list(sessions.project_of(session).input_masks) == [0], "an empty box takes nothing away"
    assert clips.open_clip(session, str(clip))["mask_file"] is None
    refused = mask_files.load_mask_files(session, None, [str(clip)])
    assert refused["mask_file"] is None and "cannot be read" in status(refused)


def test_strokes_on_a_mask_that_was_replaced_do_not_bring_it_back(session: dict[str, Any], tmp_path: Path) -> None:
    outdated = editor(session, scene(0)[1])
    write_mask(tmp_path / "mask.png", scene(5)[1])
    mask_files.load_mask_files(session, None, [str(tmp_path / "mask.png")])
    mask_editing.save_strokes(session, outdated)
    assert np.array_equal(sessions.project_of(session).mask(0), scene(5)[1])


def test_values_that_are_not_from_the_editor_are_ignored(session: dict[str, Any]) -> None:
    (edit,) = editor(session, scene(0)[1])["edits"]
    for value in (
        *(None, "", 3, [], {}, {"edits": None}, {"edits": [None, 1, {}]}),
        *({"edits": [{**edit, **wrong}]} for wrong in ({"frame": 99}, {"frame": "0"}, {"stroke": None}, {"mask": "x"})),
        *({"edits": [{**edit, "mask": runs}]} for runs in ([], [1], [0, 1], [0, 96 * 128, 1, 1], [300, 96 * 128])),
    ):
        mask_editing.save_strokes(session, value)
    assert not sessions.project_of(session).input_masks


def test_a_run_that_ends_leaves_a_frame_in_the_editor_that_was_chosen_meanwhile(session: dict[str, Any]) -> None:
    refreshed = mask_editing.refresh_editor(session)["editor"]
    chosen = mask_editing.select_frame(session, None, 5)["editor"]
    assert refreshed["answer"] and not chosen["answer"], "the page drops an answer for another frame than it shows"


def test_a_cleared_frame_stays_clear_after_a_run(session: dict[str, Any]) -> None:
    finished(session, editor(session, scene(0)[1]))
    mask_editing.save_strokes(session, editor(session, np.zeros((96, 128), np.uint8)))
    assert not sessions.project_of(session).input_masks
    mask_editing.select_frame(session, editor(session), 5)
    assert shown_mask(session).any()
    mask_editing.select_frame(session, editor(session), 0)
    assert not shown_mask(session).any()


def test_a_large_frame_is_shown_smaller_and_its_mask_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    large = write_clip(tmp_path / "large.mp4", [scene(0, 1200, 2400)[0]])
    session = clips.open_clip({}, str(large))["session"]
    shown = mask_editing.editor_frame(session)
    assert shown is not None and (shown["width"], shown["height"]) == (2400, 1200)
    with Pictures.open(shown["picture"]["path"]) as picture:
        assert picture.size == (1920, 960)


def test_a_mask_file_is_loaded_and_described(session: dict[str, Any], tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Pictures.fromarray(scene(0)[1][::2, ::2] * np.uint8(255)).save(small)
    updates = mask_files.load_mask_files(session, None, [str(small)])
    assert (
        "frame 0: 1 object" in status(updates)
        and "scaled from 64x48" in status(updates)
        and "Frame 0" in updates["masks"]
    )
    assert overlap(sessions.project_of(session).mask(0), scene(0)[1]) > 0.9
    other = tmp_path / "other.png"
    write_mask(other, 1 - scene(0)[1])
    updates = mask_files.load_mask_files(session, None, [str(small), str(other)])
    assert "frame 0: 2 objects" in status(updates) and "other.png: object 2" in status(updates)
    Pictures.fromarray(np.zeros((96, 128), np.uint8)).save(small)
    assert "contains no object" in status(mask_files.load_mask_files(session, None, [str(small)]))
    small.write_text("no image")
    assert "cannot be read as an image" in status(mask_files.load_mask_files(session, None, [str(small)]))


def test_an_unreadable_or_too_long_clip_is_refused_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert "cannot be read" in status(clips.open_clip({}, str(text)))
    monkeypatch.setattr(clips, "MAX_FRAMES", 3)
    long = write_clip(tmp_path / "long.mp4", [scene(t)[0] for t in range(5)])
    updates = clips.open_clip({}, str(long))
    assert "limit is 3" in status(updates) and updates["trim_panel"]["visible"] and updates["trim_panel"]["open"]
    assert (updates["first_frame"]["value"], updates["last_frame"]["value"]) == (0, 2)
    monkeypatch.setattr(clips, "MAX_CLIP_FRAMES", 4)
    sessions.reader_of.cache_clear()
    assert "more than 4 frames" in status(clips.open_clip({}, str(long)))


def test_a_damaged_clip_opens_with_a_note(tmp_path: Path) -> None:
    clip = tmp_path / "whole.mp4"
    with VideoWriter(clip, None, (96, 128)) as video:
        for t in range(40):
            video.write(scene(t)[0], Fraction(t, 25))
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    assert "damaged" not in status(clips.open_clip({}, str(clip)))
    assert "cut.mp4 is damaged: it breaks off" in status(clips.open_clip({}, str(tmp_path / "cut.mp4")))


def test_a_clip_that_is_too_long_can_be_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(clips, "MAX_FRAMES", 6)
    long = write_clip(tmp_path / "long.mp4", [scene(t)[0] for t in range(15)], sound="aac")
    session = clips.trim_clip({}, str(long), 5, 9)["session"]
    assert session["frames"] == 5 and Path(session["clip"]).name == "long_5-9.mp4"
    reader = VideoReader(session["clip"])
    assert reader.info.has_audio and float(reader.time(4)) == pytest.approx(0.16)
    first = next(iter(reader)).image.astype(int)
    assert np.abs(first - scene(5)[0]).mean() < np.abs(first - scene(4)[0]).mean()
    for wrong in ((0, 14), (9, 5), (12, 15), (None, 3), (3, None)):
        refused = clips.trim_clip(session, str(long), *wrong)
        assert list(refused) == ["status"] and "status error" in status(refused), "the clip that is open stays"
    assert len(list(tmp_path.glob("mamp-session-*"))) == 1


def test_a_new_clip_removes_the_files_of_the_one_before(session: dict[str, Any], clip: Path) -> None:
    clips.open_clip(session, str(clip))
    assert not Path(session["folder"]).exists()


def test_status_text_is_escaped() -> None:
    assert "<script>" not in status_html("<script>")


def test_an_example_opens_with_its_objects_and_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    updates = clips.open_example({}, "shapes")
    session = updates["session"]
    assert "finished result" in status(updates) and updates["results"]["visible"]
    assert Path(updates["result_video"]).exists() and updates["start"]["interactive"]
    assert Path(updates["editor"]["picture"]["path"]).exists() and set(np.unique(shown_mask(session))) == {0, 1, 2, 3}


def test_running_an_example_again_reuses_every_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for clip in clips.EXAMPLES.glob("*.mp4"):
        session = clips.open_example({}, clip.stem)["session"]
        last = finished(session, None, START)
        count = session["frames"]
        assert f"Done: {count} of {count} frames" in status(last) and f"{count} reused" in status(last)


def test_opening_another_clip_hides_the_results(session: dict[str, Any], clip: Path) -> None:
    finished(session, editor(session, scene(0)[1]))
    assert clips.open_clip(session, str(clip))["results"] == {"visible": False, "__type__": "update"}


def test_an_odd_first_mask_is_a_frame_to_review_and_no_message_says_that_all_is_well(session: dict[str, Any]) -> None:
    good = finished(session, editor(session, scene(0)[1]))["flags"]
    assert "No sudden changes found. That says nothing about a mask that is wrong from the start" in good
    line = np.zeros((96, 128), np.uint8)
    line[40:44, 20:110] = 1
    odd = finished(session, editor(session, line))["flags"]
    assert "Object 1 is only a line, about 3 pixels wide" in odd and "No sudden changes" not in odd


def test_every_export_format_is_written_from_the_last_run(session: dict[str, Any]) -> None:
    assert "Run first" in status(export(session, results_view.EXPORT_FORMATS[0]))
    finished(session, editor(session, scene(0)[1]))
    for export_format in results_view.EXPORT_FORMATS:
        updates = export(session, export_format)
        assert Path(updates["exported"]["value"]).stat().st_size > 1000 and "is ready" in status(updates)


def test_a_project_file_restores_masks_names_and_settings(session: dict[str, Any], clip: Path, tmp_path: Path) -> None:
    assert "clip first" in status(mask_editing.load_project_file({}, None, "x"))
    finished(session, editor(session, scene(0)[1]))
    sessions.project_of(session).rename({1: "disk"})
    saved = tmp_path / "saved.zip"
    sessions.project_of(session).save(settings_controls.settings_of(*CHOSEN.values()))
    saved.write_bytes((Path(session["folder"]) / "project.zip").read_bytes())
    other = clips.open_clip(session, str(clip))["session"]
    updates = mask_editing.load_project_file(other, None, str(saved))
    assert "1 mask" in status(updates) and updates["editor"] and "disk" in updates["masks"]
    assert updates["settings"] == CHOSEN
    saved.write_text("nothing")
    assert "is no project file" in status(mask_editing.load_project_file(other, None, str(saved)))


def test_presets_set_every_control() -> None:
    for settings in settings_controls.PRESETS.values():
        assert settings_controls.settings_of(*settings_controls.control_values(settings).values()) == replace(
            settings, raft_weights=settings_controls.RAFT
        )


def test_external_settings_keep_the_weights_and_device_of_the_server() -> None:
    outside = {"weights": "/etc/passwd", "raft_weights": "/etc/passwd", "device": "cuda:7", "execution": "asynchronous"}
    external = replace(Settings.paper(), **outside)
    expected = replace(Settings.paper(), weights=settings_controls.WEIGHTS, raft_weights=settings_controls.RAFT)
    assert settings_controls.with_own_weights(external) == expected
    for shipped in ("paper", "table1", "patch"):
        assert settings_controls.with_own_weights(replace(external, weights=shipped)).weights == shipped


@pytest.mark.parametrize(
    ("name", "value"),
    [("long_term", "0, x"), ("short_term", ", ".join(["1"] * 99)), ("radius", None), ("radius", 999), ("top_k", -3)],
)
def test_a_setting_out_of_range_is_reported_and_starts_no_run(session: dict[str, Any], name: str, value: Any) -> None:
    values, expected = START | {name: value}, f"{settings_controls.ON_PAGE[name].label} must be "
    assert expected in status(finished(session, editor(session, scene(0)[1]), values))
    assert sessions.project_of(session).result is None and not sessions.has_job(session)
    assert expected in run_handler.estimate_text(session, *values.values())


def test_every_setting_of_the_page_has_a_control_with_label_and_help() -> None:
    for name, info in settings_controls.ON_PAGE.items():
        control = settings_controls.settings_control(name)
        label, help = (TEXTS["en"][shown.key] for shown in (control.label, control.info))
        assert label == info.label and info.help in help


def test_the_endpoint_accepts_a_mask_or_a_project_and_reports_errors(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    mask = tmp_path / "mask.png"
    write_mask(mask, scene(0)[1])
    files = api.segment(str(clip), str(mask), short_side=64, flow="none")
    assert [Path(file).name for file in files][:2] == ["overlay.mp4", "masks.zip"]
    (tmp_path / "p").mkdir()
    project = Project(tmp_path / "p", clip)
    project.set_mask(3, scene(3)[1])
    again = api.segment(str(clip), str(project.save(Settings(short_side=64, flow="none"))))
    assert Result(Path(again[0]).parent).receipt["input_masks"] == [3]
    refusals = (
        ({"frame": 99}, "frames 0 to 11"),
        ({"flow": "x"}, "flow must be one of"),
        ({"radius": 999}, "radius must be a whole number from 1 to 24, not 999"),
        ({"short_side": "abc"}, "short_side must be"),
    )
    for arguments, message in refusals:
        with pytest.raises(gr.Error, match=message):
            api.segment(str(clip), str(mask), **arguments)  # type: ignore[arg-type]


def stroked(
    session: dict[str, Any], strokes: Image, boxes: list[dict[str, int]] | None = None, base: Image | None = None
) -> dict[str, Any]:
    """The editor's value: strokes on a mask, by default the one that is shown, to be completed."""
    base = shown_mask(session) if base is None else base
    painted = editor(session, np.where(strokes == OUTSIDE, 0, np.where(strokes > 0, strokes, base)))
    completion = {"strokes": mask_to_runs(strokes), "base": mask_to_runs(base), "boxes": boxes or []}
    painted["edits"][0]["completion"] = completion
    return painted


def cross(x: int = 36, y: int = 48, label: int = 1) -> Image:
    """A scribble on the disk of the first frame."""
    strokes = np.zeros((96, 128), np.uint8)
    strokes[y - 2 : y + 2, x - 20 : x + 20] = strokes[y - 20 : y + 20, x - 2 : x + 2] = label
    return strokes


def test_a_scribble_becomes_a_mask(session: dict[str, Any]) -> None:
    project, truth, scribble = sessions.project_of(session), scene(0)[1], cross()
    saved, completed, listed = mask_completion.save_and_complete(session, stroked(session, scribble))
    assert completed["editor"]["answer"] and not completed["editor"]["pending"]
    assert "Object 1" in saved["masks"] and "Object 1" in listed["masks"] and saved != listed
    mask = project.mask(0)
    assert mask is not None and overlap(mask, truth) > max(0.5, 1.3 * overlap(scribble, truth))
    np.testing.assert_array_equal(shown_mask(session), mask)
    assert project.mask_sources[0].rule == "strokes"  # type: ignore[union-attr]
    assert not any(
        "editor" in update for update in mask_completion.save_and_complete(session, editor(session, scribble))
    )
    np.testing.assert_array_equal(shown_mask(session), scribble)


def test_a_line_is_reported_before_a_run_until_it_is_filled(session: dict[str, Any]) -> None:
    line = np.zeros((96, 128), np.uint8)
    line[40:43, 10:100] = 1

    def message_for(mask: Image) -> str:
        updates = list(mask_completion.save_and_complete(session, editor(session, mask)))
        return "".join(str(update.get("status", "")) for update in updates)

    first = message_for(scene(0)[1])
    assert "12 frames, 128x96" in first and "Ready to run" in first and "Now paint" not in first
    assert not message_for(scene(0)[1])
    assert "Object 1 is only a line" in message_for(line)
    assert not message_for(line[::-1].copy()), "the message comes once"
    jobs.claim_job(session, "run")
    assert not message_for(scene(0)[1]), "the status shows a run"
    sessions.end_job(session)
    assert "Ready to run" in message_for(scene(0)[1])


def test_the_first_mask_is_confirmed_in_a_language_that_was_chosen_after_the_clip(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.languages.visitor_language", lambda: "es")
    shown = [dict(update) for update in mask_completion.save_and_complete(session, editor(session, scene(0)[1]))]
    assert "12 fotogramas, 128x96" in status(shown[-1]) and "Listo para ejecutar" in status(shown[-1])
    assert "paint" not in status(shown[-1]) and session["opened"] == status(shown[-1])


def test_a_box_becomes_a_mask(session: dict[str, Any]) -> None:
    box = {"label": 12, "left": 4, "top": 16, "right": 69, "bottom": 80}
    nothing = np.zeros((96, 128), np.uint8)
    list(mask_completion.save_and_complete(session, stroked(session, nothing, [box])))
    assert set(np.unique(shown_mask(session))) == {0, 12} and overlap(shown_mask(session), scene(0)[1]) > 0.8
    for wrong in ({**box, "right": 900}, {**box, "label": 0}, {"label": 1}, "x"):
        before = shown_mask(session)
        list(mask_completion.save_and_complete(session, stroked(session, cross(), [wrong])))  # type: ignore[list-item]
        np.testing.assert_array_equal(shown_mask(session), before)


def test_an_answer_never_overwrites_later_strokes(session: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    later = cross(label=2)

    class Slow:
        """A segmenter: meanwhile, another stroke is painted."""

        def segment(self, strokes: Image, **_: Any) -> Image:
            mask_editing.save_strokes(session, editor(session, later))
            return np.ones_like(strokes)

    monkeypatch.setattr(mask_completion, "segmenter_of", lambda *_: Slow())
    list(mask_completion.save_and_complete(session, stroked(session, cross())))
    np.testing.assert_array_equal(shown_mask(session), later)


def test_a_run_completes_the_strokes_first(session: dict[str, Any]) -> None:
    finished(session, stroked(session, cross()))
    mask = sessions.project_of(session).mask(0)
    assert mask is not None and overlap(mask, scene(0)[1]) > 0.5 > overlap(cross(), scene(0)[1])


def test_strokes_see_motion_in_clips_with_repeated_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "repeated.mp4", [scene(t)[0] for t in (0, 0, 0, 4, 8, 8)])
    seen = []
    monkeypatch.setattr(segmenters, "StrokeSegmenter", lambda *frames: seen.append(frames))
    for index in (0, 4, 5):
        segmenters._build(str(clip), index)
    frames = [frame.image for frame in VideoReader(clip)]
    for (frame, other), index, moved in zip(seen, (0, 4, 5), (3, 3, 3), strict=True):
        np.testing.assert_array_equal(frame, frames[index])
        np.testing.assert_array_equal(other, frames[moved])


def test_a_correction_after_a_run_is_ready_to_run(session: dict[str, Any]) -> None:
    assert "Done" in status(finished(session, editor(session, scene(0)[1])))
    mask_editing.select_frame(session, None, 5)
    for expected in (True, False):
        updates = mask_completion.save_and_complete(session, editor(session, scene(5)[1]))
        assert any("Ready to run" in str(update.get("status")) for update in updates) is expected


def test_segmenters_are_prepared_bounded_and_dropped_with_the_session(session: dict[str, Any], clip: Path) -> None:
    mask_completion.prepare_frame(session)
    prepared = segmenters.segmenter_of(session, 0)
    assert segmenters.segmenter_of(session, 0) is prepared
    for index in range(1, 6):
        segmenters.segmenter_of(session, index)
    assert segmenters.segmenter_of(session, 0) is not prepared
    sessions.close_session(session, keep=str(clip))
    assert not any(folder == session["folder"] for folder, _ in segmenters._segmenters)
