import cv2
import numpy as np

from mamp.interactive.object_cut import ObjectCut
from mamp.interactive.surroundings import Surroundings

SIZE = (60, 80)


def disk(radius: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return cv2.circle(np.zeros(SIZE, np.uint8), (40, 30), radius, 1, cv2.FILLED) > 0


def surroundings(*, motion: bool = False) -> Surroundings:
    """A disk of radius 18 with a mark of radius 4; its colors, or its motion alone, tell it from the background."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (*SIZE, 3)).astype(np.float32)
    step = 2 * disk(18)[..., None].astype(np.float32)
    inside = disk(4)
    outside = np.zeros(SIZE, bool)
    outside[[0, -1]] = outside[:, [0, -1]] = True
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) / 8
    return Surroundings(
        colors=noise if motion else noise + step,
        motion=noise[..., :2] + step if motion else None,
        inside=inside,
        outside=outside,
        distance=np.asarray(distance, np.float32),
        distance_outside=np.full(SIZE, 1e6, np.float32),
    )


def test_colors_tell_where_an_object_ends() -> None:
    mask, log_odds = ObjectCut(surroundings()).mask(1.5)
    assert (mask != disk(18)).mean() < 0.01
    assert log_odds[disk(14)].min() > 0 > log_odds[~disk(22)].max()


def test_motion_tells_it_where_colors_do_not() -> None:
    mask, _ = ObjectCut(surroundings(motion=True)).mask(1.5)
    assert (mask != disk(18)).mean() < 0.05


def test_a_mask_that_ends_at_the_edges_of_the_object_is_the_best() -> None:
    for motion in (False, True):
        object_cut = ObjectCut(surroundings(motion=motion))
        qualities = {radius: object_cut.quality(disk(radius)) for radius in (8, 12, 18, 24, 28)}
        assert max(qualities, key=lambda radius: qualities[radius]) == 18


def test_masks_of_nothing_and_of_all_are_the_worst() -> None:
    object_cut = ObjectCut(surroundings())
    for mask in (np.zeros(SIZE, bool), np.ones(SIZE, bool)):
        assert object_cut.quality(mask) == -np.inf
