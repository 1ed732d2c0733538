"""What beside features tells cells apart: colour, and motion of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamp.model.color import rgb_to_lab
from mamp.propagation.cell_features import color_features, independent_motion


def test_colours_are_those_of_the_cell_and_of_what_is_around_it() -> None:
    frame = np.full((32, 48, 3), 128, np.uint8)
    frame[:, 24:] = (150, 110, 110)
    cues = color_features(rgb_to_lab(torch.from_numpy(frame)))
    assert cues.shape == (21, 8, 12)
    red, grey = cues[:, 4, 9], cues[:, 4, 2]
    assert red[1] > 1 > 0.1 > grey[1].abs()
    assert torch.equal(cues[1, :, 0], cues[1, :, 3]) and cues[10, 4, 3] > 0.01 > cues[7, 4, 3].abs()
    assert red[-2] == pytest.approx(float(red[1] * red[2]), rel=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.6])
@pytest.mark.parametrize("camera", ["still", "turns and zooms"])
def test_what_moves_beside_the_camera_stands_out_up_to_its_edge(camera: str, share: float) -> None:
    h, w = 60, 80
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    flow = 0.02 * torch.randn(2, h, w, generator=torch.Generator().manual_seed(0))
    if camera != "still":
        flow += torch.stack((3 + 2 * x - y, 1 + x + 2 * y))
    objects = torch.zeros(h, w, dtype=torch.bool)
    side = round((share * h * w) ** 0.5)
    objects[5 : 5 + side, 10 : 10 + side] = True
    flow[0] += 2.0 * objects
    cue = independent_motion(flow, objects)[0]
    inner = ~torch.nn.functional.max_pool2d((~objects).float()[None], 5, 1, 2)[0].bool()
    assert cue[inner].min() > 2 and cue[~inner].max() < 1.5 and (cue >= 0).all() and (cue < 3).all()


def test_a_camera_that_sees_nothing_but_the_object_goes_with_it() -> None:
    flow = torch.ones(2, 20, 30)
    assert independent_motion(flow, torch.ones(20, 30, dtype=torch.bool)).max() < 0.01
