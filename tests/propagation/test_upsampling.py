"""Objects end where the image does."""

import pytest
import torch

from mamp import MaskTracker, PatchEncoder
from mamp.propagation.alignment import to_cells, to_pixels
from mamp.propagation.upsampling import BilinearUpsampler, GuidedUpsampler, ScoreUpsampler, argmax_labels
from tests.conftest import scene
from tests.propagation.test_alignment import disk


def painted(mask: torch.Tensor) -> torch.Tensor:
    """A frame (3, H, W) with an object in another colour, and noise."""
    torch.manual_seed(0)
    inside, outside = torch.tensor([0.7, 0.3, 0.2]), torch.tensor([0.4, 0.5, 0.3])
    colours = torch.where(mask[None] > 0, inside[:, None, None], outside[:, None, None])
    return (colours + 0.02 * torch.randn(colours.shape)).clamp(0, 1)


def of_cells(mask: torch.Tensor) -> torch.Tensor:
    cells = to_cells(mask)
    return torch.stack((1 - cells, cells))


def read_out(edges: ScoreUpsampler, scores: torch.Tensor) -> torch.Tensor:
    return edges.to_pixels(edges.fitted(scores))


def missed(scores: torch.Tensor, mask: torch.Tensor) -> int:
    return int((scores.argmax(dim=0) != mask).sum())


def test_edges_lie_where_the_colours_change() -> None:
    mask = disk(100, 130, 48.3, 64.6, 21.2)
    along_edges = read_out(GuidedUpsampler(painted(mask)), of_cells(mask))
    voted = to_pixels(of_cells(mask), (100, 130))
    assert missed(along_edges, mask) < 0.25 * missed(voted, mask)


def test_a_colourless_frame_leaves_objects_where_they_were_voted() -> None:
    mask = disk(100, 130, 48.0, 64.0, 21.0)
    scores = read_out(GuidedUpsampler(torch.full((3, 100, 130), 0.5)), of_cells(mask))
    assert torch.allclose(scores.sum(dim=0), torch.ones(100, 130), atol=1e-4)
    found = scores.argmax(dim=0).float()
    assert (found * mask).sum() / (found + mask).clamp(max=1).sum() > 0.9


@pytest.mark.parametrize("size", [(101, 131), (1, 1), (3, 400)])
def test_any_size_is_read_out(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    scores = torch.rand(5, -(-size[0] // 4), -(-size[1] // 4)).softmax(dim=0)
    frame = torch.rand(3, *size)
    assert torch.allclose(read_out(GuidedUpsampler(frame), scores).sum(dim=0), torch.ones(size), atol=1e-3)
    larger = (2 * size[0], 3 * size[1])
    assert read_out(GuidedUpsampler(frame, larger), scores).shape == (5, *larger)


@pytest.mark.parametrize("size", [(100, 130), (151, 197), (57, 60)])
@pytest.mark.parametrize("along", ["guided", "bilinear"])
def test_objects_are_read_out_in_their_boxes_as_in_the_whole_frame(size: tuple[int, int], along: str) -> None:
    torch.manual_seed(0)
    scores = torch.zeros(5, 25, 33)
    scores[1, 2:6, 3:9], scores[2, 5:9, 7:20], scores[3, 20:, 28:] = (
        torch.rand(4, 6),
        torch.rand(4, 13),
        torch.rand(5, 5),
    )
    scores[1:] /= scores[1:].sum(dim=0).clamp(min=1)
    scores[0] = 1 - scores[1:].sum(dim=0)
    edges: ScoreUpsampler = (
        GuidedUpsampler(torch.rand(3, 100, 130), size) if along == "guided" else BilinearUpsampler((100, 130), size)
    )
    whole = read_out(edges, scores)
    labels = torch.tensor([0, 3, 7, 9, 11], dtype=torch.uint8)
    found = argmax_labels(scores, labels.tolist(), edges)
    best = whole.topk(2, dim=0).values
    clear = best[0] - best[1] > 1e-4  # else rounding decides
    assert torch.equal(found[clear], labels[whole.argmax(dim=0)][clear]) and clear.float().mean() > 0.99
    assert set(found.unique().tolist()) == {0, 3, 7, 9}


def test_masks_follow_the_image_closer_than_the_votes_alone() -> None:
    ahead = {}
    for edges in ("guided", "bilinear"):
        tracker = MaskTracker(PatchEncoder(), upsampling=edges)
        wrong = 0
        for t in range(8):
            frame, truth = scene(t)
            wrong += int((tracker.step(frame, truth if t == 0 else None) != truth).sum())
        ahead[edges] = wrong
    assert ahead["guided"] < ahead["bilinear"]


def test_edges_are_one_of_two() -> None:
    with pytest.raises(ValueError, match="upsampling"):
        MaskTracker(PatchEncoder(), upsampling="sharp")
