"""Scores of the result against true masks: the handler, the table and the plots."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mamp.masks.label_map import MaskError
from webapp.chart import Plot
from webapp.errors import error_text
from webapp.html import object_chip, review_html, status_html
from webapp.languages import count_message, decimal, message
from webapp.results_view import frame_times
from webapp.session import Session, has_job, is_open, project_of, reader_of
from webapp.true_masks import TrueScores, read_true_masks, score, unpacking_folder
from webapp.updates import ScoreUpdates

_MAX_SECONDS = 60  # of work on one request; the frames scored by then are shown


def score_result(session: Session, paths: list[str] | str | None) -> Iterator[ScoreUpdates]:
    """Scores the last run against true masks; yields the progress, and then the table and the chart."""
    if not paths:
        yield {"scored": ""}
        return
    result = project_of(session).result if session else None
    if result is None:
        yield {"scored": status_html(message("score.no_result"), error=True)}
        return
    if has_job(session):
        yield {"scored": status_html(message("score.busy"), error=True)}
        return
    scores, shown, end = TrueScores(), time.monotonic(), time.monotonic() + _MAX_SECONDS
    count = total = 0

    def is_late() -> bool:
        return time.monotonic() > end

    def is_replaced() -> bool:
        """Whether the result is gone, or a run may remove it at any time."""
        if not is_open(session) or has_job(session):
            return True
        latest = project_of(session).result
        return latest is None or latest.folder != result.folder

    try:
        with unpacking_folder(session["folder"]) as folder:
            reader = reader_of(session["clip"])
            masks = read_true_masks([paths] if isinstance(paths, str) else paths, reader, Path(folder))
            total = len(masks)
            for count, so_far in enumerate(score(result, masks, reader, lambda: is_late() or is_replaced()), 1):
                scores = so_far
                if time.monotonic() - shown > 1:
                    shown = time.monotonic()
                    text = count_message("score.progress", total, done=count)
                    yield {"scored": status_html(text, progress=count / total)}
        names = project_of(session).names
        flags = review_html(result, names, frame_times(session), score_plots(scores))
        problem = "" if scores.overlap else _nothing_scored(late=is_late())
    except MaskError as error:
        problem = error_text(error)
    if not is_open(session):
        return
    if is_replaced():
        problem = message("score.busy")
    if problem:
        yield {"scored": status_html(problem, error=True)}
    else:
        yield {"scored": scores_html(scores, names, count, total), "flags": flags}


def _nothing_scored(*, late: bool) -> str:
    if late:
        return message("score.slow", seconds=_MAX_SECONDS)
    return message("score.nothing")


def score_plots(scores: TrueScores) -> list[Plot]:
    """J and F over time."""
    return [
        Plot(title, "1", {label: sorted(by_frame.items()) for label, by_frame in values.items()})
        for title, values in (
            (message("chart.true_overlap"), scores.overlap),
            (message("chart.contours"), scores.contour),
        )
    ]


def scores_html(scores: TrueScores, names: Mapping[int, str], count: int, total: int) -> str:
    """The means by object, and J and F of each frame."""
    shown = {label: names.get(label, message("chart.object", label=label)) for label in sorted(scores.overlap)}
    chips = {label: object_chip(label, html.escape(name)) for label, name in shown.items()}
    rows = ""
    for label, chip in chips.items():
        J, F = scores.means(label)
        rows += f'<tr><th scope="row">{chip}</th>{_cells((J + F) / 2, J, F)}</tr>'
    heads = "".join(f'<th scope="col">{head}</th>' for head in (message("score.object"), "J&amp;F", "J", "F"))
    means = f'<table class="why-scores"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    note = count_message("score.note", count, total=total)
    return f'<p class="why-note">{note}</p>{means}{_frames_table(scores, chips)}'


def _frames_table(scores: TrueScores, chips: Mapping[int, str]) -> str:
    heads = "".join(f'<th scope="col">{chip} J</th><th scope="col">F</th>' for chip in chips.values())
    rows = []
    for index in sorted({index for by_frame in scores.overlap.values() for index in by_frame}):
        values: list[Any] = []
        for label in chips:
            values += [scores.overlap[label].get(index), scores.contour[label].get(index)]
        rows.append(f'<tr><th scope="row">{index}</th>{_cells(*values)}</tr>')
    return (
        f'<details class="why-part"><summary>{message("score.each_frame")}</summary><div class="score-frames" tabindex="0" '
        f'role="group" aria-label="{message("score.frames_table")}"><table class="why-scores"><thead><tr><th scope="col">'
        f"{message('score.frame')}</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _cells(*values: float | None) -> str:
    return "".join(f"<td>{'' if value is None else decimal(f'{value:.3f}')}</td>" for value in values)
