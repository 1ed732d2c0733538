"""Runs: from a clip and input masks to a video, masks and a correct receipt."""

from __future__ import annotations

import itertools
import json
import shutil
import zipfile
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from mamp.files import ResourceError
from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import read_mask, write_mask
from mamp.model.checkpoint import load_encoder
from mamp.model.patch_encoder import PatchEncoder
from mamp.runs.progress import Update
from mamp.runs.results import Result
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from mamp.video.reader import VideoReader
from mamp.video.writer import VideoWriter
from tests.conftest import full_disk

LENGTH, SIZE = 8, (64, 96)
FAST = Settings(short_side=0, flow="none", radius=3)


@pytest.fixture(params=["sequential", "prefetched"], autouse=True)
def prefetching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading, tracking and writing one after the other as on a single core, and overlapping."""
    for module in ("run", "frame_loop"):
        monkeypatch.setattr(f"mamp.runs.{module}.overlaps", lambda settings, encoder: request.param == "prefetched")


def square(t: int) -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:44, 16 + 4 * t : 40 + 4 * t] = 1
    return mask


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A red square that moves to the right over a textured background."""
    background = np.random.default_rng(0).integers(60, 120, (*SIZE, 3)).astype(np.uint8)
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, None, SIZE) as writer:
        for t in range(LENGTH):
            frame = background.copy()
            frame[square(t) > 0] = (220, 30, 30)
            writer.write(frame, Fraction(t, 25))
    return path


def start(clip: Path, at: int = 0, settings: Settings = FAST, **options: Any) -> Generator[Update, None, None]:
    return segment_video(
        clip, {at: square(at)}, clip.parent / "out", settings, encoder=load_encoder("patch"), **options
    )


def receipt(clip: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((clip.parent / "out" / "receipt.json").read_text())
    return document


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(clip: Path) -> list[str]:
    return sorted(path.stem for path in (clip.parent / "out" / "masks").iterdir())


def overlap(clip: Path, t: int) -> float:
    mask, truth = read_mask(clip.parent / "out" / "masks" / f"{t:05d}.png") == 1, square(t) == 1
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("at", [0, 3, LENGTH - 1])
def test_every_frame_gets_a_mask_for_any_frame_of_the_input_mask(clip: Path, at: int) -> None:
    updates = list(start(clip, at))
    result = updates[-1].result
    assert result is not None and not result.stopped and result.frames == LENGTH
    assert [update.result for update in updates[:-1]] == [None] * (len(updates) - 1)
    assert updates[-1].done == LENGTH and updates[-1].preview is not None
    assert names(clip) == [f"{t:05d}" for t in range(LENGTH)]
    assert min(overlap(clip, t) for t in range(LENGTH)) > 0.7
    assert VideoReader(result.overlay).count() == receipt(clip)["frames_in_video"] == LENGTH
    assert zipfile.ZipFile(result.masks_zip).namelist() == [f"masks/{t:05d}.png" for t in range(LENGTH)]


def test_the_receipt_is_correct(clip: Path) -> None:
    list(start(clip, 2))
    document = receipt(clip)
    counts = [document[key] for key in ("frames_in_clip", "frames_decoded", "masks_written", "frames_in_video")]
    assert counts == [LENGTH] * 4
    assert document["end"] == "complete" and document["error"] is None
    assert (document["size"], document["rotation"], document["audio"]) == ([96, 64], 0, None)
    assert (document["input_masks"], document["objects"]) == ([2], [1])
    assert document["settings"]["radius"] == 3 and document["encoder"] == "7x7 patches"
    assert document["seconds"]["track"] > 0


def test_an_input_mask_is_kept_exactly_at_a_smaller_processing_size(clip: Path) -> None:
    list(start(clip, 0, Settings(short_side=32, flow="none", radius=3)))
    assert np.array_equal(read_mask(clip.parent / "out" / "masks" / "00000.png"), square(0))
    assert receipt(clip)["processed_size"] == [48, 32]
    assert read_mask(clip.parent / "out" / "masks" / "00005.png").shape == SIZE
    assert overlap(clip, 5) > 0.5


@pytest.mark.parametrize(("at", "after", "left"), [(0, 3, [0, 1, 2]), (5, 2, [3, 4, 5]), (5, 7, [0, 1, 2, 3, 4, 5])])
def test_a_stopped_run_keeps_a_video_of_the_frames_with_masks(clip: Path, at: int, after: int, left: list[int]) -> None:
    calls = iter(range(1, 100))
    last = list(start(clip, at, should_stop=lambda: next(calls) >= after))[-1]
    assert last.result is not None and last.result.stopped and last.result.frames == len(left)
    assert names(clip) == [f"{t:05d}" for t in left]
    assert VideoReader(clip.parent / "out" / "overlay.mp4").count() == len(left)
    document = receipt(clip)
    assert (document["end"], document["masks_written"], document["frames_in_video"]) == (
        "stopped",
        len(left),
        len(left),
    )


@pytest.mark.parametrize("at", [0, 7])
def test_the_time_left_is_known_after_two_tracked_frames(clip: Path, at: int) -> None:
    left = [update.seconds_left for update in start(clip, at)]
    assert left[0] is None, "neither an input mask nor a frame with the setup is a measure of speed"
    assert all(seconds is not None and 0 <= seconds < 60 for seconds in left[3:])
    assert left[-1] == 0.0


@pytest.mark.parametrize("at", [0, 6])
def test_closing_the_generator_keeps_finished_frames(clip: Path, at: int) -> None:
    updates = start(clip, at)
    next(updates)
    next(updates)
    updates.close()
    # Backwards, the frame of the input mask counts too; one more frame may have been in progress.
    done = len(names(clip))
    assert done - (at > 0) in (2, 3)
    assert VideoReader(clip.parent / "out" / "overlay.mp4").count() == receipt(clip)["frames_in_video"] == done
    assert receipt(clip)["end"] == "stopped"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("something else"), "something else"),
        (torch.OutOfMemoryError("CUDA"), "The GPU has too little memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "The machine has too little memory"),
        (OSError(28, "No space left on device"), "The disk is full."),
    ],
)
def test_a_failed_run_keeps_finished_frames_and_records_the_error(clip: Path, error: Exception, words: str) -> None:
    patch, calls = load_encoder("patch"), iter(range(100))

    def failing(lab: Any) -> Any:
        if next(calls) == 4:
            raise error
        return patch(lab)

    with pytest.raises(type(error) if words == str(error) else ResourceError, match=words):
        list(segment_video(clip, {0: square(0)}, clip.parent / "out", FAST, encoder=failing))
    assert len(names(clip)) == VideoReader(clip.parent / "out" / "overlay.mp4").count() == 4
    assert receipt(clip)["frames_in_video"] == 4
    assert receipt(clip)["end"] == "failed" and words in receipt(clip)["error"]


@pytest.mark.parametrize("free", [100, 1000, 3000])
def test_a_run_on_a_full_disk_ends_with_one_sentence_and_whole_files(clip: Path, free: int) -> None:
    out = clip.parent / "out"
    with full_disk(free), pytest.raises(ResourceError, match=r"^The disk is full\.$"):
        list(start(clip, settings=Settings(short_side=0, flow="none", radius=3, weights="patch")))
    assert all(read_mask(path).shape == SIZE for path in out.glob("*masks/*.png"))
    for path in out.iterdir():
        assert path.is_dir() or path.name in ("receipt.json", "objects.csv", "overlay.mp4", "masks.zip", "masks.json")
    if (out / "receipt.json").exists():
        assert receipt(clip)["end"] in ("failed", "killed")
    if (out / "overlay.mp4").exists():
        assert VideoReader(out / "overlay.mp4").count() > 0


def test_masks_that_no_run_wrote_are_never_deleted(clip: Path) -> None:
    own = clip.parent / "out" / "masks" / "mine.png"
    own.parent.mkdir(parents=True)
    write_mask(own, square(0))
    with pytest.raises(ValueError, match="choose another"):
        list(start(clip))
    assert own.exists()


def test_other_files_beside_the_masks_are_kept(clip: Path) -> None:
    masks = clip.parent / "out" / "masks"
    masks.mkdir(parents=True)
    (masks / "notes.txt").write_text("mine")
    (masks / "drafts").mkdir()
    list(start(clip))
    assert (masks / "notes.txt").read_text() == "mine" and (masks / "drafts").is_dir()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools' decoder
def test_areas_and_run_lengths_match_the_masks(clip: Path) -> None:
    result = list(start(clip, 3, names={1: "dog"}))[-1].result
    assert result is not None
    document = json.loads(result.masks_json.read_text())
    (video,), (category,), (track,) = document["videos"], document["categories"], document["annotations"]
    assert (video["length"], video["width"], category["name"]) == (LENGTH, 96, "dog")
    for object_frame in result.object_frames:
        mask = read_mask(result.masks_dir / f"{video['file_names'][object_frame.frame]}.png")
        assert np.array_equal(coco.decode(track["segmentations"][object_frame.frame]), mask)
        assert object_frame.area == track["areas"][object_frame.frame] == np.count_nonzero(mask)
        assert object_frame.confidence == 1 if object_frame.frame == 3 else 0 < object_frame.confidence <= 1
        assert object_frame.time == pytest.approx(object_frame.frame / 25, abs=1e-4)
    assert len(result.object_frames) == LENGTH


def rerun(clip: Path, input_masks: dict[int, NDArray[np.uint8]], **options: Any) -> tuple[list[int], dict[str, Any]]:
    """Runs again from the results of the last run; returns the numbers of the tracked frames and the receipt."""
    previous, out = clip.parent / "previous", clip.parent / "out"
    shutil.rmtree(previous, ignore_errors=True)
    out.rename(previous)
    patch, tracked = load_encoder("patch"), []
    shades = {int(frame.image.astype(int).sum()): frame.index for frame in VideoReader(clip)}
    real = MaskTracker.step

    def step(self: MaskTracker, frame: NDArray[np.uint8], *rest: Any, **more: Any) -> Any:
        tracked.append(shades[int(frame.astype(int).sum())])
        return real(self, frame, *rest, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MaskTracker, "step", step)
        list(segment_video(clip, input_masks, out, FAST, encoder=patch, previous=previous, **options))
    return sorted(tracked), receipt(clip)


def test_an_edit_computes_the_frames_from_the_first_changed_input_mask_on(clip: Path) -> None:
    list(start(clip))
    corrected = np.roll(square(4), 3, axis=1)
    tracked, document = rerun(clip, {0: square(0), 4: corrected})
    assert tracked == [4, 5, 6, 7] and document["masks_reused"] == 4
    assert np.array_equal(read_mask(clip.parent / "out/masks/00004.png"), corrected)
    assert rerun(clip, {0: square(0), 4: corrected, 6: square(6)})[0] == [6, 7]
    assert rerun(clip, {0: square(0), 4: corrected})[0] == [6, 7]
    assert rerun(clip, {0: square(0), 4: corrected})[0] == []
    assert min(overlap(clip, t) for t in range(4)) > 0.7
    assert receipt(clip)["frames_in_video"] == receipt(clip)["masks_written"] == LENGTH
    assert rerun(clip, {2: square(2), 4: corrected})[0] == [0, 1, 3, 4, 5, 6, 7]
    object_frames = Result(clip.parent / "out").object_frames
    assert [object_frame.frame for object_frame in object_frames] == list(range(LENGTH))
    assert object_frames[4].confidence == 1 and 0 < object_frames[1].confidence <= 1


def test_a_stopped_run_resumes_where_it_stopped(clip: Path) -> None:
    calls = iter(range(1, 100))
    list(start(clip, 5, should_stop=lambda: next(calls) >= 3))
    assert names(clip) == ["00002", "00003", "00004", "00005"]
    tracked, document = rerun(clip, {5: square(5)})
    assert tracked == [0, 1, 6, 7] and document["end"] == "complete"
    assert min(overlap(clip, t) for t in range(LENGTH)) > 0.7


def test_frames_of_a_previous_run_without_mask_or_confidence_are_computed_again(clip: Path) -> None:
    out = clip.parent / "out"
    list(start(clip))
    table = (out / "objects.csv").read_text()
    masks = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    (out / "masks/00002.png").unlink()
    (out / "masks/00004.png").write_bytes(masks["00004.png"][:60])
    write_mask(out / "masks/00005.png", square(5)[::2, ::2])
    rows = table.splitlines(keepends=True)
    (out / "objects.csv").write_text("".join(rows[:7] + rows[8:]) + "7,0.2")
    tracked, document = rerun(clip, {0: square(0)})
    assert tracked == [2, 4, 5, 6] and document["masks_reused"] == 4
    assert {path.name: path.read_bytes() for path in (out / "masks").iterdir()} == masks
    assert (out / "objects.csv").read_text() == table


@pytest.mark.parametrize("motion", ["chained", "direct"])
@pytest.mark.parametrize("at", [0, 5])
def test_a_run_in_parts_gives_the_masks_of_an_uninterrupted_run(
    clip: Path, at: int, motion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(short_side=0, flow="dis", radius=3, motion=motion)
    list(start(clip, at, settings))
    uninterrupted = {path.name: path.read_bytes() for path in (clip.parent / "out" / "masks").iterdir()}
    folder = None
    for part in range(6):
        frames_done = itertools.count(1)
        run = segment_video(
            clip,
            {at: square(at)},
            clip.parent / f"part-{part}",
            settings,
            encoder=load_encoder("patch"),
            previous=folder,
            outputs=("masks",),
            should_stop=lambda frames_done=frames_done: next(frames_done) >= 2,  # type: ignore[misc]
        )
        result = list(run)[-1].result
        assert result is not None and not result.overlay.exists()
        folder = result.folder
        if not result.stopped:
            break
    assert part > 1
    assert {path.name: path.read_bytes() for path in (folder / "masks").iterdir()} == uninterrupted
    monkeypatch.setattr("mamp.runs.run.load_flow", lambda _: pytest.fail("a video of existing masks needs no flow"))
    video = segment_video(
        clip,
        {at: square(at)},
        clip.parent / "video",
        settings,
        previous=folder,
        outputs=("video",),
        encoder=UnusedEncoder(),
    )
    done = list(video)[-1].result
    assert done is not None and not done.stopped and VideoReader(done.overlay).count() == LENGTH


class UnusedEncoder(PatchEncoder):
    """Fails when called: a video of existing masks needs no encoder."""

    def __call__(self, lab: torch.Tensor) -> torch.Tensor:
        raise AssertionError


def test_no_masks_are_reused_from_other_settings_or_another_clip(clip: Path) -> None:
    list(start(clip, settings=Settings(short_side=0, flow="none", radius=4)))
    assert rerun(clip, {0: square(0)})[0] == list(range(1, LENGTH))
    with pytest.raises(ValueError, match="another folder"):
        list(start(clip, previous=clip.parent / "out"))
    with pytest.raises(ValueError, match="no results of a run in nowhere"):
        list(start(clip, previous=clip.parent / "nowhere"))
    assert names(clip) == [f"{t:05d}" for t in range(LENGTH)], "existing masks are kept"


def test_files_and_devices_that_are_missing_are_refused_before_the_clip_is_decoded(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoReader, "count", lambda _: pytest.fail("the clip is decoded"))
    mask, gone, other = square(0), clip.parent / "gone.png", replace(FAST, weights="gone.safetensors")
    for masks, settings in (({0: gone}, FAST), ({0: mask}, other)):
        with pytest.raises(ValueError, match="gone"):
            list(segment_video(clip, masks, clip.parent / "out", settings))
    with pytest.raises(ValueError, match="device must be cpu, cuda"):
        list(segment_video(clip, {0: mask}, clip.parent / "out", replace(FAST, device="abacus")))


def test_a_second_run_into_the_same_folder_replaces_the_first(clip: Path) -> None:
    list(start(clip))
    calls = iter(range(1, 100))
    list(start(clip, should_stop=lambda: next(calls) >= 2))
    assert names(clip) == ["00000", "00001"]


def test_masks_of_a_folder_are_named_after_its_frames(clip: Path) -> None:
    folder = clip.parent / "frames"
    folder.mkdir()
    for frame in VideoReader(clip):
        Image.fromarray(frame.image).save(folder / f"shot{frame.index}.png")
    list(segment_video(folder, {0: square(0)}, clip.parent / "out", FAST, encoder=load_encoder("patch")))
    assert names(clip) == [f"shot{t}" for t in range(LENGTH)]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({LENGTH: square(0)}, "frames 0 to 7"),
        ({0: np.ones((10, 10), np.uint8)}, "10x10, but the clip is 96x64"),
        ({0: np.zeros(SIZE, np.uint8)}, "contains no object"),
        ({}, "at least one frame"),
        ({0: square(0) * 0.5}, "frame 0 holds 0.5, but labels are whole numbers from 0 to 255"),
        ({0: square(0).astype(int) * -1}, "frame 0 holds -1"),
        ({0: np.full(SIZE, np.nan)}, "frame 0 holds nan"),
        ({0: square(0)[..., None]}, "two dimensions"),
        ({1.5: square(0)}, "for frame 1.5, but the clip has frames 0 to 7"),
    ],
)
def test_masks_that_do_not_fit_are_rejected_before_earlier_results_change(
    clip: Path, masks: dict[int, NDArray[np.uint8]], message: str
) -> None:
    list(start(clip))
    before = contents(clip.parent / "out")
    with pytest.raises(MaskError, match=message):
        list(segment_video(clip, masks, clip.parent / "out", FAST, encoder=load_encoder("patch")))
    assert contents(clip.parent / "out") == before


@pytest.mark.parametrize("dtype", [bool, np.int16, np.int64, np.float32])
def test_masks_of_any_type_give_the_same_results(clip: Path, dtype: Any) -> None:
    out = clip.parent / "out"
    list(start(clip, 3))
    expected = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    list(segment_video(clip, {np.int64(3): square(3).astype(dtype)}, out, FAST, encoder=load_encoder("patch")))
    assert {path.name: path.read_bytes() for path in (out / "masks").iterdir()} == expected
    assert receipt(clip)["input_masks"] == [3]
