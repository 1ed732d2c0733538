"""The hidden part of the page: the endpoint ``/segment`` for programs."""

from __future__ import annotations

import gradio as gr

from mamp import Settings
from webapp.api import segment


def api_section() -> None:
    """Builds the endpoint's inputs and outputs, and connects them."""
    defaults = Settings()
    with gr.Row(visible=False):
        inputs = [
            gr.File(label="video"),
            gr.File(label="mask"),
            gr.Number(0, precision=0, label="frame"),
            gr.Number(defaults.short_side, precision=0, label="short_side"),
            gr.Textbox(defaults.flow, label="flow"),
            gr.Number(defaults.top_k, precision=0, label="top_k"),
            gr.Number(defaults.radius, precision=0, label="radius"),
        ]
        files = gr.Files(label="files")
        start = gr.Button("segment")
    start.click(segment, inputs, files, api_name="segment", concurrency_limit=1, concurrency_id="gpu")
