"""Memory read-out, which matches only the surroundings of objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mamp.flow.warp import gather_cells
from mamp.propagation.local_matching import propagate
from mamp.propagation.memory_bank import MemoryFrame
from mamp.propagation.memory_readout import MemoryReader, Reference


def references(objects: Tensor, *, moved: bool) -> list[Reference]:
    """Three references with the same objects (h, w), without motion or with a random one."""
    torch.manual_seed(0)
    h, w = objects.shape
    result = []
    for _ in range(3):
        key = torch.randn(8, h, w)
        memory = MemoryFrame(image=np.zeros((1, 1, 3), np.uint8), key=key, cues=key[:0], value=objects)
        motion = torch.randint(-9, 10, (2, h, w)).float() if moved else None
        result.append(Reference(memory, motion, reliable=True, number=0))
    return result


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("rows", [(20, 23), (0, 5), (38, 41)])
def test_matching_the_surroundings_of_objects_equals_matching_the_whole_frame(
    rows: tuple[int, int], moved: bool
) -> None:
    objects = torch.zeros(41, 59, dtype=torch.uint8)
    objects[slice(*rows), 30:36] = 7
    frames = references(objects, moved=moved)
    query = torch.randn(8, 41, 59)
    reader = MemoryReader(radius=4, top_k=9, discriminant_weight=0.0, logit_adjustment=0.0)
    scores = reader(reader.query(query, query[:0], frames, [0, 7]))

    masks = torch.stack((objects == 0, objects == 7)).float()
    indices, valid = map(torch.stack, zip(*(reference.sources for reference in frames), strict=True))
    keys = torch.stack([gather_cells(reference.memory.key, at) for reference, at in zip(frames, indices, strict=True)])
    values = torch.stack([gather_cells(masks, at) for at in indices])
    whole = propagate(query, lambda rows: keys[:, :, rows], values, valid=valid, radius=4, top_k=9)
    assert 0 < (scores[1] > 0.05).sum() < 0.3 * scores[1].numel()
    torch.testing.assert_close(scores[1], whole[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(41, 59), rtol=1e-4, atol=1e-5)


def test_without_an_object_in_any_reference_all_is_background() -> None:
    frames = references(torch.zeros(10, 12, dtype=torch.uint8), moved=False)
    query = torch.randn(8, 10, 12)
    reader = MemoryReader(radius=4, top_k=9, discriminant_weight=0.2, logit_adjustment=0.1)
    scores = reader(reader.query(query, query[:0], frames, [0, 7]))
    assert (scores[0] == 1).all() and not scores[1].any()


def test_a_query_mask_keeps_the_scores_of_its_cells_and_makes_others_background() -> None:
    objects = torch.zeros(41, 59, dtype=torch.uint8)
    objects[20:23, 30:36] = 7
    frames = references(objects, moved=True)
    key = torch.randn(8, 41, 59)
    reader = MemoryReader(radius=4, top_k=9, discriminant_weight=0.0, logit_adjustment=0.2)
    query, query_mask = reader.query(key, key[:0], frames, [0, 7]), torch.zeros(41, 59, dtype=torch.bool)
    query_mask[22:30, 28:40] = True
    scores, whole = reader(query, query_mask=query_mask), reader(query)
    assert (whole[1] * ~query_mask).any() and (scores[1] * query_mask).any()
    torch.testing.assert_close(scores[:, query_mask], whole[:, query_mask])
    assert (scores[0, ~query_mask] == 1).all()


def test_cells_are_gathered_from_any_memory_layout() -> None:
    torch.manual_seed(0)
    cells, indices = torch.randn(4, 20, 30), torch.randint(0, 600, (3, 11))
    channels_last = cells.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    gathered = gather_cells(cells, indices)
    np.testing.assert_array_equal(gathered, cells[:, indices // 30, indices % 30])
    np.testing.assert_array_equal(gather_cells(channels_last, indices), gathered)
