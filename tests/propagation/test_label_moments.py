"""Statistics of all labels at once equal those of one label after another, also where a label is absent."""

import pytest
import torch

from mamp.propagation.label_moments import fit_discriminants, label_moments
from mamp.propagation.object_discriminant import Discriminants, class_statistics

LABELS = [0, 2, 7, 200]
RADIUS = 3


@pytest.mark.parametrize("shown", [[2, 7, 200], [2, 200], [7], []])
def test_discriminants_equal_those_of_class_statistics(shown: list[int]) -> None:
    torch.manual_seed(0)
    values = torch.zeros(2, 24, 30, dtype=torch.uint8)
    for place, label in enumerate(shown):
        values[:, 4:12, 9 * place : 9 * place + 6] = label
    keys, cues = torch.randn(2, 6, 24, 30), torch.randn(2, 3, 24, 30)
    keys[:, 1] += values / 50
    frames = list(zip(keys, cues, values, strict=True))
    row = torch.tensor(LABELS, dtype=torch.uint8)
    moments = [label_moments(*frame, LABELS, row, radius=RADIUS) for frame in frames]
    statistics = [class_statistics(*frame, radius=RADIUS) for frame in frames]

    expected = Discriminants(statistics, LABELS, strength=0.2).scores(keys[0], cues[0])
    fitted = fit_discriminants(moments, strength=0.2).scores(keys[0], cues[0])
    torch.testing.assert_close(fitted, expected, atol=1e-4, rtol=1e-4)
    assert [sorted(frame) for frame in moments] == [sorted(frame) for frame in statistics]
    read = Discriminants(moments, LABELS, strength=0.2).scores(keys[0], cues[0])  # as a mapping
    torch.testing.assert_close(read, expected, atol=1e-4, rtol=1e-4)
