"""Sessions of the page, for tests of its handlers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

import app
from mamp import Settings, segment_video
from tests.conftest import browser, scene, write_clip
from webapp import session as sessions


@pytest.fixture(scope="session")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ``clip``, with an object that is called "<i>disk</i>"."""
    folder = tmp_path_factory.mktemp("stored")
    clip = write_clip(folder / "clip.mp4", [scene(t)[0] for t in range(12)], sound="aac")
    settings, names = Settings(weights="patch", radius=4, long_term=(0,)), {1: "<i>disk</i>"}
    list(segment_video(clip, {0: scene(0)[1]}, folder / "run", settings, names=names))
    return folder / "run"


@pytest.fixture
def finished(clip: Path, stored_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A session with a result of 12 frames and an object that is called "<i>disk</i>"."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    session = sessions.new_session(str(clip))
    take_result(session, stored_run)
    yield session
    sessions.close_session(session, keep=str(clip))


def take_result(session: dict[str, Any], run: Path) -> None:
    """Gives a session the result of a run."""
    project = sessions.project_of(session)
    out = project.new_results_folder()
    shutil.copytree(run, out, dirs_exist_ok=True)
    project.set_latest_results(out)


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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser of the tests of one file, with a camera.

    It ends with the file: while it is open, Playwright has an event loop, and nothing else in the thread can run one.
    """
    with browser("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as started:
        yield started


@pytest.fixture(scope="module")
def desktop(chromium: Browser) -> BrowserContext:
    """Pages on a desktop. They share a cache, and open in a third of the time of a page in a new browser."""
    return chromium.new_context(viewport={"width": 1280, "height": 1500})


@pytest.fixture
def page(desktop: BrowserContext, page_url: str) -> Iterator[Page]:
    """The page on a desktop."""
    tab = desktop.new_page()
    tab.goto(page_url)
    yield tab
    for each in desktop.pages:
        each.unroute_all(behavior="ignoreErrors")  # a delayed request may be on its way
        each.close()
