"""What the page does when somebody does something: values in, values out."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
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
    Look,
    MaskError,
    Settings,
    Update,
    VideoError,
    VideoReader,
    WeightsError,
    load_encoder,
    overlay,
    read_mask,
    segment_video,
)
from mamp.encoder import PATCH
from mamp.estimate import seconds_of_run
from mamp.export import export
from mamp.fragments import given_masks, minutes, review, say
from mamp.job import EVERYTHING
from mamp.masks import correct_mask, mask_in_box, mask_to_strokes, open_mask, strokes_to_mask
from mamp.memory import LONG_TERM, SHORT_TERM
from mamp.project import Project, new_project_folder, read_project_file, remove_project_folders, same_frame
from mamp.render import colour_of
from mamp.settings import default_device
from mamp.snippets import as_client, as_command, as_python
from mamp.writer import cut_clip

ON_LOAN = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")  # Spaces of other kinds have spaces too
EXAMPLES = Path(__file__).parent / "examples"
MAX_FRAMES = int(os.environ.get("MAMP_MAX_FRAMES", "900"))
MAX_CLIP = 20 * MAX_FRAMES  # frames of a clip that a part may be taken of: counting them takes time
MAX_UPLOAD = os.environ.get("MAMP_MAX_UPLOAD", "200mb")
WEIGHTS = os.environ.get("MAMP_WEIGHTS") or None
RAFT = os.environ.get("MAMP_RAFT_WEIGHTS") or Settings().raft_weights
KEEP_SECONDS = int(os.environ.get("MAMP_KEEP_SECONDS", "3600"))
GPU_SECONDS_AT_480P, GPU_SECONDS_TO_START, GPU_SECONDS_AT_ONCE = 0.08, 10, 40

SIZES = {"240 pixels: quick look": 240, "360 pixels": 360, "480 pixels: as in the paper": 480, "As the clip is": 0}
FLOWS = {
    "On, from frame to frame (DIS)": ("dis", "chained"),
    "On, to each remembered frame (DIS: slower)": ("dis", "direct"),
    "On, to each, as in the paper (RAFT: slow on a CPU)": ("raft", "direct"),
    "Off": ("none", "chained"),
}
FEATURES = {"Trained encoder": WEIGHTS, "Colour patches, untrained": PATCH}
EDGES = {"Those of the image": "image", "As voted, as in the paper": "votes"}
MEMORY = {
    "First and recent frames": (Settings().long_term, SHORT_TERM),
    "First and recent frames, as in the paper": (LONG_TERM, SHORT_TERM),
    "Recent frames only": ((), SHORT_TERM),
    "First frames only": (Settings().long_term, ()),
}
PRESETS = {
    "Usual": Settings(),
    "Paper": Settings(motion="direct", edges="votes", top_k=36, long_term=LONG_TERM),
    "Fast": Settings(short_side=240),
}
PRODUCTS = {
    "Cut-out, see-through (webm: browsers)": "webm",
    "Cut-out, see-through (ProRes mov: video editors)": "mov",
    "Cut-out, see-through (PNG pictures)": "png",
    "Masks by object (black and white PNG)": "objects",
}
LOOK = ["Outline", "Number"]
MAX_RADIUS = 24
USUAL = (
    next(iter(SIZES)),
    next(iter(FLOWS)),
    next(iter(MEMORY)),
    next(iter(FEATURES)),
    next(iter(EDGES)),
    Settings().top_k or 0,
    Settings().radius,
)
HEX = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in OBJECT_COLOURS.tolist()]
encoders = {source: load_encoder(source, device=default_device()) for source in (WEIGHTS, PATCH)}

Visit = dict[str, Any]  # what a visitor's state holds: paths and numbers, never frames


def on_gpu(work: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Lends a GPU of ZeroGPU for as long as some frames need; changes nothing elsewhere."""
    if not ON_LOAN:
        return work

    def seconds(visit: Visit, settings: Settings, *_: object) -> int:
        frames: int = min(visit["frames"], frames_at_once(visit, settings))
        return math.ceil(GPU_SECONDS_TO_START + frames * gpu_seconds_a_frame(visit, settings))

    decorated: Callable[..., Iterator[Any]] = spaces.GPU(duration=seconds)(work)
    return decorated


def gpu_seconds_a_frame(visit: Visit, settings: Settings) -> float:
    """How long ZeroGPU is asked for, for a frame of the clip [s]: flow takes most of it, and goes by pixels."""
    info = reader_of(visit["clip"]).info
    height, width = settings.processing_size((info.height, info.width))
    return GPU_SECONDS_AT_480P * max(0.2, height * width / (480 * 854))


def frames_at_once(visit: Visit, settings: Settings) -> int:
    """How many frames fit into one loan: short ones are granted sooner, and what they do is kept when minutes run out."""
    return max(1, int((GPU_SECONDS_AT_ONCE - GPU_SECONDS_TO_START) / gpu_seconds_a_frame(visit, settings)))


def follow(visit: Visit, settings: Settings, look: Look) -> Iterator[Update]:
    """Follows the given masks through the clip, going on from the last run; what is done is kept, however it ends.

    On ZeroGPU the masks are made part by part, and the video of all of them without the GPU.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not ON_LOAN:
        yield from work(visit, settings, look)
        return
    project = project_of(visit)
    refused: gr.Error | None = None
    before = -1
    while refused is None and not project.stop_note.exists():
        try:
            for update in work_on_gpu(visit, settings, look, ("masks",), frames_at_once(visit, settings)):
                if update.result is None:
                    yield update
        except gr.Error as error:  # such as a quota that is used up
            refused = error
        done = project.result.frames if project.result else 0
        if done in (before, visit["frames"]):
            break
        before = done
    if project.result is not None:
        yield from work(visit, settings, look, ("video",))
    if refused is not None:
        raise refused


def work(
    visit: Visit,
    settings: Settings,
    look: Look,
    make: Collection[str] = EVERYTHING,
    frames: int | None = None,
) -> Iterator[Update]:
    """One run, of no more than so many new ``frames``."""
    project = project_of(visit)
    out, former = project.new_results(), project.result
    given = project.given
    tracked = itertools.count(1)
    updates = segment_video(
        visit["clip"],
        given,
        out,
        settings,
        names=project.names,
        former=former.folder if former else None,
        look=look,
        should_stop=lambda: project.stop_note.exists() or (frames is not None and next(tracked) >= frames),
        encoder=encoders[settings.weights],
        make=make,
    )
    try:
        for update in updates:
            if update.result:
                project.keep(out)
            yield update
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        # From ZeroGPU's process no other error comes through with its words.
        raise gr.Error(str(error), print_exception=False) from error
    finally:
        updates.close()
        if (out / "receipt.json").exists():
            project.keep(out)
        else:
            shutil.rmtree(out, ignore_errors=True)


work_on_gpu = on_gpu(work)


def open_clip(path: str | None, visit: Visit) -> tuple[Any, ...]:
    """Takes an upload: its first frame into the editor, and what it is into words."""
    close_visit(visit)
    if path is None:
        return opened({}, say("Choose a clip to begin."))
    try:
        frames = reader_of(path).count(MAX_CLIP)
        if frames > MAX_FRAMES:
            words = f"This clip has {frames} frames; the limit here is {MAX_FRAMES}. Take a part of it, on the left."
            return opened({}, say(words, bad=True), clip_frames=frames)
        visit = new_visit(path)
    except VideoError as error:
        return opened({}, say(str(error), bad=True))
    return opened(visit, described(visit), clip_frames=frames)


def take_part(path: str | None, visit: Visit, first: float, last: float) -> tuple[Any, ...]:
    """Cuts a part out of the clip, and goes on with that."""
    close_visit(visit)
    if path is None:
        return opened({}, say("Choose a clip first.", bad=True))
    folder = new_folder()
    try:
        reader_of(path).count(MAX_CLIP)
        if last - first >= MAX_FRAMES:
            raise VideoError(f"Frames {first:.0f} to {last:.0f} are more than the {MAX_FRAMES} that may be taken.")
        cut_clip(reader_of(path), int(first), int(last), folder / "part.mp4")
        visit = new_visit(str(folder / "part.mp4"), folder)
    except VideoError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return opened({}, say(str(error), bad=True), clip_frames=None)
    return opened(visit, described(visit), clip_frames=None)


def described(visit: Visit) -> str:
    """What a clip is."""
    info = reader_of(visit["clip"]).info
    sound = "with sound" if info.has_audio else "no sound"
    size = f"{info.width}x{info.height}, {float(info.fps):.4g} a second, {sound}"
    return say(f"{visit['frames']} frames, {size}. Now paint each object.")


def new_visit(path: str, folder: Path | None = None) -> Visit:
    """A folder of its own for a clip.

    Raises:
        VideoError: The clip cannot be read, or is too long.
    """
    frames = reader_of(path).count(MAX_FRAMES)
    return {"folder": str(folder or new_folder()), "clip": path, "frames": frames, "at": 0}


def new_folder() -> Path:
    """An unguessable folder; those that nobody has used for long are removed."""
    return new_project_folder(_root(), keep_seconds=2 * KEEP_SECONDS)


def close_all() -> None:
    """Removes what all visitors have left, at the server's end."""
    remove_project_folders(_root())


def _root() -> str:
    return os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()


def open_example(name: str, visit: Visit) -> tuple[Any, ...]:
    """Takes an example, with its first mask painted and the result of a run to look at."""
    clip = EXAMPLES / f"{name}.mp4"
    visit, *_ = open_clip(str(clip), visit)
    project = project_of(visit)
    project.give(0, read_mask(clip.with_suffix(".png")))
    words = "Objects are painted already: run, or paint your own."
    if (EXAMPLES / "results" / name).exists():
        out = project.new_results()
        shutil.copytree(EXAMPLES / "results" / name, out, dirs_exist_ok=True)
        project.keep(out)
        project.save(settings_of(*USUAL))
        words = (
            "This is a finished run, below. Objects are painted already: paint your own, or correct a frame, and run."
        )
    return str(clip), *opened(visit, say(words), clip_frames=visit["frames"])


def opened(visit: Visit, words: str, *, clip_frames: int | None = 0) -> tuple[Any, ...]:
    """What a new clip, or none, changes on the page; one that is too long is offered to be cut.

    Args:
        visit: Empty if there is no clip that can be followed.
        words: For the visitor.
        clip_frames: Of the clip that parts may be taken of; 0 if there is none, ``None`` if it is the one before.
    """
    frames = visit.get("frames", 1)
    chosen = gr.update(value=0, maximum=max(1, frames - 1), interactive=frames > 1)
    start = gr.update(interactive=bool(visit))
    editor = gr.update(value=shown_frame(visit), visible=True if visit else "hidden")
    empty = gr.update(visible=not visit)
    part = [gr.skip()] * 3
    if clip_frames is not None:
        part[0] = gr.update(visible=clip_frames > 1, open=clip_frames > MAX_FRAMES)
        part[1:] = [gr.update(value=frame) for frame in (0, max(min(clip_frames, MAX_FRAMES) - 1, 0))]
    return visit, editor, empty, words, start, chosen, listing(visit), *part, *results(visit)


def shown_frame(visit: Visit) -> Any:
    """The chosen frame for the editor; it comes from the server's copy, whatever the editor lost."""
    if not visit:
        return None
    path = Path(visit["folder"]) / f"frame-{visit['at']:06d}.png"
    if not path.exists():
        Image.fromarray(reader_of(visit["clip"]).frame(visit["at"]).image).save(path, compress_level=1)
    return {"background": str(path), "layers": [], "composite": None}


def lay_strokes(visit: Visit) -> Any:
    """Paints the frame's mask, once the editor holds the frame."""
    mask = project_of(visit).mask(visit["at"]) if visit else None
    if mask is None:
        return gr.skip()
    return {"background": None, "layers": [mask_to_strokes(mask, colours_for(mask))], "composite": None}


def keep_strokes(visit: Visit, painted: Any) -> None:
    """Takes over what is painted, if the editor holds the frame that it should."""
    if not visit or not painted or not painted["layers"] or painted["background"] is None:
        return
    project, frame = project_of(visit), reader_of(visit["clip"]).frame(visit["at"]).image
    if same_frame(painted["background"], frame):
        shown = project.mask(visit["at"])
        project.paint(visit["at"], strokes_to_mask(painted["layers"][0], colours_for(shown)))


def go_to(visit: Visit, painted: Any, index: float) -> tuple[Any, ...]:
    """Takes over what is painted, and shows another frame, with its mask if it has one."""
    if not visit:
        return visit, gr.skip(), gr.skip(), gr.skip()
    keep_strokes(visit, painted)
    visit["at"] = min(max(0, int(index)), visit["frames"] - 1)
    return visit, shown_frame(visit), gr.update(value=visit["at"]), listing(visit)


def go_to_given(visit: Visit, painted: Any, event: gr.EventData) -> tuple[Any, ...]:
    """Shows the frame of a given mask."""
    return go_to(visit, painted, event.frame)


def rename(visit: Visit, event: gr.EventData) -> None:
    """Names an object."""
    if visit:
        project_of(visit).rename({int(event.object): str(event.name)})


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


def take_project_file(visit: Visit, painted: Any, path: str | None) -> tuple[Any, ...]:
    """Brings back masks, names and settings of a project file."""
    keep_strokes(visit, painted)
    nothing = (gr.skip(),) * 9
    if not visit or path is None:
        return say("Choose the project's clip first: it is not in the project file.", bad=True), *nothing
    try:
        file = read_project_file(path)
        project_of(visit).load(file)
    except MaskError as error:
        return say(str(error), bad=True), *nothing
    count = len(file.masks)
    words = f"{count} mask{'' if count == 1 else 's'} and the settings of {file.clip} are back: run."
    return say(words), shown_frame(visit), listing(visit), *as_chosen(file.settings)


def as_chosen(settings: Settings) -> tuple[Any, ...]:
    """Settings as the page's controls show them; what they do not offer stays as it is. Weights are never taken over."""
    memory = (settings.long_term, settings.short_term)
    flow = (settings.flow, settings.motion)
    pairs: list[tuple[dict[str, Any], Any]] = [
        (SIZES, settings.short_side),
        (FLOWS, flow),
        (MEMORY, memory),
        (FEATURES, settings.weights),
        (EDGES, settings.edges),
    ]
    names = [next((name for name, offer in offers.items() if offer == value), None) for offers, value in pairs]
    chosen = [gr.skip() if name is None else name for name in names]
    return (*chosen, settings.top_k or 0, settings.radius)


def settings_of(size: str, flow: str, memory: str, features: str, edges: str, top_k: float, radius: float) -> Settings:
    """The settings that the page's controls name."""
    long_term, short_term = MEMORY[memory]
    kind, motion = FLOWS[flow]
    return Settings(
        short_side=SIZES[size],
        flow=kind,
        motion=motion,
        edges=EDGES[edges],
        top_k=int(top_k) or None,
        radius=int(radius),
        long_term=long_term,
        short_term=short_term,
        weights=FEATURES[features],
        raft_weights=RAFT,
    )


def forecast(visit: Visit, *chosen: Any) -> str:
    """How long a run will take here, in words; nothing where that cannot be known."""
    if not visit:
        return ""
    info, settings = reader_of(visit["clip"]).info, settings_of(*chosen)
    for_frames = f"for {visit['frames']} frames"
    if ON_LOAN:  # this process has no GPU to try
        loans = math.ceil(visit["frames"] / frames_at_once(visit, settings))
        seconds = loans * GPU_SECONDS_TO_START + visit["frames"] * gpu_seconds_a_frame(visit, settings)
        return (
            f'<div class="legend">At most {seconds:.0f} seconds of a GPU {for_frames}, {loans} times asked for.</div>'
        )
    try:
        seconds = seconds_of_run(encoders[settings.weights], settings, (info.height, info.width), visit["frames"])
    except (WeightsError, ValueError):
        return ""
    words = f"About {minutes(max(1, seconds))} minutes {for_frames} on this machine."
    return f'<div class="legend">{words}</div>'


def listing(visit: Visit) -> str:
    """The masks given."""
    return given_masks(project_of(visit).given, project_of(visit).names) if visit else ""


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


def look_of(opacity: float, parts: list[str]) -> Look:
    """How the page's controls want objects to be laid over frames."""
    return Look(opacity, "Outline" in parts, "Number" in parts)


def run(
    request: gr.Request | None, visit: Visit, painted: Any, opacity: float, parts: list[str], *chosen: Any
) -> Iterator[tuple[Any, ...]]:
    """Follows what is painted; yields preview, status, masks given, buttons and results."""
    server = str(request.base_url) if request else ""
    if not visit:
        yield outputs(visit, words=say("Choose a clip first.", bad=True))
        return
    keep_strokes(visit, painted)
    if not project_of(visit).given:
        yield outputs(visit, words=say("Paint at least one object on the frame first.", bad=True))
        return
    project_of(visit).stop_note.unlink(missing_ok=True)
    yield outputs(visit, words=say("Starting ..."), running=True)
    settings = settings_of(*chosen)
    try:
        for update in follow(visit, settings, look_of(opacity, parts)):
            if update.result:
                taken = update.result.receipt["masks_taken_over"]
                how = "Stopped; what was done is kept" if update.result.stopped else "Done"
                words = f"{how}: {update.result.frames} of {update.frames_total} frames, {update.fps:.1f} a second"
                words += f"; {taken} taken over from the last run." if taken else "."
                words += remarks(update.result.receipt)
                project_of(visit).save(settings)
                yield outputs(visit, words=say(words), shown=results(visit, opacity, parts, server))
            elif update.preview is not None:
                share = update.done / update.frames_total
                words = f"Frame {update.done} of {update.frames_total}"
                if update.seconds_left is not None:
                    words += f" · {update.fps:.1f} a second · {minutes(update.seconds_left)} left"
                yield outputs(visit, preview=update.preview, words=say(words, share=share), running=True)
    except gr.Error as error:  # also what ZeroGPU says of quotas
        done = project_of(visit).result
        if done is None or not done.overlay.exists():
            yield outputs(visit, words=say(error.message, bad=True))
            return
        project_of(visit).save(settings)
        words = f"{error.message} What was done is kept; the next run goes on from there."
        yield outputs(visit, words=say(words, bad=True), shown=results(visit, opacity, parts, server))


def remarks(receipt: dict[str, Any]) -> str:
    """What went otherwise than a visitor would expect."""
    short = " The GPU ran short of memory; matching went on in smaller blocks."
    return (f" {receipt['damage']}" if receipt["damage"] else "") + (short if receipt["short_of_memory"] else "")


def outputs(
    visit: Visit, *, words: str, preview: Any = None, running: bool = False, shown: tuple[Any, ...] | None = None
) -> tuple[Any, ...]:
    """One update of the page while it runs: a preview stands where results will."""
    picture = gr.update(visible=running) if preview is None else gr.update(value=preview, visible=True)
    buttons = gr.update(interactive=not running), gr.update(interactive=running)
    hidden = (gr.update(visible=False) if running else gr.skip(), *(gr.skip(),) * 9)
    return picture, words, listing(visit), *buttons, *(shown or hidden)


def results(visit: Visit, opacity: float = 0.45, parts: Any = LOOK, server: str = "") -> tuple[Any, ...]:
    """The results' group and what is in it: video, files, slider, viewer, review, three snippets, product."""
    project = project_of(visit) if visit else None
    if project is None or project.result is None:
        return gr.update(visible=False), *(gr.skip(),) * 9
    file = read_project_file(project.folder / "project.zip")
    run_as = project.clip.name, file.masks, file.settings, file.names
    first = min(file.masks)
    cut = [project.clip] if project.clip.parent == project.folder else []
    return (
        gr.update(visible=True),
        str(project.result.overlay),
        [str(path) for path in (*project.result.files, project.folder / "project.zip", *cut)],
        gr.update(maximum=max(1, visit["frames"] - 1), value=first, interactive=True),
        look_at(visit, first, opacity, parts),
        review(project.result, project.names),
        as_python(*run_as),
        as_command(*run_as),
        as_client(project.clip.name, os.environ.get("SPACE_ID") or server or "http://127.0.0.1:7860/"),
        gr.update(value=None, visible=False),
    )


def ask_to_stop(visit: Visit) -> None:
    """Leaves a note that the run sees at its next frame, also from another process."""
    if visit:
        project_of(visit).stop_note.touch()


def look_at(visit: Visit, index: float, opacity: float, parts: list[str]) -> Any:
    """One frame without and with its mask laid over it."""
    if not visit:
        return None
    mask = project_of(visit).mask(int(index))
    frame = reader_of(visit["clip"]).frame(int(index)).image
    return frame, frame if mask is None else overlay(frame, mask, look_of(opacity, parts))


def jump(visit: Visit, opacity: float, parts: list[str], event: gr.EventData) -> tuple[Any, Any]:
    """Shows the frame that was clicked in the review."""
    return event.frame, look_at(visit, event.frame, opacity, parts)


def make(visit: Visit, product: str) -> Iterator[tuple[Any, str]]:
    """Writes a product of the last run; yields it and words."""
    result = project_of(visit).result if visit else None
    if result is None:
        yield gr.skip(), say("Run first.", bad=True)
        return
    project_of(visit).stop_note.unlink(missing_ok=True)
    shown, path = 0.0, None
    try:
        for done, path in export(
            result.folder, visit["clip"], PRODUCTS[product], should_stop=project_of(visit).stop_note.exists
        ):
            if time.monotonic() - shown > 1:
                shown = time.monotonic()
                yield gr.skip(), say(f"{path.name}: frame {done} of {result.frames}", share=done / result.frames)
    except (VideoError, MaskError) as error:
        yield gr.skip(), say(str(error), bad=True)
        return
    if path is None or not path.exists():
        yield gr.skip(), say("Stopped.")
        return
    yield gr.update(value=str(path), visible=True), say(f"{path.name} is ready, {path.stat().st_size / 1e6:.1f} MB.")


def segment(
    video: str,
    mask: str,
    frame: int = 0,
    short_side: int = 480,
    flow: str = "dis",
    top_k: int = 9,
    radius: int = 12,
) -> list[str]:
    """Follows objects through a video, from a mask of them on one frame.

    Args:
        video: The video file: mp4, mov, mkv, webm, avi or gif.
        mask: A mask file of the objects on one frame (palette PNG, black and white, or one colour an object), or a project
            file of this page, which holds masks and settings of its own.
        frame: Number of the frame that the mask is of, from 0.
        short_side: Pixels at which the video is processed; the masks come back in its own size. Smaller is faster.
        flow: Motion between frames: "dis", "raft" or "none".
        top_k: How many matches vote for each place [1 to 200]; 0 for all.
        radius: How far objects are looked for around where the motion leads, in steps of 4 pixels [1 to 24].

    Returns:
        overlay.mp4, masks.zip, masks.json, objects.csv and receipt.json.
    """
    visit: Visit = {}
    try:
        visit = new_visit(video)
        project = project_of(visit)
        if Path(mask).suffix == ".zip":
            file = read_project_file(mask)
            project.load(file)
            settings = allowed(file.settings)
        else:
            info = reader_of(video).info
            if not 0 <= frame < visit["frames"]:
                raise MaskError(f"The video has frames 0 to {visit['frames'] - 1}, and none with the number {frame}.")
            project.give(int(frame), read_mask(mask, (info.height, info.width)))
            settings = allowed(
                Settings(short_side=int(short_side), flow=flow, top_k=int(top_k) or None, radius=int(radius))
            )
        if not project.given:
            raise MaskError("The mask names no object: every pixel is background.")
        for _ in follow(visit, settings, Look()):
            pass
        assert project.result is not None
        return [str(path) for path in project.result.files]
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from error


def allowed(settings: Settings) -> Settings:
    """Settings from outside, with this page's own weights, and none that cost without end."""
    usual = Settings()
    memory = (settings.long_term, settings.short_term)
    long_term, short_term = memory if memory in MEMORY.values() else (usual.long_term, usual.short_term)
    return replace(
        settings,
        short_side=max(0, settings.short_side),
        radius=min(max(1, settings.radius), MAX_RADIUS),
        top_k=None if settings.top_k is None else max(1, settings.top_k),
        long_term=long_term,
        short_term=short_term,
        weights=PATCH if settings.weights == PATCH else WEIGHTS,
        raft_weights=RAFT,
        device=usual.device,
    )


def close_visit(visit: Visit) -> None:
    """Removes what a visitor's runs have left."""
    if visit:
        project_of(visit).remove()
