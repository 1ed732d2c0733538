"""Downloads carry the name of the clip, and files on the server do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.conftest import scene, write_clip
from webapp.downloads import ClipNames
from webapp.session import Session, close_session, new_session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    clip = write_clip(tmp_path / "my cüp.v2.mp4", [scene(0)[0]])
    return new_session(str(clip))


def client() -> TestClient:
    """A server that sends files as Gradio does."""

    async def file(request: Request) -> FileResponse:
        path = Path(request.path_params["path"])
        return FileResponse(path, filename=path.name)

    return TestClient(ClipNames(Starlette(routes=[Route("/gradio_api/file={path:path}", file)])))


def test_results_are_saved_under_the_name_of_the_clip(session: Session) -> None:
    folder = Path(session["folder"])
    (folder / "run-1").mkdir()
    for name in ("run-1/overlay.mp4", "run-1/masks.zip", "run-1/cutout.webm", "project.zip"):
        (folder / name).write_bytes(b"12345")
    server = client()

    def disposition(path: Path, **headers: str) -> str:
        response = server.get(f"/gradio_api/file={path}", headers=headers)
        assert response.content in (b"12345", b"23")
        return response.headers["content-disposition"]

    named = "attachment; filename*=utf-8''my%20c%C3%BCp.v2_"
    assert disposition(folder / "run-1" / "masks.zip") == f"{named}masks.zip"
    assert disposition(folder / "run-1" / "cutout.webm") == f"{named}cutout.webm"
    assert disposition(folder / "run-1" / "overlay.mp4", range="bytes=1-2") == f"{named}overlay.mp4"
    assert disposition(folder / "project.zip") == f"{named}project.zip"
    kept = shutil.copytree(folder, folder.with_name("kept"))
    close_session(session)
    assert disposition(kept / "run-1" / "masks.zip") == 'attachment; filename="masks.zip"'
    shutil.rmtree(kept)
