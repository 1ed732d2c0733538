"""Running the tracker on a clip, on ZeroGPU where available, and updating the page meanwhile."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from typing import Any

import gradio as gr

from mamp import MaskError, OverlayStyle, Settings, Update, VideoError, WeightsError, load_encoder, segment_video
from mamp.distributed import resolve_device
from mamp.model.patch_encoder import PATCH
from mamp.runs.request import OUTPUTS
from webapp import spaces
from webapp.html import duration_text, status_html
from webapp.mask_editing import masks_html, save_strokes
from webapp.results_view import overlay_style, result_updates
from webapp.runtime_estimate import estimate_run_seconds
from webapp.session import Session, project_of, reader_of
from webapp.settings_controls import WEIGHTS, settings_of

# The spaces package is no sign of ZeroGPU: other Spaces have it too.
ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
GPU_SECONDS_PER_480P_FRAME, GPU_STARTUP_SECONDS, GPU_SECONDS_PER_ALLOCATION = 0.08, 10, 40

encoders = {source: load_encoder(source, device=resolve_device("auto")) for source in (WEIGHTS, PATCH)}


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
    info = reader_of(session["clip"]).info
    height, width = settings.processing_size((info.height, info.width))
    return GPU_SECONDS_PER_480P_FRAME * max(0.2, height * width / (480 * 854))


def frames_per_allocation(session: Session, settings: Settings) -> int:
    """Frames per GPU allocation. Short allocations start sooner, and their frames are kept if the quota runs out."""
    return max(1, int((GPU_SECONDS_PER_ALLOCATION - GPU_STARTUP_SECONDS) / gpu_seconds_per_frame(session, settings)))


def estimate_text(session: Session, *chosen: Any) -> str:
    """Expected duration of a run as HTML; empty if it cannot be estimated."""
    if not session:
        return ""
    info = reader_of(session["clip"]).info
    try:
        settings = settings_of(*chosen)
    except ValueError as error:
        return status_html(str(error), error=True)
    for_frames = f"for {session['frames']} frames"
    if ZERO_GPU:  # this process has no GPU for a trial
        allocations = math.ceil(session["frames"] / frames_per_allocation(session, settings))
        seconds = allocations * GPU_STARTUP_SECONDS + session["frames"] * gpu_seconds_per_frame(session, settings)
        plural = "" if allocations == 1 else "s"
        text = f"At most {seconds:.0f} GPU seconds {for_frames}, in {allocations} allocation{plural}."
        return f'<div class="legend">{text}</div>'
    try:
        seconds = estimate_run_seconds(
            encoders[settings.weights], settings, (info.height, info.width), session["frames"]
        )
    except (WeightsError, ValueError):
        return ""
    return f'<div class="legend">About {duration_text(max(1, seconds))} {for_frames} on this machine.</div>'


def track(session: Session, settings: Settings, style: OverlayStyle) -> Iterator[Update]:
    """Tracks the objects through the clip, resuming from the previous run. Finished frames are kept in every case.

    On ZeroGPU each allocation computes the masks of some frames; the video is then written without a GPU.

    Raises:
        gr.Error: The run failed; the message is for the visitor.
    """
    if not ZERO_GPU:
        yield from segment_frames(session, settings, style)
        return
    project = project_of(session)
    failure: gr.Error | None = None
    previously_done = -1
    while failure is None and not project.stop_file.exists():
        try:
            for update in segment_on_gpu(
                session, settings, style, ("masks",), frames_per_allocation(session, settings)
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
        yield from segment_frames(session, settings, style, ("video",))
    if failure is not None:
        raise failure


def segment_frames(
    session: Session,
    settings: Settings,
    style: OverlayStyle,
    outputs: Collection[str] = OUTPUTS,
    frames: int | None = None,
) -> Iterator[Update]:
    """Segments the clip; stops after ``frames`` new frames if given."""
    project = project_of(session)
    out, previous = project.new_results_folder(), project.result
    tracked = itertools.count(1)
    updates = segment_video(
        session["clip"],
        project.input_masks,
        out,
        settings,
        names=project.names,
        previous=previous.folder if previous else None,
        overlay_style=style,
        should_stop=lambda: project.stop_file.exists() or (frames is not None and next(tracked) >= frames),
        encoder=encoders[settings.weights],
        outputs=outputs,
    )
    try:
        for update in updates:
            if update.result:
                project.set_latest_results(out)
            yield update
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        # Only this error keeps its message when it crosses ZeroGPU's process boundary.
        raise gr.Error(str(error), print_exception=False) from error
    finally:
        updates.close()
        if (out / "receipt.json").exists():
            project.set_latest_results(out)
        else:
            shutil.rmtree(out, ignore_errors=True)


segment_on_gpu = with_gpu_allocation(segment_frames)


def run(
    request: gr.Request | None, session: Session, painted: Any, opacity: float, parts: list[str], *chosen: Any
) -> Iterator[tuple[Any, ...]]:
    """Tracks the painted objects; yields updates of preview, status, input masks, buttons and results."""
    server = str(request.base_url) if request else ""
    if not session:
        yield run_updates(session, status=status_html("Choose a clip first.", error=True))
        return
    save_strokes(session, painted)
    if not project_of(session).input_masks:
        yield run_updates(session, status=status_html("Paint at least one object on the frame first.", error=True))
        return
    try:
        settings = settings_of(*chosen)
    except ValueError as error:
        yield run_updates(session, status=status_html(str(error), error=True))
        return
    project_of(session).stop_file.unlink(missing_ok=True)
    yield run_updates(session, status=status_html("Starting ..."), running=True)
    try:
        for update in track(session, settings, overlay_style(opacity, parts)):
            if update.result:
                reused = update.result.receipt["masks_reused"]
                outcome = "Stopped; finished frames are kept" if update.result.stopped else "Done"
                message = f"{outcome}: {update.result.frames} of {update.frames_total} frames"
                message += f", {reused} reused from the previous run" if reused else ""
                message += f", {update.fps:.1f} frames/s." + warning_text(update.result.receipt)
                project_of(session).save(settings)
                yield run_updates(
                    session, status=status_html(message), results=result_updates(session, opacity, parts, server)
                )
            elif update.preview is not None:
                progress = update.done / update.frames_total
                message = f"Frame {update.done} of {update.frames_total}"
                if update.seconds_left is not None:
                    message += f" · {update.fps:.1f} frames/s · {duration_text(update.seconds_left)} left"
                yield run_updates(
                    session, preview=update.preview, status=status_html(message, progress=progress), running=True
                )
    except gr.Error as error:  # including ZeroGPU's quota errors
        done = project_of(session).result
        if done is None or not done.overlay.exists():
            yield run_updates(session, status=status_html(error.message, error=True))
            return
        project_of(session).save(settings)
        message = f"{error.message} Finished frames are kept; the next run resumes from there."
        yield run_updates(
            session, status=status_html(message, error=True), results=result_updates(session, opacity, parts, server)
        )


def warning_text(receipt: dict[str, Any]) -> str:
    """Problems that the run recovered from, to append to the status."""
    short = " GPU memory ran low; matching continued in smaller blocks."
    return (f" {receipt['damage']}" if receipt["damage"] else "") + (short if receipt["short_of_memory"] else "")


def run_updates(
    session: Session, *, status: str, preview: Any = None, running: bool = False, results: tuple[Any, ...] | None = None
) -> tuple[Any, ...]:
    """One update of the page: the preview during a run, the results after it."""
    image = gr.update(visible=running) if preview is None else gr.update(value=preview, visible=True)
    buttons = gr.update(interactive=not running), gr.update(interactive=running)
    hidden = (gr.update(visible=False) if running else gr.skip(), *(gr.skip(),) * 9)
    return image, status, masks_html(session), *buttons, *(results or hidden)


def request_stop(session: Session) -> None:
    """Creates the stop file, which the run checks at every frame, even in another process."""
    if session:
        project_of(session).stop_file.touch()
