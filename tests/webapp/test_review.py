"""Frames that need a look are found, and the chart shows what was measured."""

import xml.etree.ElementTree as Xml

from mamp import ObjectFrame
from webapp.review import chart, frames_to_review


def sights(areas: list[int], confidence: dict[int, float] | None = None, label: int = 1) -> list[ObjectFrame]:
    low = confidence or {}
    return [ObjectFrame(t, t / 25, label, area, low.get(t, 0.95)) for t, area in enumerate(areas)]


def test_a_clear_run_needs_no_look() -> None:
    assert frames_to_review(sights([100] * 50)) == []


def test_low_confidence_jumps_and_losses_are_listed_worst_first_and_apart() -> None:
    areas = [100] * 20 + [300] * 20 + [300] * 10 + [0] * 5
    found = frames_to_review(sights(areas, {5: 0.3, 6: 0.2, 7: 0.3, 12: 0.5}))
    assert [doubt.frame for doubt in found] == [50, 20, 6, 12]
    assert "lost" in found[0].reason and "100 to 300" in found[1].reason and "0.20" in found[2].reason
    assert len(frames_to_review(sights([100, 10] * 50))) == 5


def test_an_object_that_comes_in_late_is_no_jump() -> None:
    late = [ObjectFrame(t, t / 25, 2, 500, 0.9) for t in range(30, 40)]
    assert frames_to_review(sorted(sights([100] * 40) + late, key=lambda sight: sight.frame)) == []


def test_the_chart_is_well_formed_has_a_line_an_object_and_escapes_names() -> None:
    rows = sorted(sights([0, 50, 100]) + sights([10, 10, 10], label=9), key=lambda sight: sight.frame)
    image = Xml.fromstring(chart(rows, (10, 20), {9: "<b>dog & cat</b>"}))
    assert (image.get("data-first"), image.get("data-last")) == ("0", "2")
    lines = image.findall("g")
    assert len(lines) == 4 and {line.findtext("title") for line in lines} == {"object 1", "<b>dog & cat</b>"}
    start, *_, end = (part.split() for part in lines[0].findall("path")[1].attrib["d"][1:].split("L"))
    assert float(start[1]) > float(end[1]) and float(end[0]) > float(start[0])


def test_one_frame_and_none_are_charts_too() -> None:
    assert chart([], (10, 10), {}) == ""
    Xml.fromstring(chart(sights([5]), (10, 10), {}))
