"""Devices by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mamp import Settings, segment_video
from mamp.distributed import resolve_device
from tests.conftest import scene


def test_devices_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert resolve_device("auto") == torch.device(device)
        assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"), [("gpu", "device must be cpu, cuda, .* not gpu"), ("cuda:1", "no CUDA device on this machine")]
)
def test_a_device_that_does_not_exist_is_refused_before_earlier_results_change(
    clip: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = Settings(weights="patch", flow="none", device=name)
    with pytest.raises(ValueError, match=message):
        list(segment_video(clip, {0: scene(0)[1]}, clip.parent / "out", settings))
    assert not (clip.parent / "out").exists()
