"""The run and its settings, in section 2 of the page."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from webapp.html import status_html
from webapp.javascript import STATUS_EVENTS
from webapp.languages import label
from webapp.layout.settings_panel import SettingsPanel, settings_panel


@dataclass(frozen=True)
class RunSection:
    """Components of the section."""

    estimate: gr.HTML
    status: gr.HTML
    start: gr.Button
    stop: gr.Button
    settings: SettingsPanel
    preview: gr.Image


def run_section(below_editor: gr.Column) -> RunSection:
    """Builds the section: status, buttons and preview directly below the editor, and the settings at the end."""
    with below_editor:
        with gr.Column(elem_id="run-bar"):
            status = gr.HTML(status_html(label("run.no_clip")), js_on_load=STATUS_EVENTS)
            with gr.Row():
                start = gr.Button(label("run.start"), variant="primary", interactive=False, min_width=120)
                stop = gr.Button(label("run.stop"), variant="stop", interactive=False, min_width=120)
        preview = gr.Image(
            label=label("run.preview"), interactive=False, height=300, buttons=[], visible=False, elem_id="preview"
        )
        estimate = gr.HTML("", elem_id="estimate")
    settings = settings_panel()
    return RunSection(estimate, status, start, stop, settings, preview)
