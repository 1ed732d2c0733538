"""The whole line: a clip and masks in; a video, masks and a true receipt out."""

from __future__ import annotations

import itertools
import json
import shutil
import zipfile
from collections.abc import Generator
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

LENGTH, SIZE = 8, (64, 96)
FAST = Settings(short_side=0, flow="none", radius=3)


@pytest.fixture(params=["in turns", "in threads"], autouse=True)
def at_the_same_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading, tracking and writing as on a CPU, and as on a GPU."""
    monkeypatch.setattr("mamp.prefetch.should_prefetch", lambda device: request.param == "in threads")


def square(t: int) -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:44, 16 + 4 * t : 40 + 4 * t] = 1
    return mask


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A red square that moves to the right over a textured ground."""
    ground = np.random.default_rng(0).integers(60, 120, (*SIZE, 3)).astype(np.uint8)
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, None, SIZE) as writer:
        for t in range(LENGTH):
            frame = ground.copy()
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


def names(clip: Path) -> list[str]:
    return sorted(path.stem for path in (clip.parent / "out" / "masks").iterdir())


def overlap(clip: Path, t: int) -> float:
    mask, truth = read_mask(clip.parent / "out" / "masks" / f"{t:05d}.png") == 1, square(t) == 1
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("at", [0, 3, LENGTH - 1])
def test_every_frame_gets_a_mask_wherever_the_first_one_is_given(clip: Path, at: int) -> None:
    updates = list(start(clip, at))
    result = updates[-1].result
    assert result is not None and not result.stopped and result.frames == LENGTH
    assert [update.result for update in updates[:-1]] == [None] * (len(updates) - 1)
    assert updates[-1].done == LENGTH and updates[-1].preview is not None
    assert names(clip) == [f"{t:05d}" for t in range(LENGTH)]
    assert min(overlap(clip, t) for t in range(LENGTH)) > 0.7
    assert VideoReader(result.overlay).count() == receipt(clip)["frames_in_video"] == LENGTH
    assert zipfile.ZipFile(result.masks_zip).namelist() == [f"masks/{t:05d}.png" for t in range(LENGTH)]


def test_the_receipt_is_true(clip: Path) -> None:
    list(start(clip, 2))
    document = receipt(clip)
    counts = [document[key] for key in ("frames_in_clip", "frames_decoded", "masks_written", "frames_in_video")]
    assert counts == [LENGTH] * 4
    assert document["end"] == "complete" and document["error"] is None
    assert (document["size"], document["rotation"], document["audio"]) == ([96, 64], 0, None)
    assert (document["input_masks"], document["objects"]) == ([2], [1])
    assert document["settings"]["radius"] == 3
    assert document["seconds"]["track"] > 0


def test_a_given_mask_comes_out_as_it_went_in_though_the_clip_is_made_smaller(clip: Path) -> None:
    list(start(clip, 0, Settings(short_side=32, flow="none", radius=3)))
    assert np.array_equal(read_mask(clip.parent / "out" / "masks" / "00000.png"), square(0))
    assert receipt(clip)["processed_size"] == [48, 32]
    assert read_mask(clip.parent / "out" / "masks" / "00005.png").shape == SIZE
    assert overlap(clip, 5) > 0.5


@pytest.mark.parametrize(("at", "after", "left"), [(0, 3, [0, 1, 2]), (5, 2, [3, 4, 5]), (5, 7, [0, 1, 2, 3, 4, 5])])
def test_stop_keeps_a_video_of_just_the_frames_that_have_masks(
    clip: Path, at: int, after: int, left: list[int]
) -> None:
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


@pytest.mark.parametrize(("at", "unknown"), [(0, 1), (7, 0)])
def test_the_time_left_is_told_once_a_frame_was_tracked(clip: Path, at: int, unknown: int) -> None:
    left = [update.seconds_left for update in start(clip, at)]
    assert left[:unknown] == [None] * unknown, "a given mask is no measure of speed"
    assert all(seconds is not None and 0 <= seconds < 60 for seconds in left[unknown:])
    assert left[-1] == 0.0


@pytest.mark.parametrize("at", [0, 6])
def test_closing_the_generator_keeps_what_is_done(clip: Path, at: int) -> None:
    updates = start(clip, at)
    next(updates)
    next(updates)
    updates.close()
    # Backwards there is the given frame itself besides; forwards one more may have been under way.
    done = len(names(clip))
    assert done == 3 or (at == 0 and done == 2)
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
def test_a_failure_keeps_what_is_done_and_is_told_in_the_receipt(clip: Path, error: Exception, words: str) -> None:
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


def test_masks_that_no_run_has_written_are_never_deleted(clip: Path) -> None:
    own = clip.parent / "out" / "masks" / "mine.png"
    own.parent.mkdir(parents=True)
    write_mask(own, square(0))
    with pytest.raises(ValueError, match="choose another"):
        list(start(clip))
    assert own.exists()


def test_files_of_others_beside_the_masks_are_left_alone(clip: Path) -> None:
    masks = clip.parent / "out" / "masks"
    masks.mkdir(parents=True)
    (masks / "notes.txt").write_text("mine")
    (masks / "drafts").mkdir()
    list(start(clip))
    assert (masks / "notes.txt").read_text() == "mine" and (masks / "drafts").is_dir()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools' decoder
def test_areas_and_run_lengths_are_those_of_the_masks(clip: Path) -> None:
    result = list(start(clip, 3, names={1: "dog"}))[-1].result
    assert result is not None
    document = json.loads(result.masks_json.read_text())
    (video,), (category,), (track,) = document["videos"], document["categories"], document["annotations"]
    assert (video["length"], video["width"], category["name"]) == (LENGTH, 96, "dog")
    for sighting in result.object_frames:
        mask = read_mask(result.masks_dir / f"{video['file_names'][sighting.frame]}.png")
        assert np.array_equal(coco.decode(track["segmentations"][sighting.frame]), mask)
        assert sighting.area == track["areas"][sighting.frame] == np.count_nonzero(mask)
        assert sighting.confidence == 1 if sighting.frame == 3 else 0 < sighting.confidence <= 1
        assert sighting.time == pytest.approx(sighting.frame / 25, abs=1e-4)
    assert len(result.object_frames) == LENGTH


def again(clip: Path, given: dict[int, NDArray[np.uint8]], **options: Any) -> tuple[list[int], dict[str, Any]]:
    """Runs once more, from what the last run has left; says on which frames the encoder was asked."""
    previous, out = clip.parent / "previous", clip.parent / "out"
    shutil.rmtree(previous, ignore_errors=True)
    out.rename(previous)
    patch, asked = load_encoder("patch"), []
    shades = {int(frame.image.astype(int).sum()): frame.index for frame in VideoReader(clip)}
    real = MaskTracker.step

    def step(self: MaskTracker, frame: NDArray[np.uint8], *rest: Any, **more: Any) -> Any:
        asked.append(shades[int(frame.astype(int).sum())])
        return real(self, frame, *rest, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MaskTracker, "step", step)
        list(segment_video(clip, given, out, FAST, encoder=patch, previous=previous, **options))
    return sorted(asked), receipt(clip)


def test_a_correction_computes_only_from_its_frame_to_the_next_given_mask(clip: Path) -> None:
    list(start(clip))
    corrected = np.roll(square(4), 3, axis=1)
    asked, document = again(clip, {0: square(0), 4: corrected})
    assert asked == [4, 5, 6, 7] and document["masks_reused"] == 4
    assert np.array_equal(read_mask(clip.parent / "out/masks/00004.png"), corrected)
    assert again(clip, {0: square(0), 2: square(2), 4: corrected})[0] == [2, 3]
    assert again(clip, {0: square(0), 4: corrected})[0] == [2, 3]
    assert again(clip, {0: square(0), 4: corrected})[0] == []
    assert min(overlap(clip, t) for t in range(4)) > 0.7
    assert receipt(clip)["frames_in_video"] == receipt(clip)["masks_written"] == LENGTH
    assert again(clip, {2: square(2), 4: corrected})[0] == [0, 1, 3]
    object_frames = Result(clip.parent / "out").object_frames
    assert [sighting.frame for sighting in object_frames] == list(range(LENGTH))
    assert object_frames[4].confidence == 1 and 0 < object_frames[1].confidence <= 1


def test_a_stopped_run_goes_on_where_it_stopped(clip: Path) -> None:
    calls = iter(range(1, 100))
    list(start(clip, 5, should_stop=lambda: next(calls) >= 3))
    assert names(clip) == ["00002", "00003", "00004", "00005"]
    asked, document = again(clip, {5: square(5)})
    assert asked == [0, 1, 6, 7] and document["end"] == "complete"
    assert min(overlap(clip, t) for t in range(LENGTH)) > 0.7


@pytest.mark.parametrize("motion", ["chained", "direct"])
@pytest.mark.parametrize("at", [0, 5])
def test_a_run_in_parts_gives_the_masks_of_an_unbroken_one(clip: Path, at: int, motion: str) -> None:
    settings = Settings(short_side=0, flow="dis", radius=3, motion=motion)
    list(start(clip, at, settings))
    unbroken = {path.name: path.read_bytes() for path in (clip.parent / "out" / "masks").iterdir()}
    folder = None
    for part in range(6):
        asked = itertools.count(1)
        run = segment_video(
            clip,
            {at: square(at)},
            clip.parent / f"part-{part}",
            settings,
            encoder=load_encoder("patch"),
            previous=folder,
            outputs=("masks",),
            should_stop=lambda asked=asked: next(asked) >= 2,  # type: ignore[misc]
        )
        result = list(run)[-1].result
        assert result is not None and not result.overlay.exists()
        folder = result.folder
        if not result.stopped:
            break
    assert part > 1
    assert {path.name: path.read_bytes() for path in (folder / "masks").iterdir()} == unbroken
    video = segment_video(
        clip, {at: square(at)}, clip.parent / "video", settings, previous=folder, outputs=("video",), encoder=Idle()
    )
    done = list(video)[-1].result
    assert done is not None and not done.stopped and VideoReader(done.overlay).count() == LENGTH


class Idle(PatchEncoder):
    """A video of masks that are there needs no encoder."""

    def __call__(self, lab: torch.Tensor) -> torch.Tensor:
        raise AssertionError


def test_nothing_is_taken_over_from_other_settings_or_another_clip(clip: Path) -> None:
    list(start(clip, settings=Settings(short_side=0, flow="none", radius=4)))
    assert again(clip, {0: square(0)})[0] == list(range(1, LENGTH))
    with pytest.raises(ValueError, match="another folder"):
        list(start(clip, previous=clip.parent / "out"))
    with pytest.raises(ValueError, match="no results of a run in nowhere"):
        list(start(clip, previous=clip.parent / "nowhere"))
    assert names(clip) == [f"{t:05d}" for t in range(LENGTH)], "what is there is left alone"


def test_a_second_run_into_the_same_folder_replaces_the_first(clip: Path) -> None:
    list(start(clip))
    calls = iter(range(1, 100))
    list(start(clip, should_stop=lambda: next(calls) >= 2))
    assert names(clip) == ["00000", "00001"]


def test_masks_of_a_folder_are_named_like_its_frames(clip: Path) -> None:
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
    ],
)
def test_masks_that_do_not_fit_are_refused(clip: Path, masks: dict[int, NDArray[np.uint8]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(segment_video(clip, masks, clip.parent / "out", FAST, encoder=load_encoder("patch")))
