"""The Space: paint objects on a frame of a clip, and follow them through it. The layout of the page."""

from __future__ import annotations

import signal
from functools import partial

import gradio as gr
from gradio.route_utils import delete_files_created_by_app

import webapp  # noqa: F401 (first: it imports spaces)
from webapp.api import segment
from webapp.clips import EXAMPLES, open_clip, open_example, take_part
from webapp.html import CSS, legend, say
from webapp.mask_editing import (
    HEX,
    clear_frame,
    fill_box,
    go_to,
    go_to_given,
    lay_strokes,
    rename,
    take_mask_file,
    take_project_file,
)
from webapp.results_view import LOOK, PRODUCTS, jump, look_at, make
from webapp.run_handler import ask_to_stop, forecast, run
from webapp.session import KEEP_SECONDS, MAX_FRAMES, MAX_UPLOAD, close_all, close_session
from webapp.settings_controls import EDGES, FEATURES, FLOWS, MAX_RADIUS, MEMORY, PRESETS, SIZES, USUAL, VOTES, as_chosen

# The frame sets the size; where one of its sides is below the canvas's, gradio 6.31 lays layers off centre.
SMALL_CANVAS = (16, 9)
THEME = gr.themes.Soft(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(  # the theme's own colours have too little contrast for WCAG AA
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
# A click on something that carries a frame's number asks for that frame; so does one on the chart.
FIND_FRAME = """
element.addEventListener('click', (event) => {
    const named = event.target.closest('[data-frame]'), chart = event.target.closest('svg');
    if (named) trigger('select', {frame: Number(named.dataset.frame)});
    else if (chart) {
        const box = chart.getBoundingClientRect(), {first, last, left, right} = chart.dataset;
        const share = ((event.clientX - box.left) / box.width - left) / (right - left);
        const frame = Math.round(Number(first) + Math.min(1, Math.max(0, share)) * (last - first));
        trigger('select', {frame});
    }
});
element.addEventListener('change', (event) => {
    if (event.target.dataset.object)
        trigger('submit', {object: Number(event.target.dataset.object), name: event.target.value});
});
"""

# The editor (gradio 6.31) loses layers that come with a frame, and tells of a loaded frame only now and then: so its own
# promise is kept here, and waited for before strokes are laid. It also misjudges the zoom while it is being shown.
KEEP_PROMISE = """
() => {
    const editor = window.editor, load = editor.add_image_from_url;
    editor.add_image_from_url = (...given) => (editor.loading = load.apply(editor, given));
}
"""
WHEN_LOADED = """
async (...given) => {
    const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
    await pause(50);
    await window.editor.loading;
    await pause(50);
    window.editor.tools.get('zoom').set_zoom('fit');
    return given;
}
"""


def build() -> gr.Blocks:
    """The page."""
    page: gr.Blocks
    with gr.Blocks(
        title="MAMP: follow objects through a video",
        delete_cache=(min(600, KEEP_SECONDS), KEEP_SECONDS),
        fill_width=False,
    ) as page:
        session = gr.State({}, time_to_live=KEEP_SECONDS, delete_callback=close_session)
        gr.Markdown(
            "# Follow objects through a video\nPaint them once; get the overlaid clip and one mask per frame. The "
            "model was trained without a single label."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                gr.Markdown(
                    "## 1 · Choose a clip\n"
                    f"Up to {MAX_FRAMES} frames, 8K and {MAX_UPLOAD.upper()}; any common video format."
                )
                clip = gr.Video(label="Clip", sources=["upload", "webcam"], height=280, elem_id="clip")
                with gr.Accordion("Only a part of the clip", open=False, visible=False) as part:
                    with gr.Row():
                        first_frame = gr.Number(0, label="First frame", precision=0, minimum=0, min_width=80)
                        last_frame = gr.Number(0, label="Last frame", precision=0, minimum=0, min_width=80)
                    take = gr.Button("Take this part", variant="primary", size="sm")
                gr.Markdown("Or look at a finished one:")
                with gr.Row():
                    examples = [
                        gr.Button(name.stem.capitalize(), size="sm", min_width=80)
                        for name in sorted(EXAMPLES.glob("*.mp4"))
                    ]
                with gr.Accordion("Go on with a project file", open=False):
                    project_file = gr.File(
                        label="Project file (after its clip)", file_types=[".zip"], height=110, elem_id="project-file"
                    )
            with gr.Column(scale=3, min_width=300):
                gr.Markdown("## 2 · Paint what to follow")
                at = gr.Slider(
                    0,
                    1,
                    value=0,
                    step=1,
                    label="Frame to paint on",
                    info="The first is usual; later ones add or correct objects; earlier ones are found backwards.",
                    interactive=False,
                    buttons=[],
                )
                gr.HTML(legend())
                empty = gr.HTML('<div class="empty-frame">The clip\'s first frame comes here, to paint on.</div>')
                editor = gr.ImageEditor(
                    label="Frame",
                    type="numpy",
                    format="png",
                    height=420,
                    layers=False,
                    transforms=(),
                    sources=(),
                    canvas_size=SMALL_CANVAS,
                    placeholder="The frame comes here",
                    visible="hidden",
                    brush=gr.Brush(colors=list(HEX), default_color=HEX[0], default_size=14, color_mode="fixed"),
                    eraser=gr.Eraser(default_size=18),
                    interactive=True,
                )
                given = gr.HTML("", js_on_load=FIND_FRAME)
                with gr.Accordion("Without drawing: a mask file, or a box", open=False):
                    mask_file = gr.File(
                        label="Mask file of this frame (PNG: palette, black and white, or colours)",
                        file_types=["image"],
                        height=110,
                        elem_id="mask-file",
                    )
                    with gr.Row():
                        number = gr.Number(1, label="Object", precision=0, minimum=1, maximum=255, min_width=80)
                        corners = [
                            gr.Number(0, label=name, precision=0, minimum=0, min_width=80)
                            for name in ("Left", "Top", "Right", "Bottom")
                        ]
                    box = gr.Button("Find the object in this box (pixels of the clip)", size="sm")
        gr.Markdown("## 3 · Run")
        expected = gr.HTML("")
        status = gr.HTML(say("Choose a clip to begin."))
        with gr.Row():
            start = gr.Button("Run", variant="primary", interactive=False)
            stop = gr.Button("Stop", variant="stop", interactive=False)
        with gr.Accordion("Settings", open=False):
            with gr.Row():
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
        preview = gr.Image(label="Live preview", interactive=False, height=300, buttons=[], visible=False)
        with gr.Column(visible=False) as group:
            gr.Markdown("## 4 · Look, correct, take away")
            with gr.Row():
                with gr.Column(min_width=300):
                    video = gr.Video(label="Result", interactive=False, height=320)
                with gr.Column(min_width=300):
                    viewer = gr.ImageSlider(
                        label="Frame | frame with masks", interactive=False, max_height=300, buttons=["fullscreen"]
                    )
                    slider = gr.Slider(
                        0, 1, value=0, step=1, label="Frame", info="Arrow keys step.", interactive=False, buttons=[]
                    )
                    fix = gr.Button("Correct this frame", size="sm")
            checks = gr.HTML("", js_on_load=FIND_FRAME)
            with gr.Tab("Files"):
                files = gr.Files(
                    label="Overlay, masks (PNG, run lengths), areas (CSV), receipt, project file",
                    interactive=False,
                    height=330,
                )
                with gr.Row():
                    product = gr.Dropdown(
                        list(PRODUCTS), value=next(iter(PRODUCTS)), label="Also", info="Written on request.", scale=3
                    )
                    prepare = gr.Button("Prepare", size="sm", scale=1)
                produced = gr.File(label="Product", interactive=False, height=90, visible=False, elem_id="product")
            with gr.Tab("This run as code"):
                gr.Markdown("With the clip and `project.zip` (under *Files*) beside it:")
                codes = [  # not gr.Code: its colours have too little contrast
                    gr.Textbox(label=label, lines=3, max_lines=12, buttons=["copy"], elem_classes="code")
                    for label in ("Python", "Command line", "Client of this page")
                ]
        with gr.Row(visible=False):
            api_inputs = [
                gr.File(label="video"),
                gr.File(label="mask"),
                gr.Number(0, precision=0, label="frame"),
                gr.Number(480, precision=0, label="short_side"),
                gr.Textbox("dis", label="flow"),
                gr.Number(USUAL.top_k, precision=0, label="top_k"),
                gr.Number(USUAL.radius, precision=0, label="radius"),
            ]
            api_files = gr.Files(label="files")
            api = gr.Button("segment")

        shown = [group, video, files, slider, viewer, checks, *codes, produced]
        new = [session, editor, empty, status, start, at, given, part, first_frame, last_frame, *shown]
        controls = [size, flow, memory, features, edges, votes, top_k, radius]
        changes = [
            clip.input(open_clip, [clip, session], new, api_visibility="private"),
            clip.stop_recording(open_clip, [clip, session], new, api_visibility="private"),
            clip.clear(open_clip, [clip, session], new, api_visibility="private"),
            take.click(take_part, [clip, session, first_frame, last_frame], new, api_visibility="private"),
        ]
        for button, path in zip(examples, sorted(EXAMPLES.glob("*.mp4")), strict=True):
            name = gr.State(path.stem)
            changes.append(button.click(open_example, [name, session], [clip, *new], api_visibility="private"))
        asked = {"inputs": [session, *controls], "outputs": expected, "show_progress": "hidden"}
        for change in changes:
            change.then(forecast, **asked, api_visibility="private")
        altered = [size.change, flow.change, memory.change, features.change, top_k.release, radius.release]
        gr.on(altered, forecast, **asked, api_visibility="private")
        moved, taken = [session, editor, at, given], [editor, status, given]
        changes += [
            editor.clear(clear_frame, session, [editor, given], api_visibility="private"),
            at.release(go_to, [session, editor, at], moved, api_visibility="private"),
            fix.click(go_to, [session, editor, slider], moved, api_visibility="private"),
            given.select(go_to_given, [session, editor], moved, api_visibility="private"),
            mask_file.upload(take_mask_file, [session, editor, mask_file], taken, api_visibility="private"),
            box.click(fill_box, [session, editor, number, *corners], taken, api_visibility="private"),
            project_file.upload(
                take_project_file,
                [session, editor, project_file],
                [status, editor, given, *controls],
                api_visibility="private",
            ),
        ]
        for change in changes:
            change.then(lay_strokes, session, editor, js=WHEN_LOADED, show_progress="hidden", api_visibility="private")
        page.load(None, js=KEEP_PROMISE)
        given.submit(rename, session, None, show_progress="hidden", api_visibility="private")
        for button, settings in zip(presets, PRESETS.values(), strict=True):
            button.click(partial(as_chosen, settings), None, controls, api_visibility="private")
        start.click(
            run,
            [session, editor, opacity, parts, *controls],
            [preview, status, given, start, stop, *shown],
            concurrency_limit=1,
            concurrency_id="gpu",
            api_visibility="private",
        )
        stop.click(ask_to_stop, session, None, queue=False, api_visibility="private")
        slider.input(
            look_at, [session, slider, opacity, parts], viewer, show_progress="hidden", api_visibility="private"
        )
        checks.select(
            jump, [session, opacity, parts], [slider, viewer], show_progress="hidden", api_visibility="private"
        )
        prepare.click(make, [session, product], [produced, status], api_visibility="private")
        api.click(segment, api_inputs, api_files, api_name="segment", concurrency_limit=1, concurrency_id="gpu")
    return page


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what Gradio closes its server at
    space = build().queue(max_size=20)
    try:
        space.launch(theme=THEME, css=CSS, max_file_size=MAX_UPLOAD, footer_links=["api", "gradio", "settings"])
    finally:
        close_all()
        delete_files_created_by_app(space, age=None)  # Gradio does so itself, if no page is open any more
