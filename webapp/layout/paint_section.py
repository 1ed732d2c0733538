"""Section 2 of the page: painting objects on a frame."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from webapp.html import color_legend
from webapp.javascript import FRAME_AND_NAME_EVENTS
from webapp.mask_editing import BRUSH_COLORS

# The frame sets the size; where one of its sides is smaller than the canvas, gradio 6.31 misplaces the layers.
SMALL_CANVAS = (16, 9)


@dataclass(frozen=True)
class PaintSection:
    """Components of the section.

    Attributes:
        frame: Number of the frame in the editor.
        placeholder: Shown instead of the editor until there is a clip.
        masks: The frames that have a mask, and the objects' names.
        box_corners: Left, top, right and bottom of the box [pixels].
    """

    frame: gr.Slider
    placeholder: gr.HTML
    editor: gr.ImageEditor
    masks: gr.HTML
    mask_file: gr.File
    box_object: gr.Number
    box_corners: list[gr.Number]
    segment_box: gr.Button


def paint_section() -> PaintSection:
    """Builds the section."""
    gr.Markdown("## 2 · Paint the objects")
    frame = gr.Slider(
        0,
        1,
        value=0,
        step=1,
        label="Frame to paint on",
        info="Start on the first frame. Paint later frames to add or correct objects; earlier frames are filled in "
        "backwards.",
        interactive=False,
        buttons=[],
    )
    gr.HTML(color_legend())
    placeholder = gr.HTML('<div class="empty-frame">The first frame of the clip appears here.</div>')
    editor = gr.ImageEditor(
        label="Frame",
        type="numpy",
        format="png",
        height=420,
        layers=False,
        transforms=(),
        sources=(),
        canvas_size=SMALL_CANVAS,
        placeholder="The frame appears here",
        visible="hidden",
        brush=gr.Brush(colors=list(BRUSH_COLORS), default_color=BRUSH_COLORS[0], default_size=14, color_mode="fixed"),
        eraser=gr.Eraser(default_size=18),
        interactive=True,
    )
    masks = gr.HTML("", js_on_load=FRAME_AND_NAME_EVENTS)
    with gr.Accordion("Use a mask file or a box instead", open=False):
        mask_file = gr.File(
            label="Mask file for this frame (PNG: palette, black and white, or colors)",
            file_types=["image"],
            height=110,
            elem_id="mask-file",
        )
        with gr.Row():
            box_object = gr.Number(1, label="Object", precision=0, minimum=1, maximum=255, min_width=80)
            box_corners = [
                gr.Number(0, label=side, precision=0, minimum=0, min_width=80)
                for side in ("Left", "Top", "Right", "Bottom")
            ]
        segment_box = gr.Button("Segment the object in this box (in pixels of the clip)", size="sm")
    return PaintSection(frame, placeholder, editor, masks, mask_file, box_object, box_corners, segment_box)
