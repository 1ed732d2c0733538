"""Upsampled masks follow the edges of the image."""

import pytest
import torch

from mamp import MaskTracker, PatchEncoder
from mamp.propagation.alignment import to_cells, to_pixels
from mamp.propagation.upsampling import BilinearUpsampler, GuidedUpsampler, ScoreUpsampler, argmax_labels
from tests.conftest import scene
from tests.propagation.test_alignment import disk


def painted(mask: torch.Tensor) -> torch.Tensor:
    """A noisy frame (3, H, W) with an object of another color."""
    torch.manual_seed(0)
    inside, outside = torch.tensor([0.7, 0.3, 0.2]), torch.tensor([0.4, 0.5, 0.3])
    colors = torch.where(mask[None] > 0, inside[:, None, None], outside[:, None, None])
    return (colors + 0.02 * torch.randn(colors.shape)).clamp(0, 1)


def cell_scores(mask: torch.Tensor) -> torch.Tensor:
    cells = to_cells(mask)
    return torch.stack((1 - cells, cells))


def upsample(upsampler: ScoreUpsampler, scores: torch.Tensor) -> torch.Tensor:
    return upsampler.evaluate(upsampler.fit(scores))


def count_wrong(scores: torch.Tensor, mask: torch.Tensor) -> int:
    return int((scores.argmax(dim=0) != mask).sum())


def test_guided_edges_lie_where_the_color_changes() -> None:
    mask = disk(100, 130, 48.3, 64.6, 21.2)
    guided = upsample(GuidedUpsampler(painted(mask)), cell_scores(mask))
    bilinear = to_pixels(cell_scores(mask), (100, 130))
    assert count_wrong(guided, mask) < 0.25 * count_wrong(bilinear, mask)


def test_a_frame_of_one_color_leaves_objects_in_place() -> None:
    mask = disk(100, 130, 48.0, 64.0, 21.0)
    scores = upsample(GuidedUpsampler(torch.full((3, 100, 130), 0.5)), cell_scores(mask))
    assert torch.allclose(scores.sum(dim=0), torch.ones(100, 130), atol=1e-4)
    found = scores.argmax(dim=0).float()
    assert (found * mask).sum() / (found + mask).clamp(max=1).sum() > 0.9


@pytest.mark.parametrize("size", [(101, 131), (1, 1), (3, 400)])
def test_scores_of_any_size_are_upsampled(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    scores = torch.rand(5, -(-size[0] // 4), -(-size[1] // 4)).softmax(dim=0)
    frame = torch.rand(3, *size)
    assert torch.allclose(upsample(GuidedUpsampler(frame), scores).sum(dim=0), torch.ones(size), atol=1e-3)
    larger = (2 * size[0], 3 * size[1])
    assert upsample(GuidedUpsampler(frame, larger), scores).shape == (5, *larger)


@pytest.mark.parametrize("size", [(100, 130), (151, 197), (57, 60)])
@pytest.mark.parametrize("method", ["guided", "bilinear"])
def test_upsampling_an_object_in_its_box_equals_the_whole_frame(size: tuple[int, int], method: str) -> None:
    torch.manual_seed(0)
    scores = torch.zeros(5, 25, 33)
    scores[1, 2:6, 3:9], scores[2, 5:9, 7:20], scores[3, 20:, 28:] = (
        torch.rand(4, 6),
        torch.rand(4, 13),
        torch.rand(5, 5),
    )
    scores[1:] /= scores[1:].sum(dim=0).clamp(min=1)
    scores[0] = 1 - scores[1:].sum(dim=0)
    upsampler: ScoreUpsampler = (
        GuidedUpsampler(torch.rand(3, 100, 130), size) if method == "guided" else BilinearUpsampler((100, 130), size)
    )
    whole = upsample(upsampler, scores)
    labels = torch.tensor([0, 3, 7, 9, 11], dtype=torch.uint8)
    found = argmax_labels(scores, labels.tolist(), upsampler)
    best = whole.topk(2, dim=0).values
    clear = best[0] - best[1] > 1e-4  # else rounding decides
    assert torch.equal(found[clear], labels[whole.argmax(dim=0)][clear]) and clear.float().mean() > 0.99
    assert set(found.unique().tolist()) == {0, 3, 7, 9}


def test_guided_masks_are_closer_to_the_truth_than_bilinear_ones() -> None:
    wrong_pixels = {}
    for upsampling in ("guided", "bilinear"):
        tracker = MaskTracker(PatchEncoder(), upsampling=upsampling)
        wrong = 0
        for t in range(8):
            frame, truth = scene(t)
            wrong += int((tracker.step(frame, truth if t == 0 else None) != truth).sum())
        wrong_pixels[upsampling] = wrong
    assert wrong_pixels["guided"] < wrong_pixels["bilinear"]


def test_an_unknown_upsampling_is_refused() -> None:
    with pytest.raises(ValueError, match="upsampling"):
        MaskTracker(PatchEncoder(), upsampling="sharp")
