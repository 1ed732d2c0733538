"""Sessions of the page, for tests of its handlers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mamp import Settings, segment_video
from tests.conftest import scene
from webapp import session as sessions


@pytest.fixture
def finished(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A session with a result of 12 frames and an object that is called "<i>disk</i>"."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    session = sessions.new_session(str(clip))
    project = sessions.project_of(session)
    out = project.new_results_folder()
    names = {1: "<i>disk</i>"}
    list(segment_video(clip, {0: scene(0)[1]}, out, Settings(weights="patch", radius=4, long_term=(0,)), names=names))
    project.set_latest_results(out)
    yield session
    sessions.close_session(session, keep=str(clip))
