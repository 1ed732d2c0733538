"""HTML of what the motion does: the frame and its votes with and without it, and the flow in colors."""

from __future__ import annotations

import html

import cv2
import numpy as np

from mamp import overlay
from mamp.explanation.explanation import Explanation, MemoryView
from mamp.explanation.flow_colors import flow_colors, flow_legend
from webapp.frame_svg import Size, data_uri, image_svg
from webapp.languages import count_message, decimal, message

_SIDE = 420  # longest side of the pictures [pixels]
_LEGEND = 72  # [pixels]
_USUAL = 0.99  # share of the flow that the color wheel covers: a few cells may be far off


def motion_html(explanation: Explanation) -> str:
    """The masks with and without motion, the votes of the label, and the flow to each memory frame."""
    mask = explanation.unaligned_mask
    if mask is None:
        return f'<p class="why-note">{message("motion.none")}</p>'
    winner = max(explanation.scores, key=lambda score: score.score)
    label = next((score for score in explanation.scores if score.label == explanation.label), winner)
    changed = np.count_nonzero(mask != explanation.mask) / mask.size
    text = message(
        "motion.without",
        name=label.name,
        unaligned=f"{label.unaligned_votes:.0%}",
        votes=f"{label.votes:.0%}",
        changed=decimal(f"{changed:.1%}"),
    )
    size = (mask.shape[0], mask.shape[1])
    pictures = "".join(
        _figure(image_svg(overlay(explanation.image, _at(shown, explanation)), size, _SIDE), size, caption)
        for shown, caption in ((explanation.mask, message("motion.with_it")), (mask, message("motion.without_it")))
    )
    moving = [view for view in explanation.memory if view.flow is not None]
    lengths = np.concatenate([np.hypot(*view.flow).ravel() for view in moving if view.flow is not None])
    largest = max(1.0, float(np.quantile(lengths, _USUAL)))
    flows = "".join(
        _figure(_flow(view, largest, size), size, message("motion.to", frame=view.frame)) for view in moving
    )
    legend = (
        f'<div class="why-legend"><img src="{data_uri(flow_legend(_LEGEND), ".png")}" width="{_LEGEND}" height="{_LEGEND}" '
        f'alt="{message("motion.wheel")}"><span>{count_message("motion.colors", round(largest))}</span></div>'
    )
    return (
        f'<p class="why-note">{html.escape(text)}</p><div class="why-strip why-pair">{pictures}</div>{legend}'
        f'<div class="why-strip">{flows}</div>'
    )


def _at(mask: np.ndarray, explanation: Explanation) -> np.ndarray:
    """A mask at the size of the processed frame."""
    height, width = explanation.image.shape[:2]
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _flow(view: MemoryView, largest: float, size: Size) -> str:
    """The flow to a memory frame; cells are shown as they are, since the method uses whole cells."""
    assert view.flow is not None
    source = data_uri(flow_colors(view.flow, largest), ".png")
    return (
        f'<image href="{source}" width="{size[1]}" height="{size[0]}" preserveAspectRatio="none" '
        'style="image-rendering: pixelated"/>'
    )


def _figure(content: str, size: Size, caption: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {size[1]} {size[0]}" role="img" aria-label="{caption}">{content}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )
