"""The events of the page: which handler runs on which event, and which components it reads and updates."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from webapp.clips import open_clip, open_example, trim_clip
from webapp.javascript import STORE_LOADING_PROMISE, WAIT_FOR_FRAME
from webapp.layout.clip_section import ClipSection
from webapp.layout.paint_section import PaintSection
from webapp.layout.review_section import ReviewSection
from webapp.layout.run_section import RunSection
from webapp.mask_editing import (
    add_object_in_box,
    clear_mask,
    load_mask_file,
    load_mask_into_editor,
    load_project_file,
    rename_object,
    select_frame,
    select_masked_frame,
)
from webapp.results_view import frame_comparison, prepare_export, show_frame
from webapp.run_handler import estimate_text, request_stop, run
from webapp.settings_controls import PRESETS, change_event, control_values


def connect_events(
    page: gr.Blocks, session: gr.State, clip: ClipSection, paint: PaintSection, run: RunSection, review: ReviewSection
) -> None:
    """Connects the sections of a page."""
    clip_events = _clip_events(session, clip, paint, run, review)
    _estimate_events(session, run, clip_events)
    frame_events = _painting_events(session, clip, paint, run, review)
    for event in (*clip_events, *frame_events):
        event.then(
            load_mask_into_editor,
            session,
            paint.editor,
            js=WAIT_FOR_FRAME,
            show_progress="hidden",
            api_visibility="private",
        )
    page.load(None, js=STORE_LOADING_PROMISE)
    _run_events(session, paint, run, review)
    _review_events(session, run, review)


def _clip_events(
    session: gr.State, clip: ClipSection, paint: PaintSection, run: RunSection, review: ReviewSection
) -> list[Any]:
    """Events that open a clip; each replaces the frame in the editor."""
    outputs = [
        session,
        paint.editor,
        paint.placeholder,
        run.status,
        run.start,
        paint.frame,
        paint.masks,
        clip.trim_panel,
        clip.first_frame,
        clip.last_frame,
        *review.results,
    ]
    trim_inputs = [clip.clip, session, clip.first_frame, clip.last_frame]
    events = [
        clip.clip.input(open_clip, [clip.clip, session], outputs, api_visibility="private"),
        clip.clip.stop_recording(open_clip, [clip.clip, session], outputs, api_visibility="private"),
        clip.clip.clear(open_clip, [clip.clip, session], outputs, api_visibility="private"),
        clip.trim.click(trim_clip, trim_inputs, outputs, api_visibility="private"),
    ]
    for name, button in clip.examples.items():
        inputs = [gr.State(name), session]
        events.append(button.click(open_example, inputs, [clip.clip, *outputs], api_visibility="private"))
    return events


def _estimate_events(session: gr.State, run: RunSection, clip_events: list[Any]) -> None:
    """Events that change how long a run will take."""
    wiring = {"inputs": [session, *run.settings.controls], "outputs": run.estimate, "show_progress": "hidden"}
    for event in clip_events:
        event.then(estimate_text, **wiring, api_visibility="private")
    gr.on(
        [change_event(control) for control in run.settings.controls], estimate_text, **wiring, api_visibility="private"
    )


def _painting_events(
    session: gr.State, clip: ClipSection, paint: PaintSection, run: RunSection, review: ReviewSection
) -> list[Any]:
    """Events that change the frame in the editor or its mask."""
    paint.masks.submit(rename_object, session, None, show_progress="hidden", api_visibility="private")
    editor = paint.editor
    frame_outputs = [session, editor, paint.frame, paint.masks]
    mask_outputs = [editor, run.status, paint.masks]
    box_inputs = [session, editor, paint.box_object, *paint.box_corners]
    project_outputs = [run.status, editor, paint.masks, *run.settings.controls]
    return [
        editor.clear(clear_mask, session, [editor, paint.masks], api_visibility="private"),
        paint.frame.release(select_frame, [session, editor, paint.frame], frame_outputs, api_visibility="private"),
        review.correct.click(select_frame, [session, editor, review.frame], frame_outputs, api_visibility="private"),
        paint.masks.select(select_masked_frame, [session, editor], frame_outputs, api_visibility="private"),
        paint.mask_file.upload(
            load_mask_file, [session, editor, paint.mask_file], mask_outputs, api_visibility="private"
        ),
        paint.segment_box.click(add_object_in_box, box_inputs, mask_outputs, api_visibility="private"),
        clip.project_file.upload(
            load_project_file, [session, editor, clip.project_file], project_outputs, api_visibility="private"
        ),
    ]


def _run_events(session: gr.State, paint: PaintSection, section: RunSection, review: ReviewSection) -> None:
    """Presets, the start of a run and its end."""
    settings = section.settings
    for button, preset in zip(settings.presets, PRESETS.values(), strict=True):
        button.click(partial(control_values, preset), None, settings.controls, api_visibility="private")
    section.start.click(
        run,
        [session, paint.editor, settings.opacity, settings.overlay_parts, *settings.controls],
        [section.preview, section.status, paint.masks, section.start, section.stop, *review.results],
        concurrency_limit=1,
        concurrency_id="gpu",
        api_visibility="private",
    )
    section.stop.click(request_stop, session, None, queue=False, api_visibility="private")


def _review_events(session: gr.State, run: RunSection, review: ReviewSection) -> None:
    """Events that show a frame of the result or export it."""
    opacity, parts = run.settings.opacity, run.settings.overlay_parts
    review.frame.input(
        frame_comparison,
        [session, review.frame, opacity, parts],
        review.comparison,
        show_progress="hidden",
        api_visibility="private",
    )
    review.flags.select(
        show_frame,
        [session, opacity, parts],
        [review.frame, review.comparison],
        show_progress="hidden",
        api_visibility="private",
    )
    review.prepare.click(
        prepare_export, [session, review.export_format], [review.exported, run.status], api_visibility="private"
    )
