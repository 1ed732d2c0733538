"""Cells and pixels are aligned exactly."""

import pytest
import torch

from mamp.model.encoder import STRIDE, Encoder
from mamp.model.patch_encoder import PatchEncoder
from mamp.propagation.alignment import pad_to_stride, to_cells, to_pixels


def disk(height: int, width: int, y: float, x: float, radius: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).float()


def center(mask: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(mask).float().mean(dim=0)


def test_sixty_round_trips_of_a_disk_drift_less_than_a_quarter_pixel() -> None:
    mask = first = disk(101, 130, 48.0, 64.0, 21.0)
    for _ in range(60):
        mask = to_pixels(torch.stack((to_cells(1 - mask), to_cells(mask))), (101, 130)).argmax(dim=0).float()
    assert (center(mask) - center(first)).abs().max() < 0.25
    assert abs(mask.sum() / first.sum() - 1) < 0.1


def test_a_cell_is_upsampled_to_the_pixel_it_was_sampled_from() -> None:
    cells = torch.rand(2, 6, 7)
    assert torch.allclose(to_cells(to_pixels(cells, (24, 28))), cells, atol=1e-6)


def test_scores_at_double_size_average_to_those_at_single_size() -> None:
    ramp = torch.arange(20.0).expand(1, 20, 20)
    large = to_pixels(ramp, (160, 160), processed=(80, 80))
    small = to_pixels(ramp, (80, 80))
    averaged = large.view(1, 80, 2, 80, 2).mean(dim=(2, 4))
    inner = slice(4, 72)  # beyond the last cell there is nothing to interpolate with
    assert torch.allclose(averaged[..., inner], small[..., inner], atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 8), (5, 7), (479, 853)])
def test_padding_reaches_a_multiple_of_the_stride_and_replicates_the_edge(height: int, width: int) -> None:
    image = torch.rand(3, height, width)
    padded = pad_to_stride(image)
    assert padded.shape[-2] % STRIDE == 0 and padded.shape[-1] % STRIDE == 0
    assert padded.shape[-2] - height < STRIDE and padded.shape[-1] - width < STRIDE
    assert torch.equal(padded[:, :height, :width], image)
    assert torch.equal(padded[:, -1, :width], image[:, -1])


@pytest.mark.parametrize("encoder", [Encoder().eval(), PatchEncoder()], ids=["encoder", "patches"])
def test_rolling_the_image_by_the_stride_rolls_the_features_by_one_cell(encoder: Encoder | PatchEncoder) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        features = encoder(image)
        rolled = encoder(image.roll((STRIDE, STRIDE), dims=(2, 3)))
    inner = slice(18, 22)  # far enough from the border for a receptive field of 143 pixels
    expected = features.roll((1, 1), dims=(2, 3))[:, :, inner, inner]
    assert torch.allclose(rolled[:, :, inner, inner], expected, atol=1e-4)
