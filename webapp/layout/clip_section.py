"""Section 1 of the page: the clip."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from mamp.video.decoder import VIDEO_SUFFIXES
from webapp.examples import gallery_html
from webapp.javascript import EXAMPLE_EVENTS
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
    gr.Markdown("## 1 · Choose a clip\nOpen an example:")
    examples = gr.HTML(gallery_html(), js_on_load=EXAMPLE_EVENTS, elem_id="examples")
    max_upload = MAX_UPLOAD.upper().replace("MB", " MB")
    gr.Markdown(
        f"Or your own, of up to {MAX_FRAMES} frames, 8K resolution and {max_upload}: "
        f"{', '.join(suffix[1:] for suffix in VIDEO_SUFFIXES)}."
    )
    clip = gr.Video(label="Clip", sources=["upload", "webcam"], height=280, elem_id="clip")
    with gr.Accordion("Trim the clip", open=False, visible=False) as trim_panel:
        with gr.Row():
            first_frame = gr.Number(0, label="First frame", precision=0, minimum=0, min_width=80)
            last_frame = gr.Number(0, label="Last frame", precision=0, minimum=0, min_width=80)
        trim = gr.Button("Trim to these frames", variant="primary", size="sm")
    with gr.Accordion("Continue a saved project", open=False):
        project_file = gr.File(
            label="Project file (choose its clip first)", file_types=[".zip"], height=110, elem_id="project-file"
        )
    return ClipSection(clip, trim_panel, first_frame, last_frame, trim, examples, project_file)
