"""The endpoint over plain HTTP, with the Python client and as an agent's tool; wrong values are refused in one sentence."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from mamp import VideoReader, write_mask
from tests.conftest import ROOT, scene
from tests.webapp.test_isolation import status_of

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def client(page_url: str) -> Client:
    return Client(page_url, verbose=False)


def post(client: Client, **parameters: Any) -> str:
    """The events of a run that was started with named parameters."""
    for name, suffix in (("video", "mp4"), ("mask", "png")):
        parameters.setdefault(name, upload(client, EXAMPLES / f"street.{suffix}"))
    url = f"{client.src}gradio_api/call/v2/segment"
    code, body = status_of(url, parameters)
    assert code == 200, body
    return status_of(f"{url}/{json.loads(body)['event_id']}")[1]


def upload(client: Client, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        response = httpx.post(f"{client.src}gradio_api/upload", files={"files": (path.name, file)})
    return {"path": response.json()[0], "meta": {"_type": "gradio.FileData"}}


def test_two_files_are_enough(client: Client, clip: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", scene(0)[1])
    events = post(client, video=upload(client, clip), mask=upload(client, tmp_path / "mask.png"))
    assert "event: complete" in events and "overlay.mp4" in events


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"short_side": "abc"}, "short_side must be a whole number from 16 to 4320"),
        ({"short_side": -5}, "short_side must be a whole number"),
        ({"short_side": 1e300}, "short_side must be a whole number"),
        ({"flow": ["dis"]}, "flow must be one of dis, raft, none"),
        ({"top_k": "NaN"}, "top_k must be a whole number"),
        ({"radius": {"a": 1}}, "radius must be a whole number"),
        ({"frame": "first"}, "The number of the frame must be a whole number, not first"),
        ({"frame": 99}, "frames 0 to 37"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(client: Client, parameters: dict[str, Any], sentence: str) -> None:
    events = post(client, **parameters)
    assert "event: error" in events and sentence in events, events


def test_the_parameters_are_described_as_in_the_docstring(client: Client) -> None:
    described: Any = client.view_api(return_format="dict")
    parameters = described["named_endpoints"]["/segment"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters if not parameter["parameter_has_default"]] == [
        "video",
        "mask",
    ]
    for parameter in parameters:
        assert len(parameter["python_type"]["description"]) > 20 and "pdf" not in str(parameter["example_input"])
    types = {parameter["parameter_name"]: parameter["python_type"]["type"] for parameter in parameters}
    assert types["short_side"] == "int" and types["flow"] == "Literal['dis', 'raft', 'none']"


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_shell_commands_of_the_document_run_the_endpoint(page_url: str) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/API.md").read_text(), re.S)
    (code,) = (block for block in blocks if "curl" in block)
    code = code.replace("http://127.0.0.1:7860/", page_url)
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert "event: complete" in done.stdout and "overlay.mp4" in done.stdout, done


def test_the_python_client_runs_the_endpoint(page_url: str) -> None:
    client = Client(page_url, verbose=False)
    try:
        described = client.view_api(return_format="dict")
        assert isinstance(described, dict) and list(described["named_endpoints"]) == ["/segment"]
        files = client.predict(
            handle_file(EXAMPLES / "street.mp4"),
            handle_file(EXAMPLES / "street.png"),
            short_side=96,
            flow="none",
            api_name="/segment",
        )
        assert VideoReader(files[0]).count() == 38
        with pytest.raises(AppError, match="frames 0 to 37"):
            client.predict(
                handle_file(EXAMPLES / "street.mp4"), handle_file(EXAMPLES / "street.png"), 99, api_name="/segment"
            )
    finally:
        client.close()


def test_the_client_of_the_api_page_works(page_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/API.md").read_text(), re.S)
    (code,) = (block for block in blocks if "gradio_client" in block)
    scope: dict[str, Any] = {}
    exec(code.replace("http://127.0.0.1:7860/", page_url).replace("short_side=240", "short_side=64"), scope)
    scope["client"].close()
    assert VideoReader(scope["files"][0]).count() == 38


def test_agents_run_the_endpoint_through_mcp(page_url: str) -> None:
    async def call() -> list[str]:
        async with (
            streamable_http_client(f"{page_url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            (tool,) = (await session.list_tools()).tools
            assert tool.name.endswith("segment") and "mask of the objects on one frame" in (tool.description or "")
            parameters = {"video", "mask", "frame", "short_side", "flow", "top_k", "radius"}
            assert set(tool.inputSchema["properties"]) == parameters
            files = {
                "video": address(EXAMPLES / "street.mp4", "video/mp4"),
                "mask": address(EXAMPLES / "street.png", "image/png"),
            }
            answer = await session.call_tool(tool.name, {**files, "short_side": 96, "flow": "none"})
            assert not answer.isError, answer
            return [part.text for part in answer.content if isinstance(part, TextContent)]

    def address(path: Path, kind: str) -> str:  # the server does not fetch local addresses
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    texts = asyncio.run(call())
    assert any("overlay.mp4" in text for text in texts), texts
