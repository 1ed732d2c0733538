"""Why a pixel of the result got its label: the handler, and the limits of its work."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import gradio as gr
import torch

from mamp import Result
from mamp.explanation.explain import FrameExplainer
from mamp.masks.label_map import MaskError
from mamp.runs.memory_files import stored_distances
from webapp import ZERO_GPU
from webapp.errors import error_text
from webapp.explanation_html import explanation_html, frame_html
from webapp.languages import message
from webapp.results_view import frame_and_overlay, nearest, overlay_style
from webapp.session import Session, has_job, is_open, project_of, when_ended
from webapp.updates import ExplanationUpdates

MAX_PIXELS = 250_000_000  # of the frames whose motion is followed: about a minute of DIS optical flow on a CPU
MAX_RAFT_PIXELS = 5_000_000  # the same for RAFT, which is fifty times slower there


def explain_pixel(session: Session, opacity: float, parts: list[str], event: gr.EventData) -> ExplanationUpdates:
    """Explains the label of the pixel that was chosen in a frame of the result."""
    result = project_of(session).result if session else None
    if result is None:
        return {}
    frame = nearest(event.frame, session["frames"])
    picture = frame_and_overlay(session, frame, overlay_style(opacity, parts))[1]
    size = (picture.shape[0], picture.shape[1])
    if refusal := _refusal(session, result, frame):
        return {"explained": frame_html(picture, size, frame, refusal)}
    pixel = nearest(event.x, size[1]), nearest(event.y, size[0])
    try:
        explanation = _explainer(str(result.folder), session["clip"], frame).explain(*pixel)
    except MaskError as error:
        return {"explained": frame_html(picture, size, frame, error_text(error))}
    if not is_open(session):
        _forget(session["folder"])
        return {}
    if session.get("shown_frame", frame) != frame:  # another frame was chosen meanwhile
        return {}
    names = {int(label): name for label, name in result.receipt["names"].items()}
    return {"explained": explanation_html(explanation, picture, session["frames"], names)}


def prepare_explanation(session: Session) -> None:
    """Prepares the frame that is shown once a visitor is about to choose a pixel in it: the answer then comes at once."""
    result = project_of(session).result if session else None
    if result is None:
        return
    frame = session.get("shown_frame", 0)
    if not _refusal(session, result, frame):
        with suppress(MaskError):  # the pixel that is chosen tells the visitor
            _explainer(str(result.folder), session["clip"], frame).prepare()
    if not is_open(session):
        _forget(session["folder"])


def _refusal(session: Session, result: Result, frame: int) -> str:
    """Why no pixel of a frame is explained now, for the visitor; empty if one is."""
    if has_job(session):
        return message("why.running")
    width, height = result.receipt["processed_size"]
    first = min(result.input_masks, default=0)
    distance, direction = abs(frame - first), 1 if frame > first else -1
    stored = max((t for t in stored_distances(result, direction) if t <= distance), default=0)
    return message("why.too_far") if (distance - stored) * width * height > _max_pixels(result) else ""


@lru_cache(maxsize=2)  # each holds the memory of its frame: 60 MB at 480p
def _explainer(result: str, clip: str, frame: int) -> FrameExplainer:
    """The explainer of a frame; kept, because its first pixel takes seconds and further ones milliseconds."""
    return FrameExplainer(result, clip, frame, device="cpu" if ZERO_GPU else "auto")


def _forget(_folder: str) -> None:
    """Drops the explainers, which hold the frames of a visitor. Those of others are made again."""
    _explainer.cache_clear()


when_ended.append(_forget)


def _max_pixels(result: Result) -> int:
    """The limit of a run's explanations [pixels of all frames that are read]."""
    settings = result.receipt["settings"]
    on_cpu = ZERO_GPU or settings["device"] == "cpu" or not torch.cuda.is_available()
    return MAX_RAFT_PIXELS if on_cpu and settings["flow"] == "raft" else MAX_PIXELS
