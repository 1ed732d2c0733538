"""The hidden part of the page: the endpoint ``/segment`` for programs."""

from __future__ import annotations

import gradio as gr

from webapp.api import segment
from webapp.settings_controls import USUAL


def api_section() -> None:
    """Builds the endpoint's inputs and outputs, and connects them."""
    with gr.Row(visible=False):
        inputs = [
            gr.File(label="video"),
            gr.File(label="mask"),
            gr.Number(0, precision=0, label="frame"),
            gr.Number(480, precision=0, label="short_side"),
            gr.Textbox("dis", label="flow"),
            gr.Number(USUAL.top_k, precision=0, label="top_k"),
            gr.Number(USUAL.radius, precision=0, label="radius"),
        ]
        files = gr.Files(label="files")
        start = gr.Button("segment")
    start.click(segment, inputs, files, api_name="segment", concurrency_limit=1, concurrency_id="gpu")
