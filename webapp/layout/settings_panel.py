"""The settings panel of section 2."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from webapp.languages import label
from webapp.results_view import OVERLAY_PARTS
from webapp.settings_controls import ON_PAGE, PRESETS, Control, settings_control


@dataclass(frozen=True)
class SettingsPanel:
    """Components of the panel.

    Attributes:
        presets: Buttons, in the order of ``PRESETS``.
        controls: Settings of the tracker by name, in the order of ``ON_PAGE``.
    """

    presets: list[gr.Button]
    controls: dict[str, Control]
    opacity: gr.Slider
    overlay_parts: gr.CheckboxGroup


def settings_panel() -> SettingsPanel:
    """Builds the panel."""
    with gr.Accordion(label("panel.settings"), open=False):
        with gr.Row():
            presets = [gr.Button(label(f"panel.{name.lower()}"), size="sm", min_width=120) for name in PRESETS]
        controls: dict[str, Control] = {}
        names = list(ON_PAGE)
        for first in range(0, len(names), 3):
            with gr.Row():
                controls |= {name: settings_control(name) for name in names[first : first + 3]}
        with gr.Row():
            opacity = gr.Slider(
                0,
                1,
                value=0.45,
                step=0.05,
                label=label("panel.opacity"),
                info=label("panel.opacity_info"),
                buttons=[],
            )
            parts = gr.CheckboxGroup(
                [(label(f"panel.{part.lower()}"), part) for part in OVERLAY_PARTS],
                value=OVERLAY_PARTS,
                label=label("panel.parts"),
                info=label("panel.parts_info"),
            )
    return SettingsPanel(presets, controls, opacity, parts)
