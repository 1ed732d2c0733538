"""The estimated duration of a run is close to the measured one."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mamp import PatchEncoder, Settings, segment_video
from mamp.propagation.memory_bank import MemoryBank, MemoryFrame
from mamp.video.synthetic import synthetic_clip, synthetic_mask
from webapp.runtime_estimate import estimate_run_seconds, learn_speed


def test_the_estimate_is_near_the_measured_time_and_grows_with_the_work(tmp_path: Path) -> None:
    encoder, settings = PatchEncoder(), Settings(short_side=0, radius=6)
    clip = synthetic_clip(tmp_path / "clip.mp4", 180, 24)
    expected = estimate_run_seconds(encoder, settings, (180, 320), 24)
    start = time.monotonic()
    list(segment_video(clip, {0: synthetic_mask((180, 320), 1)}, tmp_path / "out", settings, encoder=encoder))
    assert expected / 4 < time.monotonic() - start < expected * 4
    assert estimate_run_seconds(encoder, settings, (360, 640), 24) > 3 * expected
    smaller = Settings(short_side=90, radius=6)
    assert estimate_run_seconds(encoder, smaller, (360, 640), 24) < expected * 2


@pytest.mark.parametrize("long_term", [(0, 5), (0, 7, 900), ()])
def test_the_trial_measures_with_a_full_memory(long_term: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    reference_counts = []
    references = MemoryBank.references

    def counted(bank: MemoryBank, t: int) -> Mapping[int, MemoryFrame]:
        frames = references(bank, t)
        reference_counts.append(len(frames))
        return frames

    monkeypatch.setattr(MemoryBank, "references", counted)
    estimate_run_seconds(PatchEncoder(), Settings(radius=2, flow="none", long_term=long_term), (48, 64), 9)
    assert reference_counts[-2:] == [len(long_term) + 3] * 2


def test_the_trial_takes_its_flow_to_the_device_of_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    monkeypatch.setattr("webapp.runtime_estimate.load_flow", lambda settings: devices.append(settings.device))
    estimate_run_seconds(PatchEncoder(), Settings(radius=2, long_term=()), (48, 64), 9)
    assert devices == ["cpu"]


def test_a_finished_run_corrects_the_estimates_of_its_kind_at_every_size() -> None:
    encoder, settings, size = PatchEncoder(), Settings(short_side=90, radius=4, flow="none"), (360, 640)
    full = replace(settings, short_side=0)
    before = estimate_run_seconds(encoder, full, size, 100)
    other = estimate_run_seconds(encoder, settings, size, 100, objects=2)
    trial = estimate_run_seconds(encoder, settings, size, 100)
    for factor in (3, 0.5):
        learn_speed(encoder, settings, size, 1, frames_per_second=100 / (factor * trial))
        assert estimate_run_seconds(encoder, settings, size, 100) == pytest.approx(factor * trial)
        assert estimate_run_seconds(encoder, full, size, 100) == pytest.approx(factor * before)
        drawn = estimate_run_seconds(encoder, settings, size, 100, reused=100)
        assert 0 < drawn < trial and drawn == estimate_run_seconds(encoder, full, size, 100, reused=100)
        assert estimate_run_seconds(encoder, settings, size, 100, objects=2) == other
