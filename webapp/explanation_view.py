"""Why a pixel of the result got its label: the handler, and the limits of its work."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from mamp import overlay
from mamp.explanation.explain import FrameExplainer
from mamp.masks.label_map import MaskError
from webapp import ZERO_GPU
from webapp.explanation_html import explanation_html, frame_html
from webapp.session import Session, has_job, is_open, project_of, reader_of
from webapp.updates import ExplanationUpdates

Image = NDArray[np.uint8]

MAX_PIXELS = 250_000_000  # of the frames from the first input mask on: about a minute of optical flow on a CPU
TOO_FAR = "This frame is too far from the first input mask to be explained here. Choose one nearer to it."
RUNNING = "A run is in progress. Choose a place when it has finished."


def explain_pixel(session: Session, event: gr.EventData) -> ExplanationUpdates:
    """Explains the label of the pixel that was chosen in a frame of the result."""
    result = project_of(session).result if session else None
    if result is None:
        return {}
    frame = _within(event.frame, session["frames"])
    mask = project_of(session).mask(frame)
    image = reader_of(session["clip"]).frame(frame).image
    picture = image if mask is None else overlay(image, mask)
    size = (image.shape[0], image.shape[1])
    if has_job(session):
        return {"explained": frame_html(picture, size, frame, RUNNING)}
    width, height = result.receipt["processed_size"]
    if abs(frame - min(result.input_masks, default=0)) * width * height > MAX_PIXELS:
        return {"explained": frame_html(picture, size, frame, TOO_FAR)}
    pixel = _within(event.x, size[1]), _within(event.y, size[0])
    try:
        explanation = _explainer(str(result.folder), session["clip"], frame).explain(*pixel)
    except MaskError as error:
        return {"explained": frame_html(picture, size, frame, str(error))}
    if not is_open(session) or session.get("shown_frame", frame) != frame:  # another frame was chosen meanwhile
        return {}
    return {"explained": explanation_html(explanation, picture, session["frames"])}


@lru_cache(maxsize=2)  # each holds the memory of its frame: 60 MB at 480p
def _explainer(result: str, clip: str, frame: int) -> FrameExplainer:
    """The explainer of a frame; kept, because its first pixel takes seconds and further ones milliseconds."""
    return FrameExplainer(result, clip, frame, device="cpu" if ZERO_GPU else "auto")


def _within(value: Any, count: int) -> int:
    """The number in [0, count) that is nearest to a value from the page."""
    return min(max(0, int(value or 0)), count - 1)
