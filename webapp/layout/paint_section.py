"""Section 2 of the page: painting objects on a frame."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from mamp.masks.palette import color_of
from webapp.javascript import EDITOR, EDITOR_HTML, FRAME_AND_NAME_EVENTS


@dataclass(frozen=True)
class PaintSection:
    """Components of the section.

    Attributes:
        frame: Number of the frame in the editor.
        masks: The frames that have a mask, and the objects' names.
        box_corners: Left, top, right and bottom of the box [pixels].
    """

    frame: gr.Slider
    editor: gr.HTML
    complete: gr.Button
    restore: gr.Button
    masks: gr.HTML
    mask_file: gr.File
    box_object: gr.Number
    box_corners: list[gr.Number]
    segment_box: gr.Button


def paint_section() -> PaintSection:
    """Builds the section."""
    gr.Markdown("## 2 · Paint the objects\nFill each object, or scribble on it and press *Complete my strokes*.")
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
    editor = gr.HTML(
        None,
        html_template=EDITOR_HTML,
        js_on_load=EDITOR,
        apply_default_css=False,
        elem_id="editor",
        colors=["#{:02x}{:02x}{:02x}".format(*color_of(label)) for label in range(256)],
    )
    with gr.Row():
        complete = gr.Button("Complete my strokes", size="sm")
        restore = gr.Button("Keep my strokes exactly", size="sm")
    masks = gr.HTML("", js_on_load=FRAME_AND_NAME_EVENTS)
    with gr.Accordion("Use a mask file or a box instead", open=False):
        mask_file = gr.File(
            label="Mask files of this frame: images, or COCO JSON",
            file_types=["image", ".json"],
            file_count="multiple",
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
    return PaintSection(frame, editor, complete, restore, masks, mask_file, box_object, box_corners, segment_box)
