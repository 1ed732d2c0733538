"""The hidden part of the page: the endpoint ``/segment`` for programs."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.utils import get_function_description

from mamp import Settings
from mamp.settings import SETTINGS_INFO
from webapp.api import segment

_ABOUT: dict[str, str] = get_function_description(segment)[1]  # by parameter, as MCP describes them


def api_section() -> None:
    """Builds the endpoint's inputs and outputs, and connects them."""
    defaults = Settings()
    with gr.Row(visible=False):
        inputs = [
            _file("video", "examples/street.mp4"),
            _file("mask", "examples/street.png"),
            _value("frame", 0),
            _value("short_side", defaults.short_side),
            _value("flow", defaults.flow, enum=list(SETTINGS_INFO["flow"].choices or ())),
            _value("top_k", defaults.top_k),
            _value("radius", defaults.radius),
        ]
        files = gr.Files(label="files")
        start = gr.Button("segment")
    start.click(segment, inputs, files, api_name="segment", concurrency_limit=1, concurrency_id="gpu")


def _file(name: str, example: str) -> gr.File:
    """A file parameter, with an example of its kind."""
    component = gr.File(label=name)
    _describe(component, name, {"path": example, "meta": {"_type": "gradio.FileData"}}, component.api_info())
    return component


def _value(name: str, default: Any, **schema: Any) -> gr.Number | gr.Textbox:
    """A number or text. The handler receives it as it was sent, and refuses wrong values in one sentence."""
    is_text = isinstance(default, str)
    component = gr.Textbox(default, label=name) if is_text else gr.Number(default, precision=0, label=name)
    _describe(component, name, default, {"type": "string" if is_text else "integer", **schema})
    vars(component)["preprocess"] = lambda payload: default if payload is None else payload
    return component


def _describe(component: Any, name: str, example: Any, schema: dict[str, Any]) -> None:
    """Sets what ``view_api`` shows. Not by a subclass: for each, Gradio writes a stub file into the source folder."""
    info = {**schema, "additional_description": _ABOUT[name]}
    vars(component).update(api_info=lambda: info, example_payload=lambda: example)
