"""Running the tracker on a clip, on ZeroGPU where available, and updating the page meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, cast

import gradio as gr

from mamp import MaskError, OverlayStyle, Result, Settings, Update, WeightsError, read_mask, segment_video
from mamp.flow.optical_flow import fetch_raft, raft_needs_download
from mamp.masks.label_map import Mask, objects_in
from mamp.model.checkpoint import shared_encoder
from mamp.runs.incremental import reusable_frames
from mamp.runs.part import Part, TrackedFrame
from mamp.runs.receipt import identity_within_clip
from mamp.settings import SettingsError
from webapp.background import start_job, watch_job
from webapp.errors import error_for_visitor, error_text
from webapp.gpu_allocations import AllocationTracker, allocations, gpu_seconds_per_frame, needs_gpu, quota_text
from webapp.html import duration_text, scroll_to, status_html
from webapp.languages import count_message, decimal, message
from webapp.mask_completion import complete_strokes
from webapp.mask_editing import masks_html, save_strokes
from webapp.project import Project
from webapp.results_view import overlay_style, result_updates
from webapp.runtime_estimate import estimate_run_seconds, learn_speed
from webapp.session import Session, has_job, is_open, job_of, project_of, reader_of
from webapp.settings_controls import NAMED_WEIGHTS, WEIGHTS, settings_error_text, settings_of
from webapp.updates import EstimateUpdates, RunUpdates
from webapp.work_limit import WorkLimitError, check_work, deadline, limit_text

MEMORY_INTERVAL = 10  # frames: explaining a pixel then follows the motion of few frames
TIMED_FRAMES = 10  # least number of tracked frames from which a speed is learned: the first ones have few references
MAX_MEMORIES = 16  # of a run; each has 3 MB at 480p
_STOP_SECONDS = 0.2  # after which a download notices that its run was stopped

encoders = {source: shared_encoder(source, "auto") for source in (WEIGHTS, *NAMED_WEIGHTS)}


def estimate(session: Session, *chosen: Any) -> EstimateUpdates:
    """The expected duration of a run; during one, nothing new: a trial would slow it down."""
    return {} if has_job(session) else {"estimate": estimate_text(session, *chosen)}


def estimate_text(session: Session, *chosen: Any) -> str:
    """Expected duration of a run and the limit as HTML; empty if it cannot be estimated."""
    if not session:
        return ""
    try:
        settings = settings_of(*chosen)
        if raft_needs_download(settings):
            return f'<div class="legend">{message("estimate.download")}</div>'
        left, seconds = _expected_work(session, settings)
        check_work(seconds, _processing_size(session, settings))
    except (SettingsError, WorkLimitError) as error:
        return status_html(_refusal(error), error=True)
    except (WeightsError, ValueError):
        return ""
    reused = session["frames"] - left
    if not left:
        text = count_message("estimate.nothing", reused)
    elif needs_gpu(settings):
        text = quota_text(left, _processing_size(session, settings))
    else:
        frames = count_message("count.frames", left)
        text = message("estimate.here", time=duration_text(max(1, seconds)), frames=frames)
    if left and reused:
        text += f" {count_message('estimate.reused', reused)}"
    return f'<div class="legend">{text} {message("estimate.limit", limit=limit_text())}</div>'


def _refusal(error: SettingsError | WorkLimitError) -> str:
    return settings_error_text(error) if isinstance(error, SettingsError) else str(error)


def expected_seconds(session: Session, settings: Settings) -> float:
    """Expected duration of a run [s] with the masks so far, which may reuse frames of the run before.

    Raises:
        WeightsError: The weights of the optical flow cannot be loaded.
    """
    return _expected_work(session, settings)[1]


def _expected_work(session: Session, settings: Settings) -> tuple[int, float]:
    """The number of frames that a run would track, and its duration [s]; see ``expected_seconds``."""
    frames, masks = session["frames"], _masks(session)
    reused = _reusable(session, settings, masks)
    left = frames - reused
    if needs_gpu(settings):  # this process has no GPU for a trial
        return left, sum(allocations(left, gpu_seconds_per_frame(_processing_size(session, settings))))
    encoder = encoders[settings.weights]
    return left, estimate_run_seconds(encoder, settings, _size(session), frames, _count_objects(masks), reused)


def _count_objects(masks: Mapping[int, Mask]) -> int:
    return max(1, len({label for mask in masks.values() for label in objects_in(mask)}))


def _masks(session: Session) -> dict[int, Mask]:
    return {index: read_mask(path) for index, path in project_of(session).input_masks.items()}


def _reusable(session: Session, settings: Settings, masks: Mapping[int, Mask]) -> int:
    """The number of frames that would keep the mask of the run before."""
    previous = project_of(session).result
    if previous is None or not masks:
        return 0
    reader = reader_of(session["clip"])
    names = {index: reader.name(index) for index in range(session["frames"])}
    identity = identity_within_clip(_size(session), settings, encoders[settings.weights])
    try:
        return len(reusable_frames(previous, names, masks, identity))
    except MaskError:  # the run before has left no receipt
        return 0


def _size(session: Session) -> tuple[int, int]:
    info = reader_of(session["clip"]).info
    return info.height, info.width


def _processing_size(session: Session, settings: Settings) -> tuple[int, int]:
    return settings.processing_size(_size(session))


def track(session: Session, settings: Settings, style: OverlayStyle) -> Iterator[Update]:
    """Tracks the objects through the clip, resuming from the previous run. Finished frames are kept in every case.

    On ZeroGPU the masks are tracked in GPU allocations, and everything else is done without one.

    Raises:
        WorkLimitError: The run would take too long or too much memory.
        gr.Error: The run failed; the message is for the visitor.
    """
    check_work(expected_seconds(session, settings), _processing_size(session, settings))
    end, project = deadline(), project_of(session)
    track_in_allocations = AllocationTracker(project, end)

    def track_part(part: Part) -> Generator[TrackedFrame, None, None]:
        if (job := job_of(session)) is not None:
            text = message("run.waiting_for_gpu", left=part.frames, total=session["frames"])
            job.publish({"status": status_html(text)})
        yield from track_in_allocations(part)

    out, previous = project.new_results_folder(), project.result
    updates = segment_video(
        session["clip"],
        project.mask_sources,
        out,
        settings,
        names=project.names,
        previous=previous.folder if previous else None,
        overlay_style=style,
        should_stop=lambda: project.should_stop() or time.time() > end,
        encoder=encoders[settings.weights],
        track_part=track_part if needs_gpu(settings) else None,
        memory_interval=max(MEMORY_INTERVAL, -(-session["frames"] // MAX_MEMORIES)),
    )
    least = 0
    try:
        for update in updates:
            if update.result:
                project.set_latest_results(out)
            yield update
    except Exception as error:
        least = 1  # the frame of an input mask is no result
        if not is_open(session):  # nobody waits for the run of a session that has ended
            raise
        raise error_for_visitor(error) from error
    finally:
        updates.close()
        if (out / "receipt.json").exists() and Result(out).frames > least:
            project.set_latest_results(out)
        else:
            shutil.rmtree(out, ignore_errors=True)


def run(session: Session, painted: Any, opacity: float, parts: list[str], *chosen: Any) -> Iterator[RunUpdates]:
    """Tracks the painted objects; yields updates of preview, status, input masks and results.

    The run goes on when its page is closed, for as long as its session is kept.
    """
    if not session:
        return
    save_strokes(session, painted)
    seconds = 0.0
    with suppress(WeightsError, ValueError):  # reported by the run itself
        settings = settings_of(*chosen)
        seconds = 0.0 if raft_needs_download(settings) else expected_seconds(session, settings)
    job = start_job(session, "run", seconds, lambda: _run(session, opacity, parts, chosen))
    yield from cast(Iterator[RunUpdates], watch_job(session, job))


def _run(session: Session, opacity: float, parts: list[str], chosen: Sequence[Any]) -> Iterator[RunUpdates]:
    try:
        yield from _track(session, opacity, parts, settings_of(*chosen))
    except (SettingsError, WorkLimitError) as error:
        yield {"status": status_html(_refusal(error), error=True), "preview": gr.update(visible=False)}


def _track(session: Session, opacity: float, parts: list[str], settings: Settings) -> Iterator[RunUpdates]:
    complete_strokes(session)
    project = project_of(session)
    if not project.input_masks:
        session["mask_problem"] = message("run.nothing_painted")
        yield {"status": status_html(session["mask_problem"], error=True)}
        return
    yield {
        "status": status_html(message("run.starting")),
        "masks": masks_html(session),
        "preview": gr.update(visible=True),
        "scroll": scroll_to("preview"),
        "results": gr.update(visible=False),
    }
    hide_preview: RunUpdates = {"preview": gr.update(visible=False)}
    if raft_needs_download(settings):
        yield {"status": status_html(message("run.downloading"))}
        failure = ""
        try:
            _download_raft(settings.raft_weights, project.should_stop)
        except WeightsError as error:
            failure = error_text(error)
        stopped = project.should_stop()
        if failure or stopped:
            ended = status_html(message("run.ended")) if stopped else status_html(failure, error=True)
            yield {**hide_preview, **result_updates(session, opacity, parts), "status": ended}
            return
    used, objects = _input_masks(project), _count_objects(_masks(session))
    try:
        for update in track(session, settings, overlay_style(opacity, parts)):
            if update.result:
                project.save(settings)
                tracked = update.result.frames - update.result.receipt["masks_reused"] - len(used)
                if not needs_gpu(settings) and tracked >= TIMED_FRAMES:
                    learn_speed(encoders[settings.weights], settings, _size(session), objects, update.fps)
                results = result_updates(session, opacity, parts)
                text = _outcome_text(update, update.result, was_asked=project.stop_file.exists())
                text += message("run.changed") if _input_masks(project) != used else ""
                yield {**hide_preview, **results, "status": status_html(text), "scroll": scroll_to("result")}
            elif update.preview is not None:
                progress = update.done / update.frames_total
                text = message("run.frame", done=update.done, total=update.frames_total)
                if update.seconds_left is not None:
                    text += message(
                        "run.left", fps=decimal(f"{update.fps:.1f}"), time=duration_text(update.seconds_left)
                    )
                    if (job := job_of(session)) is not None:
                        job.expect(update.seconds_left)
                preview = gr.update(visible=True, value=update.preview)
                yield {"preview": preview, "status": status_html(text, progress=progress)}
    except gr.Error as error:  # including ZeroGPU's quota errors
        done = project.result
        if done is None or not done.overlay.exists():
            yield {**hide_preview, "status": status_html(error.message, error=True)}
            return
        project.save(settings)
        results = result_updates(session, opacity, parts)
        text = count_message("run.resumes", session["frames"], error=error.message, done=done.frames)
        yield {**hide_preview, **results, "status": status_html(text, error=True)}


def _download_raft(weights: str, should_stop: Callable[[], bool]) -> None:
    """Downloads RAFT's weights. When the run is stopped meanwhile, the download goes on: the next run waits for it.

    Raises:
        WeightsError: See ``fetch_raft``.
    """
    download: Future[Path] = Future()

    def fetch() -> None:
        try:
            download.set_result(fetch_raft(weights))
        except Exception as error:
            download.set_exception(error)

    Thread(target=fetch, daemon=True).start()  # an executor would keep the server from ending
    while not should_stop():
        if wait([download], _STOP_SECONDS).done:
            download.result()
            return


def _input_masks(project: Project) -> dict[int, bytes]:
    """The input masks as files, by frame number: visitors paint during a run."""
    return {index: path.read_bytes() for index, path in project.input_masks.items()}


def _outcome_text(update: Update, result: Result, *, was_asked: bool) -> str:
    """How a run ended, whether it was asked to stop or not."""
    if not result.stopped:
        outcome = message("run.done")
    elif was_asked:
        outcome = message("run.kept")
    else:
        outcome = message("run.at_limit", limit=limit_text())
    reused = result.receipt["masks_reused"]
    return (
        count_message("run.frames", update.frames_total, outcome=outcome, done=result.frames)
        + (count_message("run.reused", reused) if reused else "")
        + message("run.speed", fps=decimal(f"{update.fps:.1f}"))
        + warning_text(result.receipt)
    )


def warning_text(receipt: dict[str, Any]) -> str:
    """Problems that the run recovered from, and other notes, to append to the status."""
    damage = [receipt["damage"]] if receipt["damage"] else []
    short = [message("run.memory")] if receipt["short_of_memory"] else []
    return "".join(f" {sentence}" for sentence in [*damage, *receipt.get("notes", []), *short])
