"""Reference frames, and the lifetime of frames in memory."""

import numpy as np
import pytest
import torch

from mamp.propagation.memory_bank import MAX_GIVEN, MemoryBank, MemoryFrame, reference_frames


def memory(*, given: bool = False) -> MemoryFrame:
    return MemoryFrame(
        image=np.zeros((4, 4, 3), np.uint8),
        key=torch.zeros(1, 1, 1),
        cues=torch.zeros(0, 1, 1),
        value=torch.zeros(1, 1, dtype=torch.uint8),
        given=given,
    )


@pytest.mark.parametrize(
    ("t", "expected"),
    [(1, [0]), (4, [0, 1, 3]), (6, [0, 1, 3, 5]), (7, [0, 2, 4, 5, 6]), (20, [0, 5, 15, 17, 19])],
)
def test_references_are_those_of_the_paper(t: int, expected: list[int]) -> None:
    assert reference_frames(t) == expected


@pytest.mark.parametrize(
    ("long_term", "short_term"), [((0, 5), (1, 3, 5)), ((), (1, 3, 5)), ((0, 5), ()), ((), (3,)), ((7,), ()), ((), ())]
)
def test_the_bank_holds_every_reference_and_stays_bounded(
    long_term: tuple[int, ...], short_term: tuple[int, ...]
) -> None:
    bank = MemoryBank(long_term=long_term, short_term=short_term)
    for t in range(200):
        if t:
            expected = reference_frames(t, long_term=long_term, short_term=short_term)
            assert list(bank.references(t)) == expected
        bank.add(t, memory())
        assert len(bank) <= len(long_term) + max(short_term, default=0) + 1


def test_frames_with_input_masks_stay_references_up_to_a_limit() -> None:
    bank = MemoryBank()
    for t in range(100):
        bank.add(t, memory(given=t % 10 == 0))
    references = list(bank.references(100))
    assert [frame for frame in references if frame % 10 == 0] == [0, *range(100 - 10 * MAX_GIVEN, 100, 10)]
    assert len(bank) <= 2 + 5 + MAX_GIVEN
