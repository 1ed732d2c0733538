"""The Space: paint objects on a frame of a clip, and follow them through it. Layout and handlers only."""

from __future__ import annotations

import html
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:  # on ZeroGPU it must come before anything that touches CUDA; elsewhere it is not needed
    import spaces
except ImportError:
    spaces = None

import gradio as gr
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
from mamp.job import default_device
from mamp.masks import mask_to_strokes, strokes_to_mask

EXAMPLES = Path(__file__).parent / "examples"
MAX_FRAMES = int(os.environ.get("MAMP_MAX_FRAMES", "900"))
MAX_UPLOAD = os.environ.get("MAMP_MAX_UPLOAD", "200mb")
WEIGHTS = os.environ.get("MAMP_WEIGHTS") or None
KEEP_SECONDS = 3600
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


def open_clip(path: str | None, visit: Visit) -> tuple[Visit, Any, str, Any]:
    """Takes an upload: its first frame into the editor, and what it is into words."""
    close_visit(visit)
    if path is None:
        return {}, gr.update(value=None), say("Choose a clip to begin."), gr.update(interactive=False)
    try:
        reader = VideoReader(path)
        frames = reader.count()
    except VideoError as error:
        return {}, gr.update(value=None), say(str(error), bad=True), gr.update(interactive=False)
    if frames > MAX_FRAMES:
        words = f"This clip has {frames} frames; the limit here is {MAX_FRAMES}. Please cut it."
        return {}, gr.update(value=None), say(words, bad=True), gr.update(interactive=False)
    folder = Path(tempfile.mkdtemp(prefix="mamp-", dir=os.environ.get("GRADIO_TEMP_DIR")))
    Image.fromarray(reader.frame(0).image).save(folder / "first.png")
    info = reader.info
    visit = {"folder": str(folder), "clip": path, "frames": frames, "began": time.time()}
    sound = "with sound" if info.has_audio else "no sound"
    words = (
        f"{frames} frames, {info.width}x{info.height}, {float(info.fps):.4g} a second, {sound}. Now paint each object."
    )
    return visit, first_frame(visit), say(words), gr.update(interactive=True)


def open_example(name: str, visit: Visit) -> tuple[str, Visit, Any, str, Any]:
    """Takes an example, with its first mask already painted."""
    clip = EXAMPLES / f"{name}.mp4"
    visit, editor, _, button = open_clip(str(clip), visit)
    visit["painted"] = str(clip.with_suffix(".png"))
    return str(clip), visit, editor, say("Objects are painted already: run, or paint your own."), button


def first_frame(visit: Visit) -> Any:
    """The first frame for the editor; it comes from the server's copy, whatever the editor lost."""
    return {"background": str(Path(visit["folder"]) / "first.png"), "layers": [], "composite": None}


def lay_strokes(visit: Visit) -> Any:
    """Paints the example's objects once the editor holds the frame: layers that come with it are lost (gradio 6.31)."""
    if "painted" not in visit:
        return gr.skip()
    strokes = mask_to_strokes(read_mask(visit["painted"]), OBJECT_COLOURS.tolist())
    return {"background": None, "layers": [strokes], "composite": None}


def restore_frame(visit: Visit) -> tuple[Visit, Any]:
    """Puts the frame back, with nothing painted on it, after the editor's bin has thrown it away."""
    visit.pop("painted", None)
    return visit, first_frame(visit) if visit else None


@on_gpu
def run(visit: Visit, painted: Any, size: str, flow: str, features: str) -> Iterator[tuple[Any, ...]]:
    """Follows what is painted; yields preview, words, video, files, slider, viewer and buttons."""
    folder = Path(visit["folder"]) if visit else None
    mask = None
    if folder is not None and painted and painted["layers"]:
        with Image.open(folder / "first.png") as frame:
            fits = painted["layers"][0].shape[:2] == (frame.height, frame.width)
        if fits:
            mask = strokes_to_mask(painted["layers"][0], OBJECT_COLOURS.tolist())
    if "painted" in visit and (mask is None or not mask.any()):
        mask = read_mask(visit["painted"])  # Run came before the strokes had reached the editor
    if folder is None or mask is None or not mask.any():
        yield outputs(
            words=say("Paint at least one object on the frame first." if visit else "Choose a clip first.", bad=True)
        )
        return
    stop = folder / "stop"
    stop.unlink(missing_ok=True)
    out = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    settings = Settings(short_side=SIZES[size], flow=FLOWS[flow], weights=FEATURES[features])
    yield outputs(words=say("Starting ..."), running=True)
    try:
        updates = segment_video(
            visit["clip"], {0: mask}, out, settings, should_stop=stop.exists, encoder=encoders[features]
        )
        for update in updates:
            if update.result:
                result = update.result
                how = "Stopped; what was done is kept" if result.stopped else "Done"
                (folder / "last").write_text(out.name)
                words = f"{how}: {result.frames} of {update.frames_total} frames, {update.fps:.1f} a second."
                yield outputs(
                    words=say(words),
                    video=str(result.overlay),
                    files=[str(result.masks_zip), str(result.receipt)],
                    slider=gr.update(maximum=max(1, result.frames - 1), value=0, interactive=True),
                    viewer=look(visit, 0),
                )
            elif update.preview is not None:
                share = update.done / update.frames_total
                pace = f"{update.fps:.1f} a second · {clock(update.seconds_left)} left"
                words = f"Frame {update.done} of {update.frames_total} · {pace}"
                yield outputs(preview=update.preview, words=say(words, share=share), running=True)
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        yield outputs(words=say(str(error), bad=True))


def outputs(
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
    return (shown, words, *kept, results, gr.update(interactive=not running), gr.update(interactive=running))


def ask_to_stop(visit: Visit) -> None:
    """Leaves a note that the run sees at its next frame, also from another process."""
    if visit:
        (Path(visit["folder"]) / "stop").touch()


def look(visit: Visit, index: float) -> Any:
    """One frame with its mask laid over it."""
    if not visit or not (Path(visit["folder"]) / "last").exists():
        return None
    masks = Path(visit["folder"]) / (Path(visit["folder"]) / "last").read_text() / "masks"
    reader = VideoReader(visit["clip"])
    path = masks / f"{reader.name(int(index))}.png"
    frame = reader.frame(int(index)).image
    return overlay(frame, read_mask(path)) if path.exists() else frame


def close_visit(visit: Visit) -> None:
    """Removes what a visitor's runs have left."""
    if visit:
        shutil.rmtree(visit["folder"], ignore_errors=True)


def say(words: str, *, bad: bool = False, share: float | None = None) -> str:
    """A line of status, with a bar where something is going on."""
    bar = f'<div class="bar"><div style="width:{share:.1%}"></div></div>' if share is not None else ""
    return f'<div class="say{" bad" if bad else ""}" role="status">{html.escape(words)}{bar}</div>'


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def legend() -> str:
    """The brush's colours with the numbers of their objects."""
    chips = (
        f'<span class="chip"><i style="background:{colour}"></i>{number}</span>' for number, colour in enumerate(HEX, 1)
    )
    return f'<div class="legend">One colour is one object: {"".join(chips)}</div>'


CSS = """
.gradio-container {max-width: 1100px !important; margin: auto !important}
.say {padding: .6rem .8rem; border-radius: 8px; background: var(--background-fill-secondary); color: var(--body-text-color)}
.say.bad {border-left: 4px solid #d55e00}
.bar {height: 6px; margin-top: .5rem; border-radius: 3px; background: var(--border-color-primary); overflow: hidden}
.bar div {height: 100%; background: #0072b2}
.legend {display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; color: var(--body-text-color)}
.chip {display: inline-flex; gap: .3rem; align-items: center}
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
                gr.HTML(legend())
                editor = gr.ImageEditor(
                    label="First frame",
                    type="numpy",
                    format="png",
                    height=420,
                    layers=False,
                    transforms=(),
                    sources=(),
                    canvas_size=SMALL_CANVAS,
                    placeholder="The first frame comes here",
                    brush=gr.Brush(colors=list(HEX), default_color=HEX[0], default_size=14, color_mode="fixed"),
                    eraser=gr.Eraser(default_size=18),
                    interactive=True,
                )
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
                viewer = gr.Image(label="Frame and mask", interactive=False, height=300)
                slider = gr.Slider(0, 1, value=0, step=1, label="Frame", info="Arrow keys step.", interactive=False)

        opened = [visit, editor, status, start]
        clip.input(open_clip, [clip, visit], opened, api_visibility="private")
        clip.clear(open_clip, [clip, visit], opened, api_visibility="private")
        for button, path in zip(examples, sorted(EXAMPLES.glob("*.mp4")), strict=True):
            name = gr.State(path.stem)
            button.click(open_example, [name, visit], [clip, *opened], api_visibility="private")
        editor.upload(lay_strokes, visit, editor, show_progress="hidden", api_visibility="private")
        editor.clear(restore_frame, visit, [visit, editor], api_visibility="private")
        start.click(
            run,
            [visit, editor, size, flow, features],
            [preview, status, video, files, slider, viewer, results, start, stop],
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
