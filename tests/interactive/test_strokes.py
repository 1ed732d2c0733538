import numpy as np

from mamp.interactive.strokes import OUTSIDE, click_strokes, fill_outlines


def test_a_closed_outline_fills() -> None:
    strokes = np.zeros((40, 40), np.uint8)
    strokes[5:30, 5:30] = 3
    strokes[6:29, 6:29] = 0
    filled = fill_outlines(strokes)
    assert (filled[5:30, 5:30] == 3).all()
    assert (filled > 0).sum() == 25 * 25


def test_an_open_outline_and_one_against_the_border_stay_as_they_are() -> None:
    strokes = np.zeros((40, 40), np.uint8)
    strokes[5:30, 5:30] = 3
    strokes[6:29, 6:29] = 0
    strokes[15:18, 29] = 0
    strokes[36, :10] = strokes[36:, 9] = 4
    np.testing.assert_array_equal(fill_outlines(strokes), strokes)


def test_strokes_within_an_outline_keep_its_hole_open() -> None:
    strokes = np.zeros((40, 40), np.uint8)
    strokes[5:30, 5:30] = 3
    strokes[6:29, 6:29] = 0
    strokes[15, 15] = OUTSIDE
    np.testing.assert_array_equal(fill_outlines(strokes), strokes)


def test_an_outline_of_background_does_not_fill() -> None:
    strokes = np.zeros((40, 40), np.uint8)
    strokes[5:30, 5:30] = OUTSIDE
    strokes[6:29, 6:29] = 0
    np.testing.assert_array_equal(fill_outlines(strokes), strokes)


def test_a_click_is_a_disk_around_its_point() -> None:
    strokes = click_strokes((480, 640), (100, 50), 7)
    rows, columns = np.nonzero(strokes == 7)
    assert (rows.mean(), columns.mean()) == (50, 100)
    assert 20 < len(rows) < 200
