import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mamp import MaskError, StrokeSegmenter, frame_with_motion, mask_from_strokes
from mamp.interactive.object_cut import ObjectCut
from mamp.interactive.stroke_segmenter import _REACHES
from mamp.interactive.strokes import OUTSIDE, click_strokes
from mamp.interactive.surroundings import parts_with
from tests.conftest import overlap, scene

Image = NDArray[np.uint8]
FRAME, DISK = scene(0)  # a disk of radius 28 around x 36, y 48


@pytest.fixture(scope="module")
def segmenter() -> StrokeSegmenter:
    return StrokeSegmenter(FRAME, scene(1)[0])


def scribble(label: int = 1) -> Image:
    strokes = np.zeros((96, 128), np.uint8)
    cv2.polylines(strokes, [np.array([(22, 30), (50, 34), (20, 50), (54, 56), (30, 68)], np.int32)], False, label, 3)
    return strokes


def test_a_scribble_finds_the_whole_object(segmenter: StrokeSegmenter) -> None:
    strokes = scribble(label=5)
    assert overlap(strokes, DISK) < 0.3
    mask = segmenter.segment(strokes)
    assert set(np.unique(mask)) == {0, 5}
    assert overlap(mask, DISK) > 0.9


def test_motion_is_that_to_the_first_frame_that_is_no_repetition() -> None:
    rng = np.random.default_rng(0)
    repeated = [(FRAME + rng.integers(-2, 3, FRAME.shape)).clip(0, 255).astype(np.uint8) for _ in range(20)]
    moved = [scene(t)[0] for t in range(1, 4)]
    for others, expected in (
        (moved, moved[0]),
        ([*repeated[:3], *moved], moved[0]),
        ([*repeated[:5]], repeated[4]),
        ([*repeated, *moved], repeated[11]),
    ):
        assert frame_with_motion(FRAME, iter(others)) is expected
    assert frame_with_motion(FRAME, []) is None
    small = FRAME.copy()
    small[60:66, 100:106] = 255 - small[60:66, 100:106]
    assert frame_with_motion(FRAME, [small, *moved]) is small, "something small has moved"


def test_what_lies_between_strokes_may_be_background() -> None:
    """As between the legs of an animal."""
    rng = np.random.default_rng(0)
    legs = np.zeros((120, 160), np.uint8)
    legs[20:45, 30:130] = legs[20:105, 30:50] = legs[20:105, 110:130] = 1
    colors = np.where(legs[..., None] > 0, (150, 110, 70), (90, 120, 90))
    frame = (colors + rng.normal(0, 15, (120, 160, 3))).clip(0, 255).astype(np.uint8)
    strokes = np.zeros_like(legs)
    cv2.polylines(strokes, [np.array([(40, 95), (40, 32), (120, 32), (120, 95)], np.int32)], False, 1, 3)
    assert overlap(StrokeSegmenter(frame).segment(strokes), legs) > 0.9


def test_a_click_finds_the_object(segmenter: StrokeSegmenter) -> None:
    assert overlap(segmenter.segment(click_strokes((96, 128), (36, 48), 1)), DISK) > 0.8


def test_a_box_finds_the_object_in_it(segmenter: StrokeSegmenter) -> None:
    mask = segmenter.segment(np.zeros((96, 128), np.uint8), boxes={4: (4, 16, 69, 80)})
    assert set(np.unique(mask)) == {0, 4}
    assert overlap(mask, DISK) > 0.9
    mask[16:80, 4:69] = 0
    assert not mask.any()


def test_parts_that_no_stroke_touches_are_left_out() -> None:
    mask, strokes = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    mask[2:18, 2:10], mask[2:18, 14:20], mask[2:18, 24:28] = True, True, True
    strokes[5, 4:8], strokes[5, 25], strokes[5, 12] = True, True, True
    expected = mask.copy()
    expected[:, 14:20] = False
    np.testing.assert_array_equal(parts_with(strokes, mask), expected)


def test_the_masks_of_all_reaches_vote(segmenter: StrokeSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reach finds another sixth of the rows."""
    last: list[NDArray[np.bool_]] = []

    def mask_of(
        cut: ObjectCut, reach: float, first: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        size = cut._view.inside.shape
        rows = np.zeros(size, bool)
        rows[: size[0] * (1 + _REACHES.index(reach)) // len(_REACHES)] = True
        if first is not None:
            last.append(first)
        return rows, np.zeros(size, np.float32)

    monkeypatch.setattr(ObjectCut, "mask", mask_of)
    for qualities, share in (
        ([5.0] * 6, 3 / 6),
        ([9, 5, 5, 5, 5, 5], 1 / 6),
        ([5, 5, 5, 7, 7, 7], 5 / 6),
        ([-np.inf] * 6, 3 / 6),
    ):
        monkeypatch.setattr(ObjectCut, "quality", lambda *_, left=[*qualities]: left.pop(0))
        segmenter.segment(scribble())
        assert last.pop().mean() == pytest.approx(share, abs=0.05)


def test_one_function_does_the_same(segmenter: StrokeSegmenter) -> None:
    mask = mask_from_strokes(FRAME, scribble(), next_frame=scene(1)[0])
    np.testing.assert_array_equal(mask, segmenter.segment(scribble()))


def test_two_objects_do_not_share_pixels_and_get_their_own_strokes(segmenter: StrokeSegmenter) -> None:
    strokes = scribble(label=2)
    cv2.line(strokes, (90, 20), (120, 80), 9, 3)
    mask = segmenter.segment(strokes)
    assert overlap((mask == 2).astype(np.uint8), DISK) > 0.85
    assert (mask[strokes > 0] == strokes[strokes > 0]).all()


def test_strokes_hold_exactly(segmenter: StrokeSegmenter) -> None:
    strokes = scribble()
    cv2.line(strokes, (30, 30), (45, 30), OUTSIDE, 3)
    mask = segmenter.segment(strokes)
    assert (mask[strokes == 1] == 1).all()
    assert (mask[strokes == OUTSIDE] == 0).all()


def test_a_correction_changes_the_mask_near_it_only(segmenter: StrokeSegmenter) -> None:
    previous = DISK.copy()
    previous[20:60, 85:110] = 1  # wrong
    previous[44:54, 50:62] = 0  # wrong too, but not corrected
    strokes = scribble()
    strokes[:, 48:] = 0
    cv2.line(strokes, (97, 24), (97, 56), OUTSIDE, 3)
    mask = segmenter.segment(strokes, previous=previous)
    assert not mask[20:60, 85:110].any()
    np.testing.assert_array_equal(mask[:, :80], previous[:, :80])


def test_a_stroke_that_adds_to_a_mask_removes_nothing_from_it(segmenter: StrokeSegmenter) -> None:
    previous = DISK.copy()
    previous[:, :30] = 0  # a part is missing
    previous[30:60, 55:90] = 1  # more than the object, and next to it
    previous[60:70, 40:50] = 2  # another object
    strokes = np.zeros_like(previous)
    cv2.line(strokes, (18, 40), (18, 56), 1, 3)
    mask = segmenter.segment(strokes, previous=previous)
    assert (mask[strokes == 1] == 1).all()
    np.testing.assert_array_equal(mask[previous > 0], previous[previous > 0])


def test_a_stroke_changes_nothing_far_away(segmenter: StrokeSegmenter) -> None:
    strokes = np.zeros((96, 128), np.uint8)
    cv2.line(strokes, (14, 44), (14, 52), OUTSIDE, 2)  # a bit of the object, which then looks like background
    mask = segmenter.segment(strokes, previous=DISK)
    assert (mask[strokes == OUTSIDE] == 0).all()
    np.testing.assert_array_equal(mask[:, 22:], DISK[:, 22:])


def test_a_new_object_is_found_whole_beside_others(segmenter: StrokeSegmenter) -> None:
    """As an editor asks: with the mask before the first stroke of the object."""
    before = np.zeros((96, 128), np.uint8)
    before[:, 100:] = 7
    mask = segmenter.segment(click_strokes((96, 128), (36, 48), 1), previous=before)
    assert overlap((mask == 1).astype(np.uint8), DISK) > 0.8 and ((mask == 7) == (before == 7)).all()


def test_a_box_adds_to_a_mask(segmenter: StrokeSegmenter) -> None:
    previous = np.zeros((96, 128), np.uint8)
    previous[40:60, 20:30] = 2
    mask = segmenter.segment(np.zeros_like(previous), boxes={1: (4, 16, 69, 80)}, previous=previous)
    assert overlap(mask, DISK) > 0.9 and (mask[40:60, 20:30] == 2).all()


def test_an_outline_is_the_edge_of_the_object(segmenter: StrokeSegmenter) -> None:
    strokes = np.zeros((96, 128), np.uint8)
    cv2.circle(strokes, (40, 44), 20, 1, 2)  # neither the object nor all of it
    disk = cv2.circle(np.zeros_like(strokes), (40, 44), 20, 1, cv2.FILLED)
    assert overlap(segmenter.segment(strokes), np.asarray(disk, np.uint8)) > 0.85


def test_strokes_that_agree_with_the_mask_leave_it(segmenter: StrokeSegmenter) -> None:
    np.testing.assert_array_equal(segmenter.segment(scribble(), previous=DISK), DISK)


def test_nothing_marked_is_an_empty_mask(segmenter: StrokeSegmenter) -> None:
    assert not segmenter.segment(np.zeros((96, 128), np.uint8)).any()
    assert not segmenter.segment(np.full((96, 128), OUTSIDE, np.uint8)).any()


def test_a_frame_that_is_all_object(segmenter: StrokeSegmenter) -> None:
    assert (segmenter.segment(np.ones((96, 128), np.uint8)) == 1).all()


def test_one_pixel_marks_itself_at_least(segmenter: StrokeSegmenter) -> None:
    for point in ((0, 0), (95, 127), (48, 36)):
        strokes = np.zeros((96, 128), np.uint8)
        strokes[point] = 1
        assert segmenter.segment(strokes)[point] == 1


def test_a_frame_above_the_processing_size() -> None:
    frame, disk = (cv2.resize(image, (1280, 960), interpolation=cv2.INTER_NEAREST) for image in (FRAME, DISK))
    strokes = np.zeros((960, 1280), np.uint8)
    path = np.array([(220, 300), (500, 340), (200, 500), (540, 560), (300, 680)], np.int32)
    cv2.polylines(strokes, [path], False, 3, 1)  # thinner than a pixel at the processing size
    mask = StrokeSegmenter(np.asarray(frame, np.uint8)).segment(strokes)
    assert mask.shape == (960, 1280)
    assert (mask[strokes == 3] == 3).all()
    assert overlap(mask, np.asarray(disk, np.uint8)) > 0.9


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (7, 5)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    strokes = np.zeros(size, np.uint8)
    strokes[0, 0] = 1
    assert StrokeSegmenter(frame).segment(strokes)[0, 0] == 1


def test_marks_that_do_not_fit_the_frame_are_refused(segmenter: StrokeSegmenter) -> None:
    with pytest.raises(MaskError, match="The strokes must have the size of the frame, 128x96"):
        segmenter.segment(np.zeros((96, 127), np.uint8))
    with pytest.raises(MaskError, match="The previous mask must have the size"):
        segmenter.segment(scribble(), previous=np.zeros((1, 1), np.uint8))
    with pytest.raises(MaskError, match="The box 4, 4 to 200, 20 does not lie in the frame"):
        segmenter.segment(scribble(), boxes={1: (4, 4, 200, 20)})
