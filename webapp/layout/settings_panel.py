"""The settings of section 3, closed at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp.results_view import LOOK
from webapp.settings_controls import EDGES, FEATURES, FLOWS, MAX_RADIUS, MEMORY, PRESETS, SIZES, USUAL, VOTES


@dataclass(frozen=True)
class SettingsPanel:
    """Components of the panel.

    Attributes:
        presets: Buttons, in the order of ``PRESETS``.
        controls: Settings of the tracker, in the order of ``Chosen``.
    """

    presets: list[gr.Button]
    controls: list[Any]
    opacity: gr.Slider
    overlay_parts: gr.CheckboxGroup


def settings_panel() -> SettingsPanel:
    """Builds the panel."""
    with gr.Accordion("Settings", open=False), gr.Row():
        presets = [gr.Button(f"{name} preset", size="sm", min_width=120) for name in PRESETS]
        with gr.Row():
            size = gr.Dropdown(
                list(SIZES),
                value=USUAL.size,
                label="Processing size",
                info="Short side at which objects are matched; twice the size takes four times as long.",
            )
            flow = gr.Dropdown(
                list(FLOWS),
                value=USUAL.flow,
                label="Motion",
                info="Optical flow lays earlier frames over the new one; off is quicker and loses fast objects.",
            )
            memory = gr.Dropdown(
                list(MEMORY),
                value=USUAL.memory,
                label="Memory",
                info="Which earlier frames are asked. First ones keep the object, recent ones keep up with it.",
            )
        with gr.Row():
            features = gr.Dropdown(
                list(FEATURES),
                value=USUAL.features,
                label="Features",
                info="What frames are compared by; patches need no weights and are the baseline.",
            )
            edges = gr.Dropdown(
                list(EDGES),
                value=USUAL.edges,
                label="Edges",
                info="Where objects end: where the image's colours change, at no cost, or between the cells that vote.",
            )
            votes = gr.Dropdown(
                list(VOTES),
                value=USUAL.votes,
                label="Votes",
                info="What sets the objects off in the masks so far counts more, and small ones are not outvoted.",
            )
        with gr.Row():
            top_k = gr.Slider(
                0,
                200,
                value=USUAL.top_k,
                step=1,
                label="Matches that vote",
                info="36 in the paper; 0 for all.",
                buttons=[],
            )
            radius = gr.Slider(
                1,
                MAX_RADIUS,
                value=USUAL.radius,
                step=1,
                label="Search radius",
                info="In steps of 4 pixels, around where the motion leads; twice as far takes four times as long.",
                buttons=[],
            )
        with gr.Row():
            opacity = gr.Slider(
                0,
                1,
                value=0.45,
                step=0.05,
                label="Opacity of the overlay",
                info="0 leaves the outline only.",
                buttons=[],
            )
            parts = gr.CheckboxGroup(LOOK, value=LOOK, label="Drawn on the overlay", info="Besides the colour.")
    controls = [size, flow, memory, features, edges, votes, top_k, radius]
    return SettingsPanel(presets, controls, opacity, parts)
