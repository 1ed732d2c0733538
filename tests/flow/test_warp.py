"""Warping: signs, units and borders."""

import torch

from mamp.flow.warp import gather_by_flow, to_cell_units, warp


def test_warping_aligns_the_reference_to_the_query() -> None:
    reference = torch.zeros(1, 1, 10, 12)
    reference[0, 0, 4, 9] = 1
    flow = torch.zeros(1, 2, 10, 12)
    flow[:, 0], flow[:, 1] = 3, -2
    warped, inside = warp(reference, flow)
    assert torch.nonzero(warped[0, 0] > 0.99).tolist() == [[6, 6]]
    assert not inside[0, :2].any() and not inside[0, :, 9:].any() and inside[0, 2:, :9].all()


def test_flow_in_cells_is_a_quarter_of_the_flow_in_pixels() -> None:
    flow = torch.arange(2 * 8 * 8.0).view(2, 8, 8)
    assert torch.equal(to_cell_units(flow), flow[:, ::4, ::4] / 4)


def test_gathering_by_whole_cells_equals_warping() -> None:
    rng = torch.Generator().manual_seed(0)
    reference = torch.rand(5, 9, 14, generator=rng)
    flow = torch.randint(-6, 7, (2, 9, 14), generator=rng).float()
    warped, inside = warp(reference[None], flow[None])
    (gathered,), valid = gather_by_flow(flow, reference)
    assert torch.equal(inside[0], valid) and 0.2 < inside.float().mean() < 0.8
    torch.testing.assert_close(gathered[:, valid], warped[0][:, valid], atol=1e-5, rtol=1e-5)
