"""Section 3 of the page: the run and its settings."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from webapp.jobs import NO_CLIP
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


def run_section() -> RunSection:
    """Builds the section."""
    gr.Markdown("## 3 · Run")
    estimate = gr.HTML("")
    status = gr.HTML(NO_CLIP)
    with gr.Row():
        start = gr.Button("Run", variant="primary", interactive=False)
        stop = gr.Button("Stop", variant="stop", interactive=False)
    settings = settings_panel()
    preview = gr.Image(label="Live preview", interactive=False, height=300, buttons=[], visible=False)
    return RunSection(estimate, status, start, stop, settings, preview)
