"""The vote of references, of which only the surroundings of objects are asked."""

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
    """Three frames with the same objects (h, w); laid over the query as they lie, or by some motion."""
    torch.manual_seed(0)
    h, w = objects.shape
    made = []
    for _ in range(3):
        key = torch.randn(8, h, w)
        memory = MemoryFrame(image=np.zeros((1, 1, 3), np.uint8), key=key, cues=key[:0], value=objects)
        motion = torch.randint(-9, 10, (2, h, w)).float() if moved else None
        made.append(Reference(memory, motion, trusted=True))
    return made


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("rows", [(20, 23), (0, 5), (38, 41)])
def test_the_surroundings_of_objects_say_what_the_whole_frame_would(rows: tuple[int, int], moved: bool) -> None:
    objects = torch.zeros(41, 59, dtype=torch.uint8)
    objects[slice(*rows), 30:36] = 7
    asked = references(objects, moved=moved)
    query = torch.randn(8, 41, 59)
    vote = MemoryReader(radius=4, top_k=9, discriminant_weight=0.0, logit_adjustment=0.0)
    scores = vote(vote.query(query, query[:0], asked, [0, 7]))

    shown = torch.stack((objects == 0, objects == 7)).float()
    place, inside = map(torch.stack, zip(*(reference.sources for reference in asked), strict=True))
    keys = torch.stack([gather_cells(reference.memory.key, at) for reference, at in zip(asked, place, strict=True)])
    values = torch.stack([gather_cells(shown, at) for at in place])
    whole = propagate(query, lambda rows: keys[:, :, rows], values, valid=inside, radius=4, top_k=9)
    assert 0 < (scores[1] > 0.05).sum() < 0.3 * scores[1].numel()
    torch.testing.assert_close(scores[1], whole[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(41, 59), rtol=1e-4, atol=1e-5)


def test_where_no_reference_shows_an_object_all_is_background() -> None:
    asked = references(torch.zeros(10, 12, dtype=torch.uint8), moved=False)
    query = torch.randn(8, 10, 12)
    vote = MemoryReader(radius=4, top_k=9, discriminant_weight=0.2, logit_adjustment=0.1)
    scores = vote(vote.query(query, query[:0], asked, [0, 7]))
    assert (scores[0] == 1).all() and not scores[1].any()


def test_where_some_cells_are_asked_for_they_say_the_same_and_others_nothing() -> None:
    objects = torch.zeros(41, 59, dtype=torch.uint8)
    objects[20:23, 30:36] = 7
    frames = references(objects, moved=True)
    key = torch.randn(8, 41, 59)
    vote = MemoryReader(radius=4, top_k=9, discriminant_weight=0.0, logit_adjustment=0.2)
    query, asked = vote.query(key, key[:0], frames, [0, 7]), torch.zeros(41, 59, dtype=torch.bool)
    asked[22:30, 28:40] = True
    scores, whole = vote(query, asked=asked), vote(query)
    assert (whole[1] * ~asked).any() and (scores[1] * asked).any()
    torch.testing.assert_close(scores[:, asked], whole[:, asked])
    assert (scores[0, ~asked] == 1).all()


def test_cells_are_fetched_however_they_lie() -> None:
    torch.manual_seed(0)
    cells, place = torch.randn(4, 20, 30), torch.randint(0, 600, (3, 11))
    laid_last = cells.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    found = gather_cells(cells, place)
    np.testing.assert_array_equal(found, cells[:, place // 30, place % 30])
    np.testing.assert_array_equal(gather_cells(laid_last, place), found)
