"""Features projected on their principal directions."""

import torch

from mamp.propagation.principal_features import CHANNELS, principal_directions, project


def test_features_of_few_directions_keep_their_similarities() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(64, CHANNELS, generator=generator)
    first, later = (torch.einsum("cd,dhw->chw", basis, torch.randn(CHANNELS, 9, 13, generator=generator)) for _ in "ab")
    directions = principal_directions(first)
    one, other = project(first, directions), project(later, directions)
    assert one.shape == (CHANNELS, 9, 13) and one.stride(0) == 1
    similarity = one.flatten(1).T @ other.flatten(1) * CHANNELS**-0.5
    torch.testing.assert_close(similarity, first.flatten(1).T @ later.flatten(1) * 64**-0.5, rtol=1e-4, atol=1e-3)


def test_the_directions_are_those_that_keep_most() -> None:
    scales = torch.linspace(3, 0.1, 48)[:, None, None]
    features = scales * torch.randn(48, 20, 30, generator=torch.Generator().manual_seed(1))
    kept = project(features, principal_directions(features)).square().sum() * (48 / CHANNELS) ** 0.5
    assert kept > features[:CHANNELS].square().sum()


def test_fewer_channels_are_all_kept() -> None:
    features = torch.randn(7, 5, 6)
    projected = project(features, principal_directions(features))
    torch.testing.assert_close(projected.norm(dim=0), features.norm(dim=0))
