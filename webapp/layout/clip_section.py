"""Section 1 of the page: the clip."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from mamp.video.decoder import VIDEO_SUFFIXES
from webapp.examples import gallery_html
from webapp.javascript import EXAMPLE_EVENTS
from webapp.languages import browser_texts, label
from webapp.session import MAX_FRAMES, MAX_UPLOAD


@dataclass(frozen=True)
class ClipSection:
    """Components of the section."""

    clip: gr.Video
    trim_panel: gr.Accordion
    first_frame: gr.Number
    last_frame: gr.Number
    trim: gr.Button
    examples: gr.HTML
    project_file: gr.File


def clip_section() -> ClipSection:
    """Builds the section."""
    gr.Markdown(label("clip.heading"))
    examples = gr.HTML(
        html_template=gallery_html(), texts=browser_texts("gallery"), js_on_load=EXAMPLE_EVENTS, elem_id="examples"
    )
    max_upload = MAX_UPLOAD.upper().replace("MB", " MB")
    formats = ", ".join(suffix[1:] for suffix in VIDEO_SUFFIXES)
    gr.Markdown(label("clip.limits", frames=MAX_FRAMES, size=max_upload, formats=formats))
    clip = gr.Video(label=label("clip.label"), sources=["upload", "webcam"], height=280, elem_id="clip")
    with gr.Accordion(label("trim.panel"), open=False, visible=False) as trim_panel:
        with gr.Row():
            first_frame = gr.Number(0, label=label("trim.first"), precision=0, minimum=0, min_width=80)
            last_frame = gr.Number(0, label=label("trim.last"), precision=0, minimum=0, min_width=80)
        trim = gr.Button(label("trim.button"), variant="primary", size="sm")
    with gr.Accordion(label("project.panel"), open=False):
        project_file = gr.File(label=label("project.file"), file_types=[".zip"], height=110, elem_id="project-file")
    return ClipSection(clip, trim_panel, first_frame, last_frame, trim, examples, project_file)
