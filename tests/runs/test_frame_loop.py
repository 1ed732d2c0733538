"""Stages of a run overlap where that pays, with the same masks."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch

from mamp.flow.optical_flow import dis_flow
from mamp.model.encoder import Encoder
from mamp.model.patch_encoder import PatchEncoder
from mamp.runs.frame_loop import overlaps, track_frames
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from mamp.video.reader import Frame
from tests.conftest import scene

SETTINGS = Settings(short_side=0, radius=4, top_k=9)


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_masks_do_not_depend_on_whether_stages_overlap() -> None:
    frames = [Frame(scene(t)[0], Fraction(t, 25), t, Fraction(1, 25)) for t in range(9)]
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        encoder = PatchEncoder()
        assert overlaps(SETTINGS, encoder) == (threads > 1)
        tracker = MaskTracker.from_settings(SETTINGS, encoder, dis_flow)
        tracked = track_frames(frames, lambda _, tracker=tracker: tracker, SETTINGS, {0: scene(0)[1]}, encoder=encoder)
        results.append([mask for _, mask in tracked])
        assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_large_network_keeps_all_cores() -> None:
    torch.set_num_threads(2)
    small = Encoder(width=16, depth=1)
    assert overlaps(SETTINGS, small)
    assert not overlaps(SETTINGS, Encoder()), "Table 1"
    assert not overlaps(Settings(flow="raft"), small)
