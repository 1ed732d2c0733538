import cv2
import numpy as np
from numpy.typing import NDArray

from mamp.interactive.correction import corrected
from mamp.interactive.surroundings import FrameValues

Bool = NDArray[np.bool_]
NOTHING = np.zeros((120, 160), bool)


def values(*parts: Bool) -> FrameValues:
    """A noisy frame whose parts (H, W) have a color each."""
    colors = np.random.default_rng(0).normal(0, 0.2, (*NOTHING.shape, 3)).astype(np.float32)
    for index, part in enumerate(parts):
        colors[part] += 3 * np.eye(3, dtype=np.float32)[index]
    return FrameValues(colors, None)


def rectangle(left: int, top: int, right: int, bottom: int) -> Bool:
    filled = NOTHING.copy()
    filled[top:bottom, left:right] = True
    return filled


def line(start: tuple[int, int], end: tuple[int, int]) -> Bool:
    return cv2.line(NOTHING.astype(np.uint8), start, end, 1, 3) > 0


def share(changed: Bool, part: Bool) -> float:
    return float(changed[part].mean())


def test_a_wrong_region_changes_as_a_whole() -> None:
    body, ground = rectangle(20, 20, 140, 50), rectangle(20, 50, 140, 90)
    stroke = line((40, 70), (120, 70))
    changed = corrected(values(body), stroke, right=~(body | ground), contrary=NOTHING, fixed=NOTHING)
    assert share(changed, ground) > 0.99 and share(changed, body) < 0.01


def test_a_click_corrects_more_than_itself() -> None:
    body, head = rectangle(60, 50, 100, 110), rectangle(72, 34, 88, 50)
    changed = corrected(values(body, head), rectangle(79, 41, 82, 44), right=body, contrary=NOTHING, fixed=NOTHING)
    assert share(changed, head) > 0.9 and share(changed, ~(head | body)) < 0.01


def test_a_missed_part_of_a_new_color_is_added() -> None:
    body, head = rectangle(60, 50, 100, 110), rectangle(70, 20, 90, 50)
    changed = corrected(values(body, head), line((80, 25), (80, 44)), right=body, contrary=NOTHING, fixed=NOTHING)
    assert share(changed, head) > 0.97 and share(changed, ~(head | body)) < 0.01
    assert not changed[body].any()


def test_what_is_right_contrary_fixed_or_far_does_not_change() -> None:
    part = rectangle(0, 50, 160, 70)  # all of one color
    right, contrary, fixed = rectangle(0, 50, 30, 70), rectangle(60, 50, 62, 70), rectangle(40, 50, 60, 60)
    stroke = line((36, 64), (52, 64))
    changed = corrected(values(part), stroke, right=right, contrary=contrary, fixed=fixed)
    assert changed[stroke].all() and share(changed, rectangle(31, 62, 56, 69)) > 0.9
    assert not (changed & (right | contrary | fixed)).any()
    assert not changed[:, 80:].any()
