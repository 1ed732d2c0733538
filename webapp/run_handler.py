"""Running the tracker on a clip, on ZeroGPU where available, and updating the page meanwhile."""

from __future__ import annotations

import itertools
import math
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import gradio as gr

from mamp import OverlayStyle, Result, Settings, Update, WeightsError, read_mask, segment_video
from mamp.masks.label_map import objects_in
from mamp.model.checkpoint import SMALL_WEIGHTS, shared_encoder
from mamp.model.patch_encoder import PATCH
from mamp.runs.request import OUTPUTS
from mamp.settings import SettingsError
from webapp import ZERO_GPU, spaces
from webapp.background import start_job, watch_job
from webapp.errors import error_for_visitor
from webapp.html import duration_text, scroll_to, status_html
from webapp.languages import count_message, message
from webapp.mask_completion import complete_strokes
from webapp.mask_editing import masks_html, save_strokes
from webapp.results_view import overlay_style, result_updates
from webapp.runtime_estimate import estimate_run_seconds
from webapp.session import Session, is_open, job_of, project_of, reader_of
from webapp.settings_controls import WEIGHTS, settings_of
from webapp.updates import EstimateUpdates, RunUpdates
from webapp.work_limit import WorkLimitError, check_work, deadline, limit_text

GPU_SECONDS_PER_480P_FRAME, GPU_STARTUP_SECONDS, GPU_SECONDS_PER_ALLOCATION = 0.08, 10, 40

encoders = {source: shared_encoder(source, "auto") for source in (WEIGHTS, SMALL_WEIGHTS, PATCH)}


def with_gpu_allocation(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Runs a function in a ZeroGPU allocation of the duration it needs; elsewhere returns it unchanged."""
    if not ZERO_GPU:
        return function

    def duration(session: Session, settings: Settings, *_: object) -> int:
        frames: int = min(session["frames"], frames_per_allocation(session, settings))
        return math.ceil(GPU_STARTUP_SECONDS + frames * gpu_seconds_per_frame(session, settings))

    decorated: Callable[..., Iterator[Any]] = spaces.GPU(duration=duration)(function)
    return decorated


def gpu_seconds_per_frame(session: Session, settings: Settings) -> float:
    """GPU time to request per frame [s]. Optical flow dominates, so it is proportional to the number of pixels."""
    height, width = _processing_size(session, settings)
    return GPU_SECONDS_PER_480P_FRAME * max(0.2, height * width / (480 * 854))


def frames_per_allocation(session: Session, settings: Settings) -> int:
    """Frames per GPU allocation. Short allocations start sooner, and their frames are kept if the quota runs out."""
    return max(1, int((GPU_SECONDS_PER_ALLOCATION - GPU_STARTUP_SECONDS) / gpu_seconds_per_frame(session, settings)))


def estimate(session: Session, *chosen: Any) -> EstimateUpdates:
    """The expected duration of a run."""
    return {"estimate": estimate_text(session, *chosen)}


def estimate_text(session: Session, *chosen: Any) -> str:
    """Expected duration of a run and the limit as HTML; empty if it cannot be estimated."""
    if not session:
        return ""
    try:
        settings = settings_of(*chosen)
        seconds = expected_seconds(session, settings)
        check_work(seconds, _processing_size(session, settings))
    except (SettingsError, WorkLimitError) as error:
        return status_html(str(error), error=True)
    except (WeightsError, ValueError):
        return ""
    if ZERO_GPU:
        allocations = math.ceil(session["frames"] / frames_per_allocation(session, settings))
        text = count_message("estimate.gpu", allocations, seconds=f"{seconds:.0f}", frames=session["frames"])
    else:
        text = message("estimate.here", time=duration_text(max(1, seconds)), frames=session["frames"])
    return f'<div class="legend">{text} {message("estimate.limit", limit=limit_text())}</div>'


def expected_seconds(session: Session, settings: Settings) -> float:
    """Expected duration of a run of all frames [s], with the objects that are painted so far.

    Raises:
        WeightsError: The weights of the optical flow cannot be loaded.
    """
    frames: int = session["frames"]
    if ZERO_GPU:  # this process has no GPU for a trial
        allocations = math.ceil(frames / frames_per_allocation(session, settings))
        return allocations * GPU_STARTUP_SECONDS + frames * gpu_seconds_per_frame(session, settings)
    info = reader_of(session["clip"]).info
    masks = [read_mask(path) for path in project_of(session).input_masks.values()]
    objects = len({label for mask in masks for label in objects_in(mask)})
    size = info.height, info.width
    return estimate_run_seconds(encoders[settings.weights], settings, size, frames, max(1, objects))


def _processing_size(session: Session, settings: Settings) -> tuple[int, int]:
    info = reader_of(session["clip"]).info
    return settings.processing_size((info.height, info.width))


def track(session: Session, settings: Settings, style: OverlayStyle) -> Iterator[Update]:
    """Tracks the objects through the clip, resuming from the previous run. Finished frames are kept in every case.

    On ZeroGPU each allocation computes the masks of some frames; the video is then written without a GPU.

    Raises:
        WorkLimitError: The run would take too long or too much memory.
        gr.Error: The run failed; the message is for the visitor.
    """
    check_work(expected_seconds(session, settings), _processing_size(session, settings))
    end = deadline()
    if not ZERO_GPU:
        yield from segment_frames(session, settings, style, end)
        return
    project = project_of(session)
    failure: gr.Error | None = None
    previously_done = -1
    while failure is None and not project.stop_file.exists() and time.time() < end:
        try:
            for update in segment_on_gpu(
                session, settings, style, end, ("masks",), frames_per_allocation(session, settings)
            ):
                if update.result is None:
                    yield update
        except gr.Error as error:  # for instance an exhausted quota
            failure = error
        done = project.result.frames if project.result else 0
        if done in (previously_done, session["frames"]):
            break
        previously_done = done
    if project.result is not None:
        yield from segment_frames(session, settings, style, end, ("video",))
    if failure is not None:
        raise failure


def segment_frames(
    session: Session,
    settings: Settings,
    style: OverlayStyle,
    end: float,
    outputs: Collection[str] = OUTPUTS,
    frames: int | None = None,
) -> Iterator[Update]:
    """Segments the clip; stops at the time ``end`` [s since the epoch], or after ``frames`` new frames if given."""
    project = project_of(session)
    out, previous = project.new_results_folder(), project.result
    tracked = itertools.count(1)
    updates = segment_video(
        session["clip"],
        project.mask_sources,
        out,
        settings,
        names=project.names,
        previous=previous.folder if previous else None,
        overlay_style=style,
        should_stop=lambda: (
            project.should_stop() or time.time() > end or (frames is not None and next(tracked) >= frames)
        ),
        encoder=encoders[settings.weights],
        outputs=outputs,
    )
    try:
        for update in updates:
            if update.result:
                project.set_latest_results(out)
            yield update
    except Exception as error:
        # Nobody waits for the run of a session that has ended. A process with a ZeroGPU allocation does not know of it.
        if not project.folder.exists() or not (ZERO_GPU or is_open(session)):
            raise
        # Only this error keeps its message when it crosses ZeroGPU's process boundary.
        raise error_for_visitor(error) from error
    finally:
        updates.close()
        if (out / "receipt.json").exists():
            project.set_latest_results(out)
        else:
            shutil.rmtree(out, ignore_errors=True)


segment_on_gpu = with_gpu_allocation(segment_frames)


def run(
    session: Session, request: gr.Request | None, painted: Any, opacity: float, parts: list[str], *chosen: Any
) -> Iterator[RunUpdates]:
    """Tracks the painted objects; yields updates of preview, status, input masks and results.

    The run goes on when its page is closed, for as long as its session is kept.
    """
    if not session:
        return
    save_strokes(session, painted)
    server = str(request.base_url) if request else ""
    seconds = 0.0
    with suppress(WeightsError, ValueError):  # reported by the run itself
        seconds = expected_seconds(session, settings_of(*chosen))
    job = start_job(session, "run", seconds, lambda: _run(session, opacity, parts, chosen, server))
    yield from cast(Iterator[RunUpdates], watch_job(session, job))


def _run(
    session: Session, opacity: float, parts: list[str], chosen: Sequence[Any], server: str
) -> Iterator[RunUpdates]:
    try:
        yield from _track(session, opacity, parts, settings_of(*chosen), server)
    except (SettingsError, WorkLimitError) as error:
        yield {"status": status_html(str(error), error=True), "preview": gr.update(visible=False)}


def _track(session: Session, opacity: float, parts: list[str], settings: Settings, server: str) -> Iterator[RunUpdates]:
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
    try:
        for update in track(session, settings, overlay_style(opacity, parts)):
            if update.result:
                project.save(settings)
                results = result_updates(session, opacity, parts, server)
                status = status_html(_outcome_text(update, update.result, was_asked=project.stop_file.exists()))
                yield {**hide_preview, **results, "status": status, "scroll": scroll_to("result")}
            elif update.preview is not None:
                progress = update.done / update.frames_total
                text = message("run.frame", done=update.done, total=update.frames_total)
                if update.seconds_left is not None:
                    text += message("run.left", fps=f"{update.fps:.1f}", time=duration_text(update.seconds_left))
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
        results = result_updates(session, opacity, parts, server)
        text = message("run.resumes", error=error.message)
        yield {**hide_preview, **results, "status": status_html(text, error=True)}


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
        message("run.frames", outcome=outcome, done=result.frames, total=update.frames_total)
        + (message("run.reused", count=reused) if reused else "")
        + message("run.speed", fps=f"{update.fps:.1f}")
        + warning_text(result.receipt)
    )


def warning_text(receipt: dict[str, Any]) -> str:
    """Problems that the run recovered from, and other notes, to append to the status."""
    damage = [receipt["damage"]] if receipt["damage"] else []
    short = [message("run.memory")] if receipt["short_of_memory"] else []
    return "".join(f" {sentence}" for sentence in [*damage, *receipt.get("notes", []), *short])
