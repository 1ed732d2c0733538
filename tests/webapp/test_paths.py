"""No path of the server in anything that a visitor receives."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mamp import load_encoder
from mamp.model.checkpoint import resolve_weights
from tests.conftest import ROOT, scene
from webapp import clips, jobs, results_view, run_handler, settings_controls
from webapp import session as sessions

CONTROLS = settings_controls.control_values(settings_controls.START) | {"short_side": 64, "flow": "none"}


def texts(value: Any) -> Iterator[str]:
    """All texts in updates, but those that are the path of a served file as a whole."""
    if isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str) and not Path(value[:255]).is_file():
        yield value


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and the files in it if it is a zip."""
    yield name, data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for inside in archive.namelist():
                yield f"{name}/{inside}", archive.read(inside)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_that_a_visitor_receives_has_a_path_of_the_server(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    own = tmp_path / "own" / "mine.safetensors"
    own.parent.mkdir()
    shutil.copyfile(resolve_weights("table1"), own)
    monkeypatch.setattr(settings_controls, "WEIGHTS", str(own))
    monkeypatch.setitem(run_handler.encoders, str(own), load_encoder(own))
    shown: list[Any] = [clips.open_clip({}, str(clip))]
    session = shown[0]["session"]
    project = sessions.project_of(session)
    project.set_mask(0, scene(0)[1])
    jobs.claim_job(session, "run")
    for number, update in enumerate(run_handler.run(session, None, 0.5, [], *CONTROLS.values())):
        shown.append(update)
        if fails and number == 1:
            shutil.rmtree(next(project.folder.glob("run-*/masks")))
    if fails:
        assert any("failed on the server" in text for text in texts(shown))
    else:
        for export_format in results_view.EXPORT_FORMATS:
            jobs.claim_job(session, "export")
            shown += results_view.prepare_export(session, export_format)
        assert any("mine.safetensors" in text for text in texts(shown[-1:] + shown))
    del shown[0]["session"]
    secrets = [str(path) for path in (tmp_path, ROOT, Path.home())]
    for text in texts(shown):
        assert not any(secret in text for secret in secrets), text
    files = [path for pattern in ("*.zip", "*.json", "run-*/*") for path in project.folder.glob(pattern)]
    for path in files:
        for name, data in contents(path.name, path.read_bytes()) if path.is_file() else ():
            assert not any(secret.encode() in data for secret in secrets), name
