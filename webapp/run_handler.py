"""Following what is given through the clip, on a lent GPU where there is one; what the page shows meanwhile."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from typing import Any

import gradio as gr

from mamp import MaskError, OverlayStyle, Settings, Update, VideoError, WeightsError, load_encoder, segment_video
from mamp.model.patch_encoder import PATCH
from mamp.runs.segment_video import OUTPUTS
from mamp.settings import default_device
from webapp import spaces
from webapp.html import minutes, say
from webapp.mask_editing import keep_strokes, listing
from webapp.results_view import look_of, results
from webapp.runtime_estimate import seconds_of_run
from webapp.session import Session, project_of, reader_of
from webapp.settings_controls import WEIGHTS, settings_of

ON_LOAN = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")  # Spaces of other kinds have spaces too
GPU_SECONDS_AT_480P, GPU_SECONDS_TO_START, GPU_SECONDS_AT_ONCE = 0.08, 10, 40

encoders = {source: load_encoder(source, device=default_device()) for source in (WEIGHTS, PATCH)}


def on_gpu(work: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Lends a GPU of ZeroGPU for as long as some frames need; changes nothing elsewhere."""
    if not ON_LOAN:
        return work

    def seconds(session: Session, settings: Settings, *_: object) -> int:
        frames: int = min(session["frames"], frames_at_once(session, settings))
        return math.ceil(GPU_SECONDS_TO_START + frames * gpu_seconds_a_frame(session, settings))

    decorated: Callable[..., Iterator[Any]] = spaces.GPU(duration=seconds)(work)
    return decorated


def gpu_seconds_a_frame(session: Session, settings: Settings) -> float:
    """How long ZeroGPU is asked for, for a frame of the clip [s]: flow takes most of it, and goes by pixels."""
    info = reader_of(session["clip"]).info
    height, width = settings.processing_size((info.height, info.width))
    return GPU_SECONDS_AT_480P * max(0.2, height * width / (480 * 854))


def frames_at_once(session: Session, settings: Settings) -> int:
    """How many frames fit into one loan: short ones are granted sooner, and what they do is kept when minutes run out."""
    return max(1, int((GPU_SECONDS_AT_ONCE - GPU_SECONDS_TO_START) / gpu_seconds_a_frame(session, settings)))


def forecast(session: Session, *chosen: Any) -> str:
    """How long a run will take here, in words; nothing where that cannot be known."""
    if not session:
        return ""
    info, settings = reader_of(session["clip"]).info, settings_of(*chosen)
    for_frames = f"for {session['frames']} frames"
    if ON_LOAN:  # this process has no GPU to try
        loans = math.ceil(session["frames"] / frames_at_once(session, settings))
        seconds = loans * GPU_SECONDS_TO_START + session["frames"] * gpu_seconds_a_frame(session, settings)
        return (
            f'<div class="legend">At most {seconds:.0f} seconds of a GPU {for_frames}, {loans} times asked for.</div>'
        )
    try:
        seconds = seconds_of_run(encoders[settings.weights], settings, (info.height, info.width), session["frames"])
    except (WeightsError, ValueError):
        return ""
    words = f"About {minutes(max(1, seconds))} minutes {for_frames} on this machine."
    return f'<div class="legend">{words}</div>'


def follow(session: Session, settings: Settings, overlay_style: OverlayStyle) -> Iterator[Update]:
    """Follows the given masks through the clip, going on from the last run; what is done is kept, however it ends.

    On ZeroGPU the masks are made part by part, and the video of all of them without the GPU.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not ON_LOAN:
        yield from work(session, settings, overlay_style)
        return
    project = project_of(session)
    refused: gr.Error | None = None
    before = -1
    while refused is None and not project.stop_note.exists():
        try:
            for update in work_on_gpu(session, settings, overlay_style, ("masks",), frames_at_once(session, settings)):
                if update.result is None:
                    yield update
        except gr.Error as error:  # such as a quota that is used up
            refused = error
        done = project.result.frames if project.result else 0
        if done in (before, session["frames"]):
            break
        before = done
    if project.result is not None:
        yield from work(session, settings, overlay_style, ("video",))
    if refused is not None:
        raise refused


def work(
    session: Session,
    settings: Settings,
    overlay_style: OverlayStyle,
    kinds: Collection[str] = OUTPUTS,
    frames: int | None = None,
) -> Iterator[Update]:
    """One run, of no more than so many new ``frames``."""
    project = project_of(session)
    out, previous = project.new_results(), project.result
    tracked = itertools.count(1)
    updates = segment_video(
        session["clip"],
        project.input_masks,
        out,
        settings,
        names=project.names,
        previous=previous.folder if previous else None,
        overlay_style=overlay_style,
        should_stop=lambda: project.stop_note.exists() or (frames is not None and next(tracked) >= frames),
        encoder=encoders[settings.weights],
        outputs=kinds,
    )
    try:
        for update in updates:
            if update.result:
                project.keep(out)
            yield update
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        # From ZeroGPU's process no other error comes through with its words.
        raise gr.Error(str(error), print_exception=False) from error
    finally:
        updates.close()
        if (out / "receipt.json").exists():
            project.keep(out)
        else:
            shutil.rmtree(out, ignore_errors=True)


work_on_gpu = on_gpu(work)


def run(
    request: gr.Request | None, session: Session, painted: Any, opacity: float, parts: list[str], *chosen: Any
) -> Iterator[tuple[Any, ...]]:
    """Follows what is painted; yields preview, status, masks given, buttons and results."""
    server = str(request.base_url) if request else ""
    if not session:
        yield outputs(session, words=say("Choose a clip first.", bad=True))
        return
    keep_strokes(session, painted)
    if not project_of(session).input_masks:
        yield outputs(session, words=say("Paint at least one object on the frame first.", bad=True))
        return
    project_of(session).stop_note.unlink(missing_ok=True)
    yield outputs(session, words=say("Starting ..."), running=True)
    settings = settings_of(*chosen)
    try:
        for update in follow(session, settings, look_of(opacity, parts)):
            if update.result:
                taken = update.result.receipt["masks_reused"]
                how = "Stopped; what was done is kept" if update.result.stopped else "Done"
                words = f"{how}: {update.result.frames} of {update.frames_total} frames, {update.fps:.1f} a second"
                words += f"; {taken} taken over from the last run." if taken else "."
                words += remarks(update.result.receipt)
                project_of(session).save(settings)
                yield outputs(session, words=say(words), shown=results(session, opacity, parts, server))
            elif update.preview is not None:
                share = update.done / update.frames_total
                words = f"Frame {update.done} of {update.frames_total}"
                if update.seconds_left is not None:
                    words += f" · {update.fps:.1f} a second · {minutes(update.seconds_left)} left"
                yield outputs(session, preview=update.preview, words=say(words, share=share), running=True)
    except gr.Error as error:  # also what ZeroGPU says of quotas
        done = project_of(session).result
        if done is None or not done.overlay.exists():
            yield outputs(session, words=say(error.message, bad=True))
            return
        project_of(session).save(settings)
        words = f"{error.message} What was done is kept; the next run goes on from there."
        yield outputs(session, words=say(words, bad=True), shown=results(session, opacity, parts, server))


def remarks(receipt: dict[str, Any]) -> str:
    """What went otherwise than a visitor would expect."""
    short = " The GPU ran short of memory; matching went on in smaller blocks."
    return (f" {receipt['damage']}" if receipt["damage"] else "") + (short if receipt["short_of_memory"] else "")


def outputs(
    session: Session, *, words: str, preview: Any = None, running: bool = False, shown: tuple[Any, ...] | None = None
) -> tuple[Any, ...]:
    """One update of the page while it runs: a preview stands where results will."""
    picture = gr.update(visible=running) if preview is None else gr.update(value=preview, visible=True)
    buttons = gr.update(interactive=not running), gr.update(interactive=running)
    hidden = (gr.update(visible=False) if running else gr.skip(), *(gr.skip(),) * 9)
    return picture, words, listing(session), *buttons, *(shown or hidden)


def ask_to_stop(session: Session) -> None:
    """Leaves a note that the run sees at its next frame, also from another process."""
    if session:
        project_of(session).stop_note.touch()
