"""The page's theme and style sheet."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from webapp.javascript import EDITOR_CSS

CSS = (Path(__file__).parent / "style.css").read_text() + EDITOR_CSS
THEME = gr.themes.Soft(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(  # the theme's own colors have too little contrast for WCAG AA
    body_text_color_subdued="*neutral_600",
    block_info_text_color="*neutral_600",
    block_label_text_color="*primary_800",
    block_title_text_color="*primary_800",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_300",
    checkbox_label_background_fill_selected="*primary_700",
    checkbox_label_background_fill_selected_dark="*primary_700",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
)
