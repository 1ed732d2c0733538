"""Visitors cannot read files of the server or of each other."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from tests.conftest import ROOT, serve_process

EXAMPLES = ROOT / "examples"


def status_of(url: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
    """Status code and body of the response to a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        str(ROOT / "webapp" / "run_handler.py"),
        "webapp/run_handler.py",
        ".git/config",
        str(EXAMPLES / "cup.mp4") + "/../../webapp/run_handler.py",
        "file:///etc/passwd",
    ],
)
def test_files_of_the_server_are_not_served(page_url: str, path: str) -> None:
    for route in ("gradio_api/file=", "file=", "gradio_api/file/", "static/"):
        code, body = status_of(page_url + route + urllib.parse.quote(path, safe="%/:"))
        assert code >= 400 and "root:" not in body and "import" not in body, (route, code)


@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "examples" / "cup.mp4"), "http://127.0.0.1:1/x.mp4"])
def test_the_endpoint_opens_no_local_file_or_address(page_url: str, path: str) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    code, body = status_of(page_url + "gradio_api/call/segment", {"data": [file, file, 0, 48, "none", 36, 2]})
    if code == 200:
        code, body = status_of(page_url + "gradio_api/call/segment/" + json.loads(body)["event_id"])
        assert "event: error" in body
    assert "root:" not in body and "overlay" not in body and str(Path.home()) not in body


@pytest.mark.parametrize(
    "name", ["../../evil.mp4", "a;b|c.mp4", "x" * 300 + ".mp4", "Übung №1 ✓.mp4", "-rf.mp4", "..mp4"]
)
def test_upload_names_do_not_become_paths(page_url: str, name: str, tmp_path: Path) -> None:
    boundary = "8c1f"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + (EXAMPLES / "street.mp4").read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(
        page_url + "gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            (stored,) = json.loads(response.read())
    except urllib.error.HTTPError as error:
        assert 400 <= error.code < 500
        return
    assert ".." not in Path(stored).parts and "evil" not in str(Path(stored).parent)
    assert Path(stored).exists()


def test_private_handlers_open_no_local_file(page_url: str) -> None:
    code, body = status_of(page_url + "gradio_api/info")
    assert code == 200 and list(json.loads(body)["named_endpoints"]) == ["/segment"]
    file = {"path": str(EXAMPLES / "cup.mp4"), "meta": {"_type": "gradio.FileData"}}
    for name, data in (("open_clip", [None, file]), ("load_project_file", [None, None, file])):
        code, body = status_of(page_url + f"gradio_api/call/{name}", {"data": data})
        if code == 200:
            _, body = status_of(page_url + f"gradio_api/call/{name}/" + json.loads(body)["event_id"])
            assert "event: error" in body and "frames" not in body


def test_a_stopped_server_leaves_no_file_of_a_visitor(tmp_path: Path) -> None:
    with serve_process(tmp_path, {}) as (url, pid):
        client = Client(url, verbose=False)
        client.submit(handle_file(EXAMPLES / "street.mp4"), handle_file(EXAMPLES / "street.png"), api_name="/segment")
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("mamp-server-*/mamp-session-*/run-*/masks/00001.png")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(pid, signal.SIGTERM)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    remaining = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert [path.name for path in remaining] == ["log.txt"]
