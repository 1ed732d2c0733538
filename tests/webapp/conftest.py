"""Sessions of the page, for tests of its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

import app
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


@pytest.fixture(scope="module")
def loops() -> Iterator[None]:
    """Closes the event loops that Gradio makes and leaves open."""
    opened: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def recorded() -> asyncio.AbstractEventLoop:
        opened.append(new_event_loop())
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", recorded)
        yield
    asyncio.set_event_loop(None)
    for loop in opened:
        loop.close()


@pytest.fixture(scope="module")
def built_page(loops: None) -> gr.Blocks:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "restrict_image_formats", lambda: None)  # for the whole process
        return app.build()
