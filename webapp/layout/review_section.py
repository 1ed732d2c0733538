"""Section 3 of the page: the results of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp.javascript import CHOOSE_PIXEL, PLAYBACK
from webapp.results_view import EXPORT_FORMATS


@dataclass(frozen=True)
class ReviewSection:
    """Components of the section.

    Attributes:
        group: The whole section, hidden until there is a result.
        frame: Number of the frame in ``comparison``.
        comparison: A frame without and with its masks.
        flags: Frames to review, and the chart.
        explained: A frame to choose a pixel in, and why it got its label.
        true_masks: Masks to score the result with.
        scored: The scores.
        snippets: The run as Python, as a command line and as a client of the page.
    """

    group: gr.Column
    video: gr.Video
    comparison: gr.ImageSlider
    frame: gr.Slider
    correct: gr.Button
    flags: gr.HTML
    explained: gr.HTML
    true_masks: gr.File
    scored: gr.HTML
    files: gr.Files
    export_format: gr.Dropdown
    prepare: gr.Button
    exported: gr.File
    snippets: list[gr.Textbox]

    @property
    def results(self) -> dict[str, Any]:
        """The components that handlers update, by their names in ``webapp.updates``."""
        return {
            "results": self.group,
            "result_video": self.video,
            "files": self.files,
            "result_frame": self.frame,
            "comparison": self.comparison,
            "flags": self.flags,
            "explained": self.explained,
            "true_masks": self.true_masks,
            "scored": self.scored,
            "prepare": self.prepare,
            "exported": self.exported,
            **dict(zip(("python", "command", "client"), self.snippets, strict=True)),
        }


def review_section() -> ReviewSection:
    """Builds the section."""
    with gr.Column(visible=False) as group:
        gr.Markdown("## 3 · Review, correct, download")
        with gr.Row():
            with gr.Column(min_width=300):
                video = gr.Video(label="Result", interactive=False, height=320, loop=True, elem_id="result-video")
            with gr.Column(min_width=300):
                comparison = gr.ImageSlider(
                    label="Frame | with masks",
                    interactive=False,
                    max_height=300,
                    buttons=["fullscreen"],
                    slider_position=0,
                )
                frame = gr.Slider(
                    0,
                    1,
                    value=0,
                    step=1,
                    label="Frame",
                    info="Use the arrow keys to step through the frames.",
                    interactive=False,
                    buttons=[],
                    elem_id="result-frame",
                )
                correct = gr.Button("Correct this frame", size="sm")
        flags = gr.HTML("", js_on_load=PLAYBACK)
        with gr.Tab("Files"):
            files = gr.Files(
                label="Overlay, masks (PNG and RLE), areas (CSV), receipt, project file",
                interactive=False,
                height=440,
                elem_id="files",
            )
            with gr.Row():
                export_format = gr.Dropdown(
                    list(EXPORT_FORMATS),
                    value=next(iter(EXPORT_FORMATS)),
                    label="More formats",
                    info="Created on request.",
                    scale=3,
                )
                prepare = gr.Button("Prepare", size="sm", scale=1)
            exported = gr.File(label="Exported file", interactive=False, height=90, visible=False, elem_id="product")
        with gr.Tab("Why this label?"):
            explained = gr.HTML("", js_on_load=CHOOSE_PIXEL, elem_id="explained")
        with gr.Tab("This run as code"):
            gr.Markdown("Run this in a folder with the clip and `project.zip` (see *Files*):")
            snippets = [  # not gr.Code: its colors have too little contrast
                gr.Textbox(label=label, lines=3, max_lines=12, buttons=["copy"], elem_classes="code")
                for label in ("Python", "Command line", "API client")
            ]
        with gr.Accordion("Score it here, with true masks", open=False):
            true_masks = gr.File(
                label="True masks: a zip file or PNG files, named as the frames, 00000.png for the first",
                file_types=[".zip", ".png"],
                file_count="multiple",
                height=110,
                elem_id="true-masks",
            )
            scored = gr.HTML("", elem_id="scored")
    return ReviewSection(
        group,
        video,
        comparison,
        frame,
        correct,
        flags,
        explained,
        true_masks,
        scored,
        files,
        export_format,
        prepare,
        exported,
        snippets,
    )
