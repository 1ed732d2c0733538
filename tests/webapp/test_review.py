"""Frames to review are flagged, and the chart shows area and confidence."""

import re
import xml.etree.ElementTree as Xml
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mamp import ObjectFrame
from mamp.runs.review import frames_to_review
from webapp.chart import chart_html
from webapp.html import first_new_frame
from webapp.plots import plots


def track(areas: list[int], confidence: dict[int, float] | None = None, label: int = 1) -> list[ObjectFrame]:
    low = confidence or {}
    return [ObjectFrame(t, t / 25, label, area, low.get(t, 0.95)) for t, area in enumerate(areas)]


@pytest.mark.parametrize(
    ("reused", "first_mask", "frames", "expected"),
    [(0, 0, 12, 0), (5, 0, 12, 5), (12, 0, 12, 0), (9, 4, 12, 9), (3, 4, 12, 0)],
)
def test_the_first_new_frame_follows_those_of_the_run_before(
    reused: int, first_mask: int, frames: int, expected: int
) -> None:
    result = SimpleNamespace(receipt={"masks_reused": reused}, input_masks={first_mask: Path()}, frames=frames)
    assert first_new_frame(cast(Any, result)) == expected


def test_a_clear_run_has_no_flags() -> None:
    assert frames_to_review(track([100] * 50), {0}) == []


def test_low_confidence_area_changes_and_losses_are_flagged_most_severe_first_and_apart() -> None:
    areas = [100] * 20 + [300] * 20 + [300] * 10 + [0] * 5
    flags = frames_to_review(track(areas, {5: 0.3, 6: 0.2, 7: 0.3, 12: 0.5}), ())
    assert [flag.frame for flag in flags] == [50, 20, 6, 12]
    assert "lost" in flags[0].reason and "100 to 300" in flags[1].reason and "0.20" in flags[2].reason
    assert len(frames_to_review(track([100, 10] * 50), ())) == 10


def test_an_object_that_is_found_again_is_not_called_lost() -> None:
    flags = frames_to_review(track([100] * 12 + [0] * 22 + [100] * 10 + [0] + [100] * 10), ())
    assert [(flag.frame, flag.reason) for flag in flags] == [
        (12, "not found in frames 12 to 33"),
        (44, "not found in this frame"),
    ]


def test_an_object_that_appears_late_is_not_flagged() -> None:
    late = [ObjectFrame(t, t / 25, 2, 500, 0.9) for t in range(30, 40)]
    assert frames_to_review(sorted(track([100] * 40) + late, key=lambda entry: entry.frame), {0}) == []


def test_a_frame_with_an_input_mask_is_not_listed_for_the_objects_that_are_painted_on_it() -> None:
    areas = [100] * 20 + [300] * 20
    corrected, tracked = track(areas, {0: 1, 20: 1}), track(areas, {0: 1}, label=2)
    assert frames_to_review(corrected, {0, 20}) == []
    flags = frames_to_review(sorted(corrected + tracked, key=lambda entry: entry.frame), {0, 20})
    assert [(flag.frame, flag.object, flag.kind) for flag in flags] == [(20, 2, "area")]


def test_the_chart_is_well_formed_has_a_line_per_object_and_escapes_names() -> None:
    rows = sorted(track([10, 50, 100], {0: 1}) + track([10, 10, 10], {0: 1}, label=9), key=lambda entry: entry.frame)
    chart = Xml.fromstring(chart_html(plots(rows, (10, 20), {0}), [0, 1 / 3, 0.5], {9: "<b>dog & cat</b>"}))
    assert (chart.get("data-last"), chart.get("data-times")) == ("2", "0 0.333333 0.5")
    lines = chart.findall(".//g")
    assert len(lines) == 4 and {line.findtext("title") for line in lines} == {"object 1", "<b>dog & cat</b>"}
    start, *_, end = (part.split() for part in lines[0].findall("path")[1].attrib["d"][1:].split("L"))
    assert float(start[1]) > float(end[1]) and float(end[0]) > float(start[0])


def test_a_mask_that_spreads_over_a_long_time_is_listed_and_a_note_tells_what_is_expected() -> None:
    spreading = track([100 + 8 * t for t in range(90)], {0: 1})
    flags = frames_to_review(spreading, {0})
    assert flags and all("expected overlap" in flag.reason for flag in flags) and flags[0].frame == 89
    (_, overlaps) = plots(spreading, (100, 100), {0})
    heights = [height for _, height in overlaps.lines[1]]
    assert heights[0] == 1 and heights[1] > heights[-1] > 0.5


def ends_of(plot: Xml.Element) -> list[tuple[str, str]]:
    """Place of the number at the end of each line: from the top and from the left [%]."""
    styles = (end.attrib["style"] for end in plot.findall("span[@class='plot-end']"))
    return [match.groups() for style in styles if (match := re.fullmatch(r"top: (\d+)%; --end: ([\d.]+)%", style))]


def test_the_number_of_a_line_stands_at_its_end_also_after_a_stopped_run() -> None:
    rows = track([10] * 6, {0: 1}) + track([10] * 11, {0: 1}, label=2)
    chart = Xml.fromstring(chart_html(plots(rows, (10, 20), {0}), [t / 25 for t in range(21)], {}))
    for plot in chart.findall("div[@class='plot']"):
        assert sorted(left for _, left in ends_of(plot)) == ["25.00", "50.00"]


def test_numbers_at_the_ends_of_lines_do_not_cover_each_other() -> None:
    rows = [entry for label in range(1, 6) for entry in track([10, 10], {0: 1}, label=label)]
    chart = Xml.fromstring(chart_html(plots(rows, (10, 20), {0}), [0, 1], {}))
    for plot in chart.findall("div[@class='plot']"):
        places = sorted(int(top) for top, _ in ends_of(plot))
        assert (
            len(places) == 5 and min(b - a for a, b in pairwise(places)) >= 15 and 0 <= places[0] <= places[-1] <= 100
        )


def test_one_frame_or_no_frame_can_be_charted() -> None:
    assert plots([], (10, 10), ()) == []
    Xml.fromstring(chart_html(plots(track([5]), (10, 10), ()), [0], {}))
