"""The Space: paint objects on a frame of a clip, and follow them through it. Layout and handlers only."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

try:  # on ZeroGPU it must come before anything that touches CUDA; elsewhere it is not needed
    import spaces
except ImportError:
    spaces = None

import gradio as gr
import numpy as np
from PIL import Image

from mamp import (
    OBJECT_COLOURS,
    MaskError,
    Settings,
    VideoError,
    VideoReader,
    WeightsError,
    load_encoder,
    overlay,
    read_mask,
    segment_video,
)
from mamp.masks import correct_mask, mask_in_box, mask_to_strokes, open_mask, strokes_to_mask
from mamp.project import Project
from mamp.render import colour_of
from mamp.settings import default_device

EXAMPLES = Path(__file__).parent / "examples"
MAX_FRAMES = int(os.environ.get("MAMP_MAX_FRAMES", "900"))
MAX_UPLOAD = os.environ.get("MAMP_MAX_UPLOAD", "200mb")
WEIGHTS = os.environ.get("MAMP_WEIGHTS") or None
KEEP_SECONDS = 3600
OTHER_FRAME = 1.0  # mean difference [0, 255] from which on the editor holds another frame than it should
SMALL_CANVAS = (
    16,
    9,
)  # the frame sets the size; where a side is below the canvas's, gradio 6.31 lays layers off centre
GPU_SECONDS_A_FRAME, GPU_SECONDS_TO_START = 0.12, 10

SIZES = {"240 pixels: quick look": 240, "360 pixels": 360, "480 pixels: as in the paper": 480, "As the clip is": 0}
FLOWS = {"On (DIS, no weights)": "dis", "Off": "none"}
FEATURES = {"Trained encoder": None, "Colour patches, untrained": "patch"}
HEX = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in OBJECT_COLOURS.tolist()]

encoders = {
    name: load_encoder(WEIGHTS if source is None else source, device=default_device())
    for name, source in FEATURES.items()
}

Visit = dict[str, Any]  # what a visitor's state holds: paths and numbers, never frames


def on_gpu(work: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Asks ZeroGPU for what the clip needs; changes nothing elsewhere."""
    if spaces is None:
        return work

    def seconds(visit: Visit, *_: object) -> int:
        frames: int = visit.get("frames", 0)
        return GPU_SECONDS_TO_START + round(GPU_SECONDS_A_FRAME * frames)

    decorated: Callable[..., Iterator[Any]] = spaces.GPU(duration=seconds)(work)
    return decorated


def open_clip(path: str | None, visit: Visit) -> tuple[Any, ...]:
    """Takes an upload: its first frame into the editor, and what it is into words."""
    close_visit(visit)
    if path is None:
        return opened({}, say("Choose a clip to begin."))
    try:
        reader = reader_of(path)
        frames = reader.count()
    except VideoError as error:
        return opened({}, say(str(error), bad=True))
    if frames > MAX_FRAMES:
        words = f"This clip has {frames} frames; the limit here is {MAX_FRAMES}. Please cut it."
        return opened({}, say(words, bad=True))
    folder = tempfile.mkdtemp(prefix="mamp-", dir=os.environ.get("GRADIO_TEMP_DIR"))
    info = reader.info
    visit = {"folder": folder, "clip": path, "frames": frames, "at": 0}
    sound = "with sound" if info.has_audio else "no sound"
    words = (
        f"{frames} frames, {info.width}x{info.height}, {float(info.fps):.4g} a second, {sound}. Now paint each object."
    )
    return opened(visit, say(words))


def open_example(name: str, visit: Visit) -> tuple[Any, ...]:
    """Takes an example, with its first mask already painted."""
    clip = EXAMPLES / f"{name}.mp4"
    visit, *_ = open_clip(str(clip), visit)
    project_of(visit).give(0, read_mask(clip.with_suffix(".png")))
    return str(clip), *opened(visit, say("Objects are painted already: run, or paint your own."))


def opened(visit: Visit, words: str) -> tuple[Any, ...]:
    """What a new clip, or none, changes on the page."""
    frames = visit.get("frames", 1)
    chosen = gr.update(value=0, maximum=max(1, frames - 1), interactive=frames > 1)
    return (visit, shown_frame(visit), words, gr.update(interactive=bool(visit)), chosen, listing(visit))


def shown_frame(visit: Visit) -> Any:
    """The chosen frame for the editor; it comes from the server's copy, whatever the editor lost."""
    if not visit:
        return None
    path = Path(visit["folder"]) / f"frame-{visit['at']:06d}.png"
    if not path.exists():
        Image.fromarray(reader_of(visit["clip"]).frame(visit["at"]).image).save(path, compress_level=1)
    return {"background": str(path), "layers": [], "composite": None}


def lay_strokes(visit: Visit) -> Any:
    """Paints the frame's mask once the editor holds the frame: layers that come with it are lost (gradio 6.31)."""
    mask = project_of(visit).mask(visit["at"]) if visit else None
    if mask is None:
        return gr.skip()
    return {"background": None, "layers": [mask_to_strokes(mask, colours_for(mask))], "composite": None}


def keep_strokes(visit: Visit, painted: Any) -> None:
    """Takes over what is painted, if the editor holds the frame that it should."""
    if not visit or not painted or not painted["layers"] or painted["background"] is None:
        return
    strokes, background = painted["layers"][0], painted["background"][..., :3]
    project, frame = project_of(visit), reader_of(visit["clip"]).frame(visit["at"]).image
    if strokes.shape[:2] != frame.shape[:2] or background.shape != frame.shape:
        return
    if np.abs(background.astype(int) - frame).mean() > OTHER_FRAME:
        return
    shown = project.mask(visit["at"])
    project.paint(visit["at"], strokes_to_mask(strokes, colours_for(shown)))


def go_to(visit: Visit, painted: Any, index: float) -> tuple[Any, ...]:
    """Takes over what is painted, and shows another frame, with its mask if it has one."""
    if not visit:
        return visit, gr.skip(), gr.skip(), gr.skip()
    keep_strokes(visit, painted)
    visit["at"] = min(max(0, int(index)), visit["frames"] - 1)
    return visit, shown_frame(visit), gr.update(value=visit["at"]), listing(visit)


def clear_frame(visit: Visit) -> tuple[Any, str]:
    """Takes the frame's mask back, and puts the frame back that the editor's bin has thrown away too."""
    if visit:
        project_of(visit).give(visit["at"], np.zeros((1, 1), np.uint8))
    return shown_frame(visit), listing(visit)


def take_mask_file(visit: Visit, painted: Any, path: str | None) -> tuple[Any, str, str]:
    """Takes a mask file for the chosen frame."""
    if not visit or path is None:
        return gr.skip(), say("Choose a clip first.", bad=True), listing(visit)
    keep_strokes(visit, painted)
    info = reader_of(visit["clip"]).info
    try:
        found = open_mask(path, (info.height, info.width))
    except MaskError as error:
        return gr.skip(), say(str(error), bad=True), listing(visit)
    if not found.mask.any():
        return gr.skip(), say("This mask names no object: every pixel is background.", bad=True), listing(visit)
    project_of(visit).give(visit["at"], found.mask)
    return shown_frame(visit), say(f"Mask taken for frame {visit['at']}: {'; '.join(found.notes)}."), listing(visit)


def fill_box(visit: Visit, painted: Any, number: float, *corners: float) -> tuple[Any, str, str]:
    """Adds the object in a box to the chosen frame's mask."""
    if not visit:
        return gr.skip(), say("Choose a clip first.", bad=True), listing(visit)
    keep_strokes(visit, painted)
    project, frame = project_of(visit), reader_of(visit["clip"]).frame(visit["at"]).image
    left, top, right, bottom = (int(corner or 0) for corner in corners)
    try:
        found = mask_in_box(frame, (left, top, right, bottom), int(number))
    except MaskError as error:
        return gr.skip(), say(str(error), bad=True), listing(visit)
    before = project.mask(visit["at"])
    project.give(visit["at"], found if before is None else correct_mask(before, found))
    share = f"{(found > 0).mean():.1%}"
    return shown_frame(visit), say(f"Object {int(number)} takes {share} of frame {visit['at']}."), listing(visit)


def listing(visit: Visit) -> str:
    """The given masks: each frame with its objects and their areas."""
    legend = f'<div class="legend">One colour is one object: {"".join(map(chip, range(1, len(HEX) + 1)))}</div>'
    rows = []
    for index, path in (project_of(visit).given if visit else {}).items():
        mask = read_mask(path)
        areas = "".join(
            chip(int(label), f"{(mask == label).mean():.1%} of the frame") for label in np.unique(mask[mask > 0])
        )
        rows.append(f"<li><b>Frame {index}</b> {areas}</li>")
    given = f'<ul class="legend" aria-label="Masks given">{"".join(rows)}</ul>' if rows else ""
    return legend + given


def chip(label: int, words: str = "") -> str:
    """An object's colour, number and words."""
    red, green, blue = colour_of(label)
    return f'<span class="chip"><i style="background:rgb({red},{green},{blue})"></i>{label} {words}</span>'


def colours_for(mask: Any) -> list[tuple[int, int, int]]:
    """The brush's colours, and those of the objects beyond them that a mask names."""
    last = max(len(HEX), 0 if mask is None else int(mask.max()))
    return [colour_of(label) for label in range(1, last + 1)]


def project_of(visit: Visit) -> Project:
    """The visitor's folder."""
    return Project(visit["folder"], visit["clip"])


@lru_cache(maxsize=32)
def reader_of(path: str) -> VideoReader:
    """One reader a clip: the first that needs its frames decodes them all to number them."""
    return VideoReader(path)


@on_gpu
def run(visit: Visit, painted: Any, size: str, flow: str, features: str) -> Iterator[tuple[Any, ...]]:
    """Follows what is painted; yields preview, words, video, files, slider, viewer, masks given and buttons."""
    if not visit:
        yield outputs(visit, words=say("Choose a clip first.", bad=True))
        return
    keep_strokes(visit, painted)
    project = project_of(visit)
    given = project.given
    if not given:
        yield outputs(visit, words=say("Paint at least one object on the frame first.", bad=True))
        return
    project.stop_note.unlink(missing_ok=True)
    out = project.new_results()
    settings = Settings(short_side=SIZES[size], flow=FLOWS[flow], weights=FEATURES[features])
    yield outputs(visit, words=say("Starting ..."), running=True)
    try:
        updates = segment_video(
            visit["clip"], given, out, settings, should_stop=project.stop_note.exists, encoder=encoders[features]
        )
        for update in updates:
            if update.result:
                result = update.result
                how = "Stopped; what was done is kept" if result.stopped else "Done"
                project.keep(out)
                words = f"{how}: {result.frames} of {update.frames_total} frames, {update.fps:.1f} a second."
                yield outputs(
                    visit,
                    words=say(words),
                    video=str(result.overlay),
                    files=[str(result.masks_zip), str(result.receipt_json)],
                    slider=gr.update(maximum=max(1, result.frames - 1), value=0, interactive=True),
                    viewer=look(visit, 0),
                )
            elif update.preview is not None:
                share = update.done / update.frames_total
                pace = f"{update.fps:.1f} a second · {clock(update.seconds_left)} left"
                words = f"Frame {update.done} of {update.frames_total} · {pace}"
                yield outputs(visit, preview=update.preview, words=say(words, share=share), running=True)
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        yield outputs(visit, words=say(str(error), bad=True))


def outputs(
    visit: Visit,
    *,
    words: str,
    preview: Any = None,
    video: Any = None,
    files: Any = None,
    slider: Any = None,
    viewer: Any = None,
    running: bool = False,
) -> tuple[Any, ...]:
    """One update of the page: what is not named stays as it is; a preview stands where results will."""
    shown = gr.update(visible=running) if preview is None else gr.update(value=preview, visible=True)
    kept = [part if part is not None else gr.skip() for part in (video, files, slider, viewer)]
    results = gr.skip() if video is None and not running else gr.update(visible=not running)
    return (
        shown,
        words,
        *kept,
        listing(visit),
        results,
        gr.update(interactive=not running),
        gr.update(interactive=running),
    )


def ask_to_stop(visit: Visit) -> None:
    """Leaves a note that the run sees at its next frame, also from another process."""
    if visit:
        project_of(visit).stop_note.touch()


def look(visit: Visit, index: float) -> Any:
    """One frame with its mask laid over it."""
    results = project_of(visit).results if visit else None
    if results is None:
        return None
    reader = reader_of(visit["clip"])
    path = results / "masks" / f"{reader.name(int(index))}.png"
    frame = reader.frame(int(index)).image
    return overlay(frame, read_mask(path)) if path.exists() else frame


def close_visit(visit: Visit) -> None:
    """Removes what a visitor's runs have left."""
    if visit:
        project_of(visit).remove()


def say(words: str, *, bad: bool = False, share: float | None = None) -> str:
    """A line of status, with a bar where something is going on."""
    bar = f'<div class="bar"><div style="width:{share:.1%}"></div></div>' if share is not None else ""
    return f'<div class="say{" bad" if bad else ""}" role="status">{html.escape(words)}{bar}</div>'


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


CSS = """
.gradio-container {max-width: 1100px !important; margin: auto !important}
.say {padding: .6rem .8rem; border-radius: 8px; background: var(--background-fill-secondary); color: var(--body-text-color)}
.say.bad {border-left: 4px solid #d55e00}
.bar {height: 6px; margin-top: .5rem; border-radius: 3px; background: var(--border-color-primary); overflow: hidden}
.bar div {height: 100%; background: #0072b2}
.legend {display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; color: var(--body-text-color)}
.chip {display: inline-flex; gap: .3rem; align-items: center}
ul.legend {flex-direction: column; align-items: start; padding: 0; margin: 0; list-style: none}
ul.legend li {display: flex; flex-wrap: wrap; gap: .4rem .8rem}
.chip i {width: 1rem; height: 1rem; border-radius: 4px; border: 1px solid #777}
"""
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def build() -> gr.Blocks:
    """The page."""
    page: gr.Blocks
    with gr.Blocks(
        title="MAMP: follow objects through a video", delete_cache=(600, KEEP_SECONDS), fill_width=False
    ) as page:
        visit = gr.State({}, time_to_live=KEEP_SECONDS, delete_callback=close_visit)
        gr.Markdown(
            "# Follow objects through a video\nPaint them once; get the overlaid clip and one mask per frame. The "
            "model was trained without a single label."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                gr.Markdown(
                    f"### 1 · Choose a clip\nUp to {MAX_FRAMES} frames and {MAX_UPLOAD.upper()}; any common video format."
                )
                clip = gr.Video(label="Clip", sources=["upload", "webcam"], height=260)
                with gr.Row():
                    examples = [
                        gr.Button(name.stem.capitalize(), size="sm", min_width=80)
                        for name in sorted(EXAMPLES.glob("*.mp4"))
                    ]
            with gr.Column(scale=3, min_width=300):
                gr.Markdown("### 2 · Paint what to follow")
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
                given = gr.HTML(listing({}))
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
                    brush=gr.Brush(colors=list(HEX), default_color=HEX[0], default_size=14, color_mode="fixed"),
                    eraser=gr.Eraser(default_size=18),
                    interactive=True,
                )
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
        gr.Markdown("### 3 · Run")
        status = gr.HTML(say("Choose a clip to begin."))
        with gr.Row():
            start = gr.Button("Run", variant="primary", interactive=False)
            stop = gr.Button("Stop", variant="stop", interactive=False)
        with gr.Accordion("Settings", open=False), gr.Row():
            size = gr.Dropdown(
                list(SIZES),
                value=next(iter(SIZES)),
                label="Processing size",
                info="Short side at which objects are matched; twice the size takes four times as long.",
            )
            flow = gr.Dropdown(
                list(FLOWS),
                value=next(iter(FLOWS)),
                label="Motion",
                info="Optical flow lays earlier frames over the new one; off is quicker and loses fast objects.",
            )
            features = gr.Dropdown(
                list(FEATURES),
                value=next(iter(FEATURES)),
                label="Features",
                info="What frames are compared by; patches need no weights and are the baseline.",
            )
        preview = gr.Image(label="Live preview", interactive=False, height=300, buttons=[], visible=False)
        with gr.Row(visible=False) as results:
            with gr.Column(min_width=300):
                video = gr.Video(label="Result", interactive=False, height=300)
                files = gr.Files(label="Masks (DAVIS palette PNGs) and receipt", interactive=False, height=120)
            with gr.Column(min_width=300):
                viewer = gr.Image(
                    label="Frame and mask", interactive=False, height=300, buttons=["fullscreen", "download"]
                )
                slider = gr.Slider(0, 1, value=0, step=1, label="Frame", info="Arrow keys step.", interactive=False)
                fix = gr.Button("Correct this frame", size="sm")

        new = [visit, editor, status, start, at, given]
        clip.input(open_clip, [clip, visit], new, api_visibility="private")
        clip.clear(open_clip, [clip, visit], new, api_visibility="private")
        for button, path in zip(examples, sorted(EXAMPLES.glob("*.mp4")), strict=True):
            name = gr.State(path.stem)
            button.click(open_example, [name, visit], [clip, *new], api_visibility="private")
        editor.upload(lay_strokes, visit, editor, show_progress="hidden", api_visibility="private")
        editor.clear(clear_frame, visit, [editor, given], api_visibility="private")
        for source, wanted in ((at.release, at), (fix.click, slider)):
            source(go_to, [visit, editor, wanted], [visit, editor, at, given], api_visibility="private")
        mask_file.upload(take_mask_file, [visit, editor, mask_file], [editor, status, given], api_visibility="private")
        box.click(fill_box, [visit, editor, number, *corners], [editor, status, given], api_visibility="private")
        start.click(
            run,
            [visit, editor, size, flow, features],
            [preview, status, video, files, slider, viewer, given, results, start, stop],
            concurrency_limit=1,
            concurrency_id="gpu",
            api_visibility="private",
        )
        stop.click(ask_to_stop, visit, None, queue=False, api_visibility="private")
        slider.input(look, [visit, slider], viewer, show_progress="hidden", api_visibility="private")
    return page


if __name__ == "__main__":
    build().queue(max_size=20).launch(
        theme=THEME, css=CSS, max_file_size=MAX_UPLOAD, footer_links=["gradio", "settings"]
    )
