"""Auxiliary features of cells: color, and motion independent of the camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamp.model.color import rgb_to_lab
from mamp.propagation.cell_features import (
    color_features,
    independent_motion,
    relative_motion,
    without_sudden_changes,
)


def test_color_features_describe_the_cell_and_its_surroundings() -> None:
    frame = np.full((32, 48, 3), 128, np.uint8)
    frame[:, 24:] = (150, 110, 110)
    cues = color_features(rgb_to_lab(torch.from_numpy(frame)))
    assert cues.shape == (21, 8, 12)
    red, gray = cues[:, 4, 9], cues[:, 4, 2]
    assert red[1] > 1 > 0.1 > gray[1].abs()
    assert torch.equal(cues[1, :, 0], cues[1, :, 3]) and cues[10, 4, 3] > 0.01 > cues[7, 4, 3].abs()
    assert red[-2] == pytest.approx(float(red[1] * red[2]), rel=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.6])
@pytest.mark.parametrize("camera", ["static", "rotating and zooming"])
def test_independently_moving_objects_stand_out_up_to_their_edge(camera: str, share: float) -> None:
    h, w = 60, 80
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    flow = 0.02 * torch.randn(2, h, w, generator=torch.Generator().manual_seed(0))
    if camera != "static":
        flow += torch.stack((3 + 2 * x - y, 1 + x + 2 * y))
    objects = torch.zeros(h, w, dtype=torch.bool)
    side = round((share * h * w) ** 0.5)
    objects[5 : 5 + side, 10 : 10 + side] = True
    flow[0] += 2.0 * objects
    motion = independent_motion(flow, objects)[0]
    torch.testing.assert_close(independent_motion(flow, objects, on_device=True)[0], motion)
    inner = ~torch.nn.functional.max_pool2d((~objects).float()[None], 5, 1, 2)[0].bool()
    assert motion[inner].min() > 2 and motion[~inner].max() < 1.5
    assert (motion >= 0).all() and (motion < 3).all()


def test_an_object_that_fills_the_frame_does_not_move_relative_to_the_camera() -> None:
    flow = torch.ones(2, 20, 30)
    for on_device in (False, True):
        assert independent_motion(flow, torch.ones(20, 30, dtype=torch.bool), on_device=on_device).max() < 0.01


def test_relative_motion_is_that_beside_the_camera() -> None:
    flow = torch.ones(2, 40, 60) * torch.tensor([3.0, -1.0])[:, None, None]
    flow[1, 10:20, 10:20] += 2
    motion, spread = relative_motion(flow, torch.zeros(40, 60, dtype=torch.bool))
    expected = torch.zeros(2, 40, 60)
    expected[1, 10:20, 10:20] = 2
    torch.testing.assert_close(motion.float(), expected, atol=0.02, rtol=0)
    assert spread < 0.02


@pytest.mark.parametrize(
    ("now", "kept", "kept_at_start"),
    [
        ((0.0, 2.0), (True, False), (True, False)),
        ((2.0, 2.0), (False, False), (False, False)),
        ((2.0, 0.1), (False, True), (False, True)),
        ((0.6, 2.5), (False, False), (False, False)),
        ((2.0, 10.0), (False, False), (False, True)),
    ],
)
def test_objects_that_stop_or_start_suddenly_keep_their_motion(
    now: tuple[float, float], kept: tuple[bool, bool], kept_at_start: tuple[bool, bool]
) -> None:
    value = torch.zeros(20, 60, dtype=torch.uint8)
    value[8:12, 8:12], value[8:12, 48:52] = 1, 7
    motion, previous = torch.full((1, 20, 60), 0.01), torch.full((1, 20, 60), 0.02)
    for label, speed in zip((1, 7), now, strict=True):
        motion[0, value == label], previous[0, value == label] = speed, 2.0
    objects = torch.tensor([1, 7], dtype=torch.uint8)
    for starts, expected in ((False, kept), (True, kept_at_start)):
        steady = without_sudden_changes(motion, previous, value, objects, radius=5, starts=starts)
        for columns, from_before in zip((slice(6, 14), slice(46, 54)), expected, strict=True):
            torch.testing.assert_close(
                steady[:, 6:14, columns], (previous if from_before else motion)[:, 6:14, columns]
            )
        torch.testing.assert_close(steady[..., 25:35], motion[..., 25:35])


def test_what_moves_beside_an_object_that_stops_keeps_its_own_motion() -> None:
    value = torch.zeros(20, 30, dtype=torch.uint8)
    value[8:12, 8:12] = 1
    motion, previous = torch.zeros(1, 20, 30), 2.0 * (value > 0)[None]
    motion[0, 8:12, 13:15] = 2.5
    steady = without_sudden_changes(
        motion, previous, value, torch.tensor([1], dtype=torch.uint8), radius=5, starts=True
    )
    torch.testing.assert_close(steady, previous + motion)
