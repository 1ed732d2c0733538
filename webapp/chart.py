"""Charts of values over time, one line per object. Their text has the size of the page's, also on a phone."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mamp.masks.palette import color_of
from webapp.languages import message

_WIDTH, _HEIGHT = 1000, 100  # of a plot's coordinates; it is stretched to the width of the page
_BESIDE = 16  # least distance of two numbers at the ends of lines, relative to the height of a plot [%]


@dataclass(frozen=True)
class Plot:
    """Values of objects over time.

    Attributes:
        title: What the values are.
        top: The largest value, as text.
        lines: Points by object: frame number and value relative to the largest [0, 1].
    """

    title: str
    top: str
    lines: Mapping[int, Sequence[tuple[int, float]]]


def chart_html(plots: Sequence[Plot], times: Sequence[float], names: Mapping[int, str], *, first_new: int = 0) -> str:
    """Plots with a common axis of time, from the first frame of the clip to its last.

    The scripts of the page move the cursor, and map a click to a frame. They find the times of all frames in
    ``data-times``, and the frame at which the video begins to play in ``data-first``.

    Args:
        plots: The plots.
        times: Display time of each frame of the clip, from its start [s].
        names: Object names by label.
        first_new: The first frame whose mask was not copied from the previous run.
    """
    last = max(1, len(times) - 1)
    parts = [_plot_html(plot, last, names) for plot in plots]
    titles = html.escape(", ".join(plot.title for plot in plots))
    stamps = " ".join(f"{time:.6f}".rstrip("0").rstrip(".") for time in times)
    return (
        f'<div class="chart" role="img" aria-label="{message("chart.by_frame", titles=titles)}" data-last="{last}" '
        f'data-first="{first_new}" data-times="{stamps}">'
        f'{"".join(parts)}<div class="plot-axis"><span>{message("chart.frame", frame=0)}</span>'
        '<span class="plot-now"></span>'
        f"<span>{last}</span></div></div>"
    )


def _plot_html(plot: Plot, last: int, names: Mapping[int, str]) -> str:
    lines: list[str] = []
    numbers: dict[int, list[tuple[float, int]]] = {}  # by the last frame of their lines
    for label, points in plot.lines.items():
        path = "L".join(f"{frame / last * _WIDTH:.1f} {_HEIGHT * (1 - height):.1f}" for frame, height in points)
        drawn = f"M{path}" + ("h1" if len(points) == 1 else "")
        name = html.escape(names.get(label, message("chart.object", label=label)))
        color = "rgb({},{},{})".format(*color_of(label))
        lines.append(
            f'<g><title>{name}</title><path class="under" d="{drawn}"/><path d="{drawn}" stroke="{color}"/></g>'
        )
        numbers.setdefault(points[-1][0], []).append((100 * (1 - points[-1][1]), label))
    ends = "".join(
        f'<span class="plot-end" style="top: {top:.0f}%; --end: {100 * frame / last:.2f}%">{label}</span>'
        for frame, group in numbers.items()
        for top, label in _apart(sorted(group))
    )
    return (
        f'<div class="plot-title">{html.escape(plot.title)}</div><div class="plot"><span class="plot-top">{plot.top}</span>'
        f'<span class="plot-floor">0</span><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">'
        f'{"".join(lines)}</svg><i class="plot-cursor"></i>{ends}</div>'
    )


def _apart(numbers: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Moves numbers down, and back up from the floor, until none covers another; ``numbers`` ascend by their place."""
    moved: list[tuple[float, int]] = []
    for top, label in numbers:
        moved.append((max(top, moved[-1][0] + _BESIDE) if moved else top, label))
    highest = 100.0
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = (min(moved[index][0], highest), moved[index][1])
        highest = moved[index][0] - _BESIDE
    return moved
