"""Section 2 of the page: painting objects on a frame."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from mamp.masks.palette import color_of
from webapp.javascript import EDITOR, EDITOR_HTML, FRAME_AND_NAME_EVENTS
from webapp.languages import browser_texts, label


@dataclass(frozen=True)
class PaintSection:
    """Components of the section.

    Attributes:
        frame: Number of the frame in the editor.
        below_editor: Where the run section puts what is needed next.
        masks: The frames that have a mask, and the objects' names.
    """

    frame: gr.Slider
    editor: gr.HTML
    below_editor: gr.Column
    masks: gr.HTML
    mask_file: gr.File


def paint_section() -> PaintSection:
    """Builds the section."""
    gr.Markdown(label("paint.heading"))
    frame = gr.Slider(
        0,
        1,
        value=0,
        step=1,
        label=label("paint.frame"),
        info=label("paint.frame_info"),
        interactive=False,
        buttons=[],
    )
    editor = gr.HTML(
        None,
        html_template=EDITOR_HTML,
        js_on_load=EDITOR,
        apply_default_css=False,
        elem_id="editor",
        texts=browser_texts("editor"),
        colors=["#{:02x}{:02x}{:02x}".format(*color_of(label)) for label in range(256)],
    )
    below_editor = gr.Column()
    masks = gr.HTML("", js_on_load=FRAME_AND_NAME_EVENTS)
    with gr.Accordion(label("masks.panel"), open=False):
        mask_file = gr.File(
            label=label("masks.file"),
            file_types=["image", ".json"],
            file_count="multiple",
            height=110,
            elem_id="mask-file",
        )
    return PaintSection(frame, editor, below_editor, masks, mask_file)
