"""The settings panel of section 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp.results_view import OVERLAY_PARTS
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
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            presets = [gr.Button(f"{name} preset", size="sm", min_width=120) for name in PRESETS]
        with gr.Row():
            size = gr.Dropdown(
                list(SIZES),
                value=USUAL.size,
                label="Processing resolution",
                info="Short side at which objects are matched. Twice the size takes about four times as long.",
            )
            flow = gr.Dropdown(
                list(FLOWS),
                value=USUAL.flow,
                label="Motion",
                info="Optical flow aligns earlier frames with the current one. Off is faster but loses fast objects.",
            )
            memory = gr.Dropdown(
                list(MEMORY),
                value=USUAL.memory,
                label="Memory",
                info="Reference frames. First frames preserve the object; recent frames follow its changes.",
            )
        with gr.Row():
            features = gr.Dropdown(
                list(FEATURES),
                value=USUAL.features,
                label="Features",
                info="Features that frames are matched by. Patches need no weights: the untrained baseline.",
            )
            edges = gr.Dropdown(
                list(EDGES),
                value=USUAL.edges,
                label="Upsampling",
                info="From feature cells to pixels: guided by the colors of the image, or bilinear interpolation.",
            )
            votes = gr.Dropdown(
                list(VOTES),
                value=USUAL.votes,
                label="Matching",
                info="Object-adaptive matching weights features that discriminate the objects, and favors small objects.",
            )
        with gr.Row():
            top_k = gr.Slider(
                0,
                200,
                value=USUAL.top_k,
                step=1,
                label="Top-k matches",
                info="Matches per location: 36 in the paper, 0 for all.",
                buttons=[],
            )
            radius = gr.Slider(
                1,
                MAX_RADIUS,
                value=USUAL.radius,
                step=1,
                label="Search radius",
                info="In steps of 4 pixels, around the motion-compensated position. Doubling it quadruples the time.",
                buttons=[],
            )
        with gr.Row():
            opacity = gr.Slider(
                0,
                1,
                value=0.45,
                step=0.05,
                label="Overlay opacity",
                info="0 shows the outlines only.",
                buttons=[],
            )
            parts = gr.CheckboxGroup(
                OVERLAY_PARTS, value=OVERLAY_PARTS, label="Overlay elements", info="In addition to the color."
            )
    controls = [size, flow, memory, features, edges, votes, top_k, radius]
    return SettingsPanel(presets, controls, opacity, parts)
