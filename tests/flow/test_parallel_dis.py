"""Dense inverse search in tensors: the flow of OpenCV's, for many pairs at once, without the host."""

import numpy as np
import pytest
import torch

from mamp.flow.optical_flow import DisFlow, ParallelDisFlow, load_flow
from mamp.flow.parallel_dis import FAST_LEVEL, coarsest_level, gray_pyramid, inverse_search
from mamp.settings import Settings
from tests.conftest import Image, scene
from tools.gpu_check import OperationCounter


def frames(*images: Image) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))


@pytest.mark.parametrize("fast", [False, True])
def test_the_flow_of_a_scene_is_that_of_opencv(fast: bool) -> None:
    query, reference = (scene(t, 240, 320)[0] for t in (6, 4))
    one, other = (flow(query, reference, fast=fast) for flow in (DisFlow(), ParallelDisFlow()))
    distance = np.hypot(*(one - other))
    assert np.median(distance) < 0.25 and (distance < 1).mean() > 0.93


def test_the_pairs_of_a_batch_do_not_influence_each_other() -> None:
    query, *references = (gray_pyramid(frames(scene(t, 96, 130)[0])) for t in (6, 5, 2))
    together = [torch.cat(level) for level in zip(*references, strict=True)]
    alone = torch.cat([inverse_search(query, reference) for reference in references])
    torch.testing.assert_close(inverse_search(query, together), alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(96, 130), (20, 30)])
def test_a_coarse_flow_can_be_refined_later(size: tuple[int, int]) -> None:
    query, reference = (gray_pyramid(frames(scene(t)[0][: size[0], : size[1]])) for t in (6, 5))
    coarse = inverse_search(query, reference, finest=FAST_LEVEL)
    torch.testing.assert_close(inverse_search(query, reference, coarse=coarse), inverse_search(query, reference))


def test_the_search_of_many_pairs_needs_no_host_and_a_bounded_number_of_operations() -> None:
    size = (480, 854)
    query, reference = (gray_pyramid(torch.empty(n, *size, 3, dtype=torch.uint8, device="meta")) for n in (1, 8))
    initial = torch.empty(8, 2, 120, 214, device="meta")  # without values: whatever read one would raise
    inverse_search(query, reference, initial=initial, finest=FAST_LEVEL)  # keeps the constants of this size
    with OperationCounter() as counter:
        flow = inverse_search(query, reference, initial=initial, finest=FAST_LEVEL)
    assert flow.shape == (8, 2, 120, 213)
    assert counter.counts.total() <= 100 * (coarsest_level(size) - FAST_LEVEL + 1)


def test_asynchronous_execution_takes_it() -> None:
    assert isinstance(load_flow(Settings(execution="asynchronous", device="cpu")), ParallelDisFlow)
    assert isinstance(load_flow(Settings(device="cpu")), DisFlow)
