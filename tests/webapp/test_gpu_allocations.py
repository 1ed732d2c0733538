"""ZeroGPU: what runs in a GPU allocation, how long that is, and what is kept without one. The platform is a stand-in."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext

from mamp import Result, Settings, VideoReader
from mamp.runs import run as runs
from mamp.runs import segment_video as segmenting
from mamp.runs.part import Part
from tests.conftest import scene
from webapp import gpu_allocations, jobs, run_handler, settings_controls
from webapp import session as sessions
from webapp.background import start_job
from webapp.project import Project

SETTINGS = settings_controls.with_own_weights(Settings(short_side=0, radius=3, weights="small"))
CHOSEN = settings_controls.control_values(SETTINGS)


class ZeroGpu:
    """A stand-in for the ``spaces`` package: arguments and results are pickled; it refuses after some allocations.

    Attributes:
        durations: What was requested [s].
        inside: Whether an allocation is under way.
    """

    def __init__(self, allocations: int) -> None:
        self.allocations, self.durations = allocations, list[int]()
        self.inside = False

    def GPU(self, *, duration: Callable[..., int]) -> Callable[[Any], Any]:  # noqa: N802 (the name in spaces)
        def decorate(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            def allocated(*args: Any) -> Iterator[Any]:
                if len(self.durations) == self.allocations:
                    raise gr.Error("You have exceeded your GPU quota.")
                self.durations.append(duration(*args))
                results = function(*pickle.loads(pickle.dumps(args)))
                while True:
                    self.inside = True
                    result = next(results, None)
                    self.inside = False
                    if result is None:
                        return
                    yield pickle.loads(pickle.dumps(result))

            return allocated

        return decorate

    def forbid(self, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes a function fail inside an allocation."""
        function = getattr(owner, name)

        def outside(*args: Any, **options: Any) -> Any:
            assert not self.inside, f"{name} takes the visitor's GPU time"
            return function(*args, **options)

        monkeypatch.setattr(owner, name, outside)


class Clock:
    """A second passes with every look at it."""

    def __init__(self) -> None:
        self.monotonic = itertools.count().__next__
        self.time = lambda: 0.0


@pytest.fixture
def session(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    session = sessions.new_session(str(clip))
    sessions.project_of(session).set_mask(0, scene(0)[1])
    yield session
    sessions.close_session(session, keep=str(clip))


@pytest.fixture
def zero_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ZeroGpu:
    """The platform, which gives some allocations of 9 seconds; a frame takes one."""
    gpu = ZeroGpu(request.param)
    monkeypatch.setattr(gpu_allocations, "spaces", gpu)
    monkeypatch.setattr(gpu_allocations, "ZERO_GPU", True)
    monkeypatch.setattr(gpu_allocations, "ALLOCATION_SECONDS", 9)
    monkeypatch.setattr(gpu_allocations, "gpu_seconds_per_frame", lambda _: 1.0)
    monkeypatch.setattr(gpu_allocations, "time", Clock())
    decorated = gpu_allocations.with_gpu_allocation(gpu_allocations.track_for)
    monkeypatch.setattr(gpu_allocations, "track_on_gpu", decorated)
    return gpu


def run(session: dict[str, Any], chosen: dict[str, Any] = CHOSEN) -> str:
    """The status after a run."""
    jobs.claim_job(session, "run")
    shown: dict[str, Any] = {}
    for update in run_handler.run(session, None, 0.4, [], *chosen.values()):
        shown |= update
    return str(shown["status"])


def result_of(session: dict[str, Any]) -> Result:
    result = sessions.project_of(session).result
    assert result is not None
    return result


@pytest.mark.parametrize("zero_gpu", [9], indirect=True)
def test_masks_are_tracked_in_allocations_that_end_by_the_clock_and_nothing_else_is_done_in_them(
    session: dict[str, Any], zero_gpu: ZeroGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "load_flow", lambda _: pytest.fail("this process has no GPU for a flow"))
    zero_gpu.forbid(segmenting, "run_identity", monkeypatch)
    zero_gpu.forbid(VideoReader, "_timed", monkeypatch)
    for name in ("write_zip", "write_json", "write_object_frames"):
        zero_gpu.forbid(Result, name, monkeypatch)
    assert "Done: 12 of 12 frames" in run(session)
    assert zero_gpu.durations == [9, 9, 6], "five frames, five frames and the last one"
    result = result_of(session)
    assert VideoReader(result.overlay).count() == 12 and not result.stopped
    parts = [path.read_bytes() for path in sorted(result.masks_dir.iterdir())]

    gpu_allocations.ZERO_GPU = False  # undone by the fixture
    monkeypatch.undo()
    unbroken = segmenting.segment_video(session["clip"], {0: scene(0)[1]}, result.folder.parent / "whole", SETTINGS)
    whole = list(unbroken)[-1].result
    assert whole is not None and parts == [path.read_bytes() for path in sorted(whole.masks_dir.iterdir())]


@pytest.mark.parametrize("zero_gpu", [2], indirect=True)
def test_frames_finished_before_the_quota_is_used_up_are_kept(session: dict[str, Any], zero_gpu: ZeroGpu) -> None:
    status = run(session)
    assert "exceeded your GPU quota" in status and "11 of 12 frames are kept" in status
    assert VideoReader(result_of(session).overlay).count() == result_of(session).frames == 11
    zero_gpu.allocations = 3
    assert "Done: 12 of 12 frames, 11 reused" in run(session) and zero_gpu.durations[2:] == [6]


@pytest.mark.parametrize("zero_gpu", [0], indirect=True)
def test_a_run_without_an_allocation_has_no_result(session: dict[str, Any], zero_gpu: ZeroGpu) -> None:
    status = run(session)
    assert "exceeded your GPU quota" in status and "kept" not in status
    assert sessions.project_of(session).result is None


@pytest.mark.parametrize("zero_gpu", [0], indirect=True)
def test_a_run_without_a_network_takes_no_allocation(session: dict[str, Any], zero_gpu: ZeroGpu) -> None:
    assert "on this machine" in run_handler.estimate_text(session, *{**CHOSEN, "weights": "patch"}.values())
    assert "Done: 12 of 12 frames" in run(session, {**CHOSEN, "weights": "patch"})


def test_allocations_become_longer_where_frames_take_longer_than_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    requested, startup, seconds_per_frame = [], 5, 0.0

    def track_on_gpu(part: Part, project: Project, seconds: int) -> Iterator[int]:
        requested.append(seconds)
        yield from range(min(part.frames, int((seconds - startup) / seconds_per_frame)))

    def requested_for(frames: int) -> list[int]:
        requested.clear()
        tracker = gpu_allocations.AllocationTracker(project, 1e12)
        done = -1
        while done and frames:
            part = type("Part", (), {"frames": frames, "request": type("Request", (), {"processing_size": (480, 854)})})
            done = len(list(tracker(part)))  # type: ignore[arg-type]
            frames -= done
        return requested

    project: Any = type("Project", (), {"should_stop": lambda self: False})()
    monkeypatch.setattr(gpu_allocations, "track_on_gpu", track_on_gpu)
    seconds_per_frame = 0.08
    assert requested_for(300) == [15, 15, 9]
    seconds_per_frame = 0.4
    assert requested_for(30) == [8, 15], "7 of the 30 frames in 3 seconds, the others in 10"
    startup = 25
    assert requested_for(12) == [6, 12, 24, 48], "no time for a frame before"
    startup = 100
    assert requested_for(100) == [13, 26, 52, 60]


def test_the_estimate_tells_what_a_run_takes_from_the_quota(
    session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_allocations, "ZERO_GPU", True)
    text = run_handler.estimate_text(session, *CHOSEN.values())
    assert "At most 9 seconds of your daily ZeroGPU quota for 12 frames, in one part." in text, "6 seconds times 1.5"
    long = gpu_allocations.quota_text(1000, (480, 854))
    assert "At most 180 seconds" in long and "in 8 parts" in long and "120 seconds" in long and "are kept" in long
    assert max(gpu_allocations.allocations(1000, 0.08)) == 15
    assert len(gpu_allocations.allocations(50, gpu_allocations.gpu_seconds_per_frame((1080, 1920)))) == 3


def test_a_run_has_the_request_of_its_visitor_but_does_not_end_with_its_event(session: dict[str, Any]) -> None:
    found: dict[str, Any] = {}

    def work() -> Iterator[dict[str, Any]]:
        found["request"], found["event"] = LocalContext.request.get(None), LocalContext.event_id.get(None)
        yield {}

    request = gr.Request(headers={})
    tokens = LocalContext.request.set(request), LocalContext.event_id.set("event")
    try:
        jobs.claim_job(session, "run")
        job = start_job(session, "run", 1, work)
        assert job is not None
        while not job.news(0, 1)[2]:
            pass
    finally:
        LocalContext.request.reset(tokens[0])
        LocalContext.event_id.reset(tokens[1])
    assert found == {"request": request, "event": None}
