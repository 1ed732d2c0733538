"""What a run is expected to take is near what it takes."""

import time
from pathlib import Path

from mamp import PatchEncoder, Settings, segment_video
from mamp.estimate import seconds_of_run
from mamp.made_up import made_up_clip, made_up_mask


def test_the_estimate_is_of_the_size_of_the_truth_and_grows_with_the_work(tmp_path: Path) -> None:
    encoder, settings = PatchEncoder(), Settings(short_side=0, radius=6)
    clip = made_up_clip(tmp_path / "clip.mp4", 180, 24)
    expected = seconds_of_run(encoder, settings, (180, 320), 24)
    began = time.monotonic()
    list(segment_video(clip, {0: made_up_mask((180, 320), 1)}, tmp_path / "out", settings, encoder=encoder))
    assert expected / 4 < time.monotonic() - began < expected * 4
    assert seconds_of_run(encoder, settings, (360, 640), 24) > 3 * expected
    smaller = Settings(short_side=90, radius=6)
    assert seconds_of_run(encoder, smaller, (360, 640), 24) < expected * 2
