"""An explanation as one figure: the pixel, the scores, the places in memory that voted, and the motion that led there."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import cv2
import numpy as np

from mamp.explanation.explanation import Explanation, Image, MemoryView, Point
from mamp.explanation.flow_colors import flow_colors, flow_legend
from mamp.masks.overlay import overlay
from mamp.masks.palette import color_of

Color = tuple[int, int, int]
Size = tuple[int, int]  # width and height

_COLUMNS = 4  # memory frames in a row
_GAP = 8  # all lengths here are in pixels of the figure
_MEMORY_BOX: Size = (392, 300)
_QUERY_BOX: Size = (2 * _MEMORY_BOX[0] + _GAP, 520)
_WIDTH = _COLUMNS * (_MEMORY_BOX[0] + _GAP) + _GAP
_LINE = 24
_TEXT_WIDTH = 84  # [characters]
_LEGEND_SIDE = 96
_DOT_RADIUS = 14  # of a vote with all the weight
_MAX_SCORES = 8
_BLACK, _WHITE, _BACKGROUND = (0, 0, 0), (255, 255, 255), (128, 128, 128)
_USUAL = 0.99  # share of the flow that the color wheel covers: a few cells may be far off


def draw_explanation(explanation: Explanation) -> Image:
    """Draws an explanation.

    Above, the frame with its mask and the pixel, beside votes and scores. Below, each memory frame with the places that
    voted: the area of a dot is its weight, its color the label; the arrow is the motion from the pixel. Under it, the
    motion of the whole frame to that memory frame.

    Returns:
        RGB (H, W, 3) uint8, 1608 pixels wide.
    """
    query = _fitted(overlay(explanation.image, _processed_mask(explanation)), _QUERY_BOX)
    _draw_ring(query, _on(query, explanation, explanation.pixel))
    caption = f"Frame {explanation.frame}, pixel {explanation.pixel[0]},{explanation.pixel[1]}"
    rows = [_row([_captioned(query, caption), _summary(explanation)], _QUERY_BOX[0])]
    lengths = [np.hypot(*view.flow).ravel() for view in explanation.memory if view.flow is not None]
    largest = max(1.0, float(np.quantile(np.concatenate(lengths), _USUAL))) if lengths else 1.0
    for first in range(0, len(explanation.memory), _COLUMNS):
        views = explanation.memory[first : first + _COLUMNS]
        rows.append(_row([_memory_panel(view, explanation) for view in views], _MEMORY_BOX[0]))
        if any(view.flow is not None for view in views):
            rows.append(_row([_flow_panel(view, largest) for view in views], _MEMORY_BOX[0]))
    if lengths:
        rows.append(_row([flow_legend(_LEGEND_SIDE), _legend_text(largest)], _LEGEND_SIDE))
    return np.concatenate(rows)


def _processed_mask(explanation: Explanation) -> Image:
    height, width = explanation.image.shape[:2]
    return np.asarray(cv2.resize(explanation.mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _memory_panel(view: MemoryView, explanation: Explanation) -> Image:
    """A memory frame with its votes, the lightest first, and the arrow."""
    panel = _fitted(view.image, _MEMORY_BOX)
    start, end = (_on(panel, explanation, point) for point in (explanation.center, view.target))
    for color, thickness in ((_BLACK, 4), (_WHITE, 2)):
        if start != end:
            cv2.arrowedLine(panel, start, end, color, thickness, cv2.LINE_AA, tipLength=0.25)
    for vote in sorted(view.votes, key=lambda vote: vote.weight):
        at, radius = _on(panel, explanation, vote.place), max(3, round(_DOT_RADIUS * math.sqrt(vote.weight)))
        cv2.circle(panel, at, radius + 2, _BLACK, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(panel, at, radius + 1, _WHITE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(panel, at, radius, _label_color(vote.label), cv2.FILLED, cv2.LINE_AA)
    if not view.votes:
        _draw_ring(panel, end)
    source = ", detected again" if view.redetected else ""
    return _captioned(panel, f"Frame {view.frame}{source}: {view.weight:.0%} of the votes")


def _flow_panel(view: MemoryView, largest: float) -> Image:
    if view.flow is None:
        return _blank((1, 1))
    colors = flow_colors(view.flow, largest)
    height, width = view.image.shape[:2]
    # Cells are shown as they are: the method uses whole cells.
    colors = np.asarray(cv2.resize(colors, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    return _captioned(_fitted(colors, _MEMORY_BOX), f"Motion to frame {view.frame}")


def _summary(explanation: Explanation) -> Image:
    """The label, the scores of the best labels, and the text."""
    panel = _blank(_QUERY_BOX)
    name = next((each.name for each in explanation.scores if each.label == explanation.label), "")
    _write(panel, f"Label {explanation.label} {name}, decided by: {explanation.decision.value}", (0, _LINE), bold=True)
    y = 2 * _LINE
    for each in sorted(explanation.scores, key=lambda each: -each.score)[:_MAX_SCORES]:
        cv2.rectangle(panel, (0, y + 6), (16, y + 22), _label_color(each.label), cv2.FILLED)
        discriminant = "" if each.discriminant is None else f", discriminant {each.discriminant:+.2f}"
        text = f"{each.label} {each.name}: votes {each.votes:.1%}, score {each.score:.1%}{discriminant}"
        _write(panel, text, (28, y + _LINE - 4))
        y += _LINE
    for line in textwrap.wrap(explanation.text, _TEXT_WIDTH):
        y += _LINE
        _write(panel, line, (0, y + _LINE))
    return panel


def _legend_text(largest: float) -> Image:
    panel = _blank((_WIDTH - 4 * _LEGEND_SIDE, _LEGEND_SIDE))
    lines = (
        f"Color wheel: direction and length of the motion to the memory frame, up to {largest:.0f} pixels; white: none.",
        "Dots: places that voted. Area: weight. Color: label; gray is the background. Arrow: motion from the pixel.",
    )
    for number, line in enumerate(lines, 1):
        _write(panel, line, (0, number * _LINE + _LINE // 2))
    return panel


def _fitted(image: Image, box: Size) -> Image:
    """An image at the largest size that fits into a box."""
    height, width = image.shape[:2]
    scale = min(box[0] / width, box[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _on(panel: Image, explanation: Explanation, point: Point) -> tuple[int, int]:
    """A point of the clip on a panel that shows the whole frame."""
    height, width = explanation.mask.shape
    x, y = ((point[0] + 0.5) * panel.shape[1] / width, (point[1] + 0.5) * panel.shape[0] / height)
    return int(x), int(y)


def _draw_ring(panel: Image, at: tuple[int, int]) -> None:
    for color, thickness in ((_BLACK, 5), (_WHITE, 2)):
        cv2.circle(panel, at, 8, color, thickness, cv2.LINE_AA)


def _captioned(image: Image, caption: str) -> Image:
    panel = _blank((max(image.shape[1], _MEMORY_BOX[0]), image.shape[0] + _LINE))
    _write(panel, caption, (0, _LINE - 8))
    panel[_LINE:, : image.shape[1]] = image
    cv2.rectangle(
        panel, (0, _LINE), (image.shape[1] - 1, panel.shape[0] - 1), _BACKGROUND
    )  # white flow has a border too
    return panel


def _row(panels: Sequence[Image], column: int) -> Image:
    """Panels beside each other, in columns of a width, with a gap around them."""
    row = _blank((_WIDTH, max(panel.shape[0] for panel in panels) + 2 * _GAP))
    for number, panel in enumerate(panels):
        left = _GAP + number * (column + _GAP)
        row[_GAP : _GAP + panel.shape[0], left : left + panel.shape[1]] = panel[:, : _WIDTH - left]
    return row


def _write(panel: Image, text: str, at: tuple[int, int], *, bold: bool = False) -> None:
    """Writes a line; OpenCV's font has ASCII only."""
    line = text.encode("ascii", "replace").decode()
    cv2.putText(panel, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _BLACK, 2 if bold else 1, cv2.LINE_AA)


def _blank(size: Size) -> Image:
    return np.full((size[1], size[0], 3), 255, np.uint8)


def _label_color(label: int) -> Color:
    return color_of(label) if label else _BACKGROUND
