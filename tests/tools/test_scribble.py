from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mamp import StrokeSegmenter
from mamp.masks.mask_io import write_mask
from tests.conftest import scene
from tools.scribble import CORRECTIONS, OUTSIDE, _methods, correct, main, scribble

Image = NDArray[np.uint8]


def test_a_scribble_follows_the_skeleton() -> None:
    cross = np.zeros((100, 120), bool)
    cross[45:55, 10:110] = cross[5:95, 55:65] = True
    strokes = scribble(cross, 3)
    assert not strokes[~cross].any()
    rows, columns = np.nonzero(strokes)
    assert np.ptp(rows) > 30 and np.ptp(columns) > 60
    assert 0.1 < strokes.sum() / cross.sum() < 0.5
    assert scribble(cross, 1).sum() < strokes.sum()


def test_a_region_of_one_pixel_gets_a_stroke() -> None:
    region = np.zeros((9, 9), bool)
    region[4, 8] = True
    np.testing.assert_array_equal(scribble(region, 3), region)


def test_corrections_mark_the_largest_error() -> None:
    truth = np.zeros((60, 80), bool)
    truth[20:50, 20:60] = True
    wrong = truth.astype(np.uint8)
    wrong[22:45, 30:50] = 0
    wrong[2:10, 2:10] = 1
    seen: list[Image] = []

    def method(strokes: Image, box: object, previous: Image | None) -> Image:
        seen.append(strokes.copy())
        assert previous is (None if len(seen) == 1 else wrong)
        if len(seen) == 2:
            wrong[truth] = 1
        return wrong if len(seen) < 3 else truth.astype(np.uint8)

    scores = [score for score, _ in correct(truth, "scribble", method)]
    assert scores == sorted(scores) and scores[-1] == 1 and len(scores) == 3 < CORRECTIONS
    first, second, third = seen
    added = second != first
    assert added.any() and (second[added] == 1).all() and not added[~truth].any()
    removed = third != second
    assert (third[removed] == OUTSIDE).all() and removed[2:10, 2:10].any() and not removed[10:].any()


def test_a_box_is_given_with_the_first_marks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the page, where an answered box is not sent again."""
    frame, mask = scene(0)
    given: list[bool] = []

    def segment(strokes: Image, *, boxes: object, previous: Image | None) -> Image:
        given.append(boxes is not None)
        return strokes

    segmenter = StrokeSegmenter(frame)
    monkeypatch.setattr(segmenter, "segment", segment)
    list(correct(mask > 0, "box", _methods(segmenter, frame)["ours"]))
    assert given[0] and len(given) > 1 and not any(given[1:])


def test_the_table_has_a_row_for_each_prompt_and_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for t in range(2):
        frame, mask = scene(t)
        for folder in ("JPEGImages", "Annotations"):
            (tmp_path / folder / "480p/disk").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"JPEGImages/480p/disk/{t:05}.jpg"), frame[..., ::-1])
        write_mask(tmp_path / f"Annotations/480p/disk/{t:05}.png", mask)
    monkeypatch.setattr("sys.argv", ["scribble", str(tmp_path)])
    main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 9
    ours = {row[0]: [float(score) for score in row[2:8]] for row in rows if row[1] == "ours"}
    literally = {row[0]: [float(score) for score in row[2:8]] for row in rows if row[1] == "literally"}
    for prompt in ("scribble", "box", "click"):
        assert ours[prompt][-1] > 0.9 and ours[prompt][-1] > literally[prompt][-1]
