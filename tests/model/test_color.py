"""Lab colors and the information bottleneck."""

import cv2
import numpy as np
import pytest
import torch

from mamp.model import color
from mamp.model.color import A_CHANNEL, B_CHANNEL, drop_ab_channel, rgb_to_lab


def test_lab_equals_that_of_opencv() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    expected = ((lab - (50, 0, 0)) / (50, 127, 127)).transpose(2, 0, 1)
    # OpenCV interpolates a coarse table: it is off by up to half a unit of Lab.
    np.testing.assert_allclose(rgb_to_lab(torch.from_numpy(rgb)).numpy(), expected, atol=5e-3)


def test_lab_of_the_cpu_is_that_of_other_devices() -> None:
    frames = torch.randint(0, 256, (2, 40, 50, 3), dtype=torch.uint8)
    frames[0] //= 40  # dark, where the cube root is replaced
    torch.testing.assert_close(rgb_to_lab(frames), color._lab_by_tensors(frames), atol=1e-5, rtol=0)


def test_red_has_its_textbook_lab_values() -> None:
    red = rgb_to_lab(torch.tensor([[[255, 0, 0]]], dtype=torch.uint8)).flatten()
    expected = torch.tensor([(53.24 - 50) / 50, 80.09 / 127, 67.20 / 127])
    torch.testing.assert_close(red, expected, atol=2e-4, rtol=0)


def test_white_and_black_are_the_ends_of_the_lightness_scale() -> None:
    ends = rgb_to_lab(torch.tensor([[[255, 255, 255], [0, 0, 0]]], dtype=torch.uint8))
    torch.testing.assert_close(ends[:, 0], torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).T, atol=1e-3, rtol=0)


@pytest.mark.parametrize("channel", [A_CHANNEL, B_CHANNEL])
def test_one_color_channel_is_dropped_and_is_the_target(channel: int) -> None:
    lab = torch.rand(2, 3, 4, 5) + 0.1
    bottleneck, target = drop_ab_channel(lab, channel)
    assert (bottleneck[:, channel] == 0).all()
    assert torch.equal(target[:, 0], lab[:, channel])
    kept = [index for index in range(3) if index != channel]
    assert torch.equal(bottleneck[:, kept], lab[:, kept])


def test_lightness_is_never_dropped() -> None:
    with pytest.raises(ValueError, match="channel must be"):
        drop_ab_channel(torch.zeros(3, 4, 4), 0)


def test_frames_of_another_type_are_rejected() -> None:
    with pytest.raises(ValueError, match="uint8"):
        rgb_to_lab(torch.zeros(4, 4, 3))
