"""Section 3 of the page: the results of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp.javascript import CHOOSE_PIXEL, PLAYBACK
from webapp.languages import label
from webapp.results_view import EXPORT_FORMATS


@dataclass(frozen=True)
class ReviewSection:
    """Components of the section.

    Attributes:
        group: The whole section, hidden until there is a result.
        frame: Number of the frame in ``comparison``.
        comparison: A frame without and with its masks.
        flags: Frames to review, and the chart.
        why: The tab of ``explained``.
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
    why: gr.Tab
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
        gr.Markdown(label("review.heading"))
        with gr.Row():
            with gr.Column(min_width=300):
                video = gr.Video(
                    label=label("review.video"), interactive=False, height=320, loop=True, elem_id="result-video"
                )
            with gr.Column(min_width=300):
                comparison = gr.ImageSlider(
                    label=str(label("review.comparison")),
                    interactive=False,
                    max_height=300,
                    buttons=["fullscreen"],
                    slider_position=0,
                    format="jpeg",  # encoding takes a tenth of the time of webp
                    elem_id="comparison",
                )
                frame = gr.Slider(
                    0,
                    1,
                    value=0,
                    step=1,
                    label=label("review.frame"),
                    info=label("review.frame_info"),
                    interactive=False,
                    buttons=[],
                    elem_id="result-frame",
                )
                correct = gr.Button(label("review.correct"), size="sm", elem_id="correct-frame")
        flags = gr.HTML("", js_on_load=PLAYBACK)
        with gr.Tab(label("files.tab")):
            files = gr.Files(
                label=label("files.label"),
                interactive=False,
                height=440,
                elem_id="files",
            )
            with gr.Row():
                export_format = gr.Dropdown(
                    [(label(f"export.{kind}"), kind) for kind in EXPORT_FORMATS],
                    value=EXPORT_FORMATS[0],
                    label=label("export.label"),
                    info=label("export.info"),
                    scale=3,
                    min_width=280,
                )
                prepare = gr.Button(label("export.prepare"), size="sm", scale=1)
            exported = gr.File(
                label=label("export.file"), interactive=False, height=90, visible=False, elem_id="product"
            )
        with gr.Tab(label("why.tab"), elem_id="why") as why:
            explained = gr.HTML("", js_on_load=CHOOSE_PIXEL, elem_id="explained")
        with gr.Tab(label("code.tab")):
            gr.Markdown(label("code.intro"))
            snippets = [  # not gr.Code: its colors have too little contrast
                gr.Textbox(label=label(f"code.{kind}"), lines=3, max_lines=12, buttons=["copy"], elem_classes="code")
                for kind in ("python", "command", "client")
            ]
        with gr.Accordion(label("score.panel"), open=False):
            true_masks = gr.File(
                label=label("score.file"),
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
        why,
        explained,
        true_masks,
        scored,
        files,
        export_format,
        prepare,
        exported,
        snippets,
    )
