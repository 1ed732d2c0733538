"""The page's address, which names the session: a reload finds the work again."""

from __future__ import annotations

import gradio as gr

from webapp.javascript import SHOW_ADDRESS


def address_section() -> gr.HTML:
    """Builds the component that holds the name of the session."""
    return gr.HTML(None, visible="hidden", js_on_load=SHOW_ADDRESS)
