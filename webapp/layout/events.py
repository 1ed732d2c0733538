"""The events of the page: which handler runs on which event, with which inputs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webapp.clips import (
    bring_back,
    check_session,
    choose_example,
    open_clip,
    remove_clip,
    resume_session,
    trim_clip,
)
from webapp.explanation_view import explain_pixel, prepare_explanation
from webapp.javascript import READ_ADDRESS, SHOW_JOB, SHOW_RESTORING
from webapp.jobs import cancel_job, claim_job, refuse_job, settle_job, watch
from webapp.layout.browser_section import BrowserSection
from webapp.layout.clip_section import ClipSection
from webapp.layout.paint_section import PaintSection
from webapp.layout.review_section import ReviewSection
from webapp.layout.run_section import RunSection
from webapp.layout.wiring import Wiring
from webapp.mask_completion import prepare_frame, save_and_complete
from webapp.mask_editing import (
    jump_to_frame,
    jump_to_masked_frame,
    load_project_file,
    refresh_editor,
    remove_from_mask,
    rename_object,
    select_frame,
    undo_removal,
)
from webapp.mask_files import load_mask_files, remove_mask_files
from webapp.results_view import prepare_export, show_frame
from webapp.run_handler import estimate, run
from webapp.scoring_view import score_result
from webapp.settings_controls import PRESETS, change_event, choose_preset


def connect_events(
    page: gr.Blocks,
    session: gr.State,
    browser: BrowserSection,
    clip: ClipSection,
    paint: PaintSection,
    run: RunSection,
    review: ReviewSection,
) -> Wiring:
    """Connects the sections of a page."""
    closed_status = gr.State("")
    components = {
        "closed_status": closed_status,
        "address": browser.address,
        "scroll": browser.scroll,
        "clip": clip.clip,
        "trim_panel": clip.trim_panel,
        "first_frame": clip.first_frame,
        "last_frame": clip.last_frame,
        "editor": paint.editor,
        "frame": paint.frame,
        "masks": paint.masks,
        "mask_file": paint.mask_file,
        "project_file": clip.project_file,
        "estimate": run.estimate,
        "status": run.status,
        "start": run.start,
        "stop": run.stop,
        "preview": run.preview,
        "settings": run.settings.controls,
        **review.results,
    }
    wiring = Wiring(page, session, components, browser.check)
    page.load(None, None, run.status, js=SHOW_RESTORING, api_visibility="private")
    resumed = wiring.connect(page.load, resume_session, browser.address, js=READ_ADDRESS, show_progress="hidden")
    watched = wiring.connect(resumed.then, watch, show_progress="hidden", concurrency_limit=None)
    wiring.connect(watched.then, refresh_editor, queue=False, show_progress="hidden")
    wiring.connect(browser.check.input, check_session, queue=False, show_progress="hidden")
    changes = [
        resumed,
        *_clip_events(wiring, clip, run.status, closed_status),
        *_painting_events(wiring, clip, paint, review),
    ]
    _estimate_events(wiring, run, [*changes, watched, *_job_events(wiring, closed_status, paint, run, review)])
    _review_events(wiring, browser, run, review)
    return wiring


def _clip_events(wiring: Wiring, clip: ClipSection, status: gr.HTML, closed_status: gr.State) -> list[Any]:
    """Events that open or remove a clip; each replaces the frame in the editor."""
    uploads = (clip.clip.input, clip.clip.stop_recording)
    return [
        # By default, Gradio would drop a clip that is chosen while another one is being opened.
        *(wiring.connect(event, open_clip, clip.clip, closed_status, trigger_mode="multiple") for event in uploads),
        wiring.connect(clip.clip.clear, remove_clip),
        wiring.connect(status.undo, bring_back),
        wiring.connect(clip.trim.click, trim_clip, clip.clip, clip.first_frame, clip.last_frame),
        wiring.connect(clip.examples.select, choose_example, closed_status),
    ]


def _in_order(name: str) -> dict[str, Any]:
    """Options of events that must be handled one after the other: the last answer is that of the last question."""
    return {"concurrency_limit": 1, "concurrency_id": name}


def _estimate_events(wiring: Wiring, run: RunSection, changes: list[Any]) -> None:
    """Events that change how long a run will take."""
    controls = run.settings.controls.values()
    # Minimal progress fades the sentence that no longer holds.
    options = {"show_progress": "minimal", "trigger_mode": "always_last", **_in_order("estimate")}
    for event in (*(event.then for event in changes), *(change_event(control) for control in controls)):
        wiring.connect(event, estimate, *controls, **options)


def _painting_events(wiring: Wiring, clip: ClipSection, paint: PaintSection, review: ReviewSection) -> list[Any]:
    """Events that change the frame in the editor or its mask; returns those that change a mask."""
    wiring.connect(paint.masks.submit, rename_object, show_progress="hidden")
    editor = paint.editor
    often = {"show_progress": "hidden", "trigger_mode": "always_last"}
    painted = wiring.connect(editor.input, save_and_complete, editor, concurrency_limit=4, **often)
    wiring.connect(editor.load, prepare_frame, show_progress="hidden")
    # Not preprocessed: Gradio would refuse, in its own words, a number beyond the end of a clip that was closed meanwhile.
    wiring.connect(paint.frame.input, select_frame, editor, paint.frame, preprocess=False, **often)
    wiring.connect(review.correct.click, jump_to_frame, editor, review.frame)
    wiring.connect(paint.masks.select, jump_to_masked_frame, editor)
    in_order = _in_order("mask_files")  # a file that follows the x stays
    return [
        painted,
        wiring.connect(paint.masks.delete, remove_from_mask, editor),
        wiring.connect(paint.masks.undo, undo_removal, editor),
        wiring.connect(paint.mask_file.upload, load_mask_files, editor, paint.mask_file, **in_order),
        *(
            wiring.connect(event, remove_mask_files, editor, paint.mask_file, **in_order)
            for event in (paint.mask_file.clear, paint.mask_file.delete)
        ),
        wiring.connect(clip.project_file.upload, load_project_file, editor, clip.project_file),
    ]


def _job_events(
    wiring: Wiring, closed_status: gr.State, paint: PaintSection, section: RunSection, review: ReviewSection
) -> list[Any]:
    """Presets, and the start and end of a run or an export; returns the events that start them."""
    settings = section.settings
    for button, preset in zip(settings.presets, PRESETS, strict=True):
        wiring.connect(button.click, choose_preset, gr.State(preset))
    style = settings.opacity, settings.overlay_parts
    run_inputs = (paint.editor, *style, *settings.controls.values())
    buttons, jobs = [section.start, review.prepare, section.stop], []
    for kind, button, handler, inputs in (
        ("run", section.start, run, run_inputs),
        ("export", review.prepare, prepare_export, (review.export_format,)),
    ):
        button.click(None, None, buttons, js=SHOW_JOB, api_visibility="private")  # before the server answers
        claimed = wiring.connect(button.click, claim_job, gr.State(kind), queue=False, show_progress="hidden")
        job = wiring.connect(claimed.then, handler, *inputs, concurrency_limit=None, show_progress="hidden")
        refused = wiring.connect(job.failure, refuse_job, gr.State(kind), queue=False, show_progress="hidden")
        for over in (job.success, refused.then):  # beside ``refuse_job``, the place could still be taken
            wiring.connect(over, settle_job, closed_status, queue=False, show_progress="hidden")
        wiring.connect(job.then, refresh_editor, queue=False, show_progress="hidden")
        jobs.append(job)
    wiring.connect(section.stop.click, cancel_job, queue=False, show_progress="hidden")
    return jobs


def _review_events(wiring: Wiring, browser: BrowserSection, run: RunSection, review: ReviewSection) -> None:
    """Events that show a frame of the result."""
    style = run.settings.opacity, run.settings.overlay_parts
    wanted = browser.wanted_frame
    wiring.connect(wanted.input, show_frame, *style, wanted, show_progress="hidden", trigger_mode="always_last")
    beside_runs = {"show_progress": "hidden", **_in_order("review")}
    wiring.connect(review.explained.select, explain_pixel, *style, trigger_mode="always_last", **beside_runs)
    for event in (review.why.select, review.explained.load):
        wiring.connect(event, prepare_explanation, **beside_runs)
    for event in (review.true_masks.upload, review.true_masks.clear):
        wiring.connect(event, score_result, review.true_masks, **beside_runs)
