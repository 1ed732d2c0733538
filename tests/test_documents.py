"""The documents: links, file names, Python code and command lines are valid."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mamp import Settings
from mamp.cli import benchmark, distill, evaluate, explain, export, main, segment, train
from tests.conftest import ROOT

HISTORY = {"EXPERIMENTS.md", "ABLATIONS.md", "CHANGELOG.md"}  # commands of earlier versions
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "mamp/weights/*.md")
    for path in ROOT.glob(pattern)
    if path.name not in HISTORY
)
LINKED = [*DOCUMENTS, ROOT / "CHANGELOG.md"]
# A complete command line for each subcommand, to try single options with.
COMPLETE = {
    "segment": "clip --mask mask --out out",
    "export": "out clip --kind webm",
    "explain": "clip --result out --frame 1 --at 1,1",
    "train": "clips",
    "distill": "clips",
    "evaluate": "dataset",
    "benchmark": "",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", document.read_text(), re.S)


def command_lines(document: Path) -> Iterator[list[str]]:
    """Yields the arguments of each ``python -m mamp`` in shell blocks and in inline code."""
    text = document.read_text()
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.S)
        for line in block.replace("\\\n", " ").split("\n")
    ]
    for line in lines + inline_code(text):
        words = shlex.split(line, comments=True)
        if words[:1] in (["python"], ["torchrun"]) and "mamp" in words:
            yield words[words.index("mamp") + 1 :]


def inline_code(text: str) -> list[str]:
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def accepts(arguments: list[str]) -> bool:
    """Whether the parser accepts a command line; nothing is run."""
    try:
        return main.main(arguments) == 0
    except SystemExit as error:
        return error.code == 0


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (segment, export, explain, train, distill, evaluate, benchmark):
        monkeypatch.setattr(module, "run", lambda args: 0)


@pytest.mark.parametrize("document", LINKED, ids=name_of)
def test_links_and_file_names_exist(document: Path) -> None:
    named = re.findall(
        r"\]\(((?!http)[^)#]+)\)|`((?:mamp|webapp|tools|tests|scripts|examples|docs)/[\w./]+[\w/])`",
        document.read_text(),
    )
    for link, quoted in named:
        assert (document.parent / link if link else ROOT / quoted).exists(), link or quoted


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if python_blocks(path)], ids=name_of)
def test_python_code_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Settings, "processing_size", lambda self, size: (64, 112))  # for speed
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    scope: dict[str, object] = {}
    for block in python_blocks(document):
        if "gradio_client" not in block:  # needs a running page
            exec(compile(block, name_of(document), "exec"), scope)
    assert (tmp_path / "out/overlay.mp4").exists()
    assert len(scope.get("masks", "abc")) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if "gradio_client" in path.read_text()], ids=name_of)
def test_http_requests_name_parameters_of_the_api(document: Path) -> None:
    from webapp.api import segment as endpoint

    (code,) = (block for block in python_blocks(document) if "gradio_client" in block)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    (predict,) = (call for call in calls if ast.unparse(call.func) == "client.predict")
    keywords = {keyword.arg for keyword in predict.keywords} - {"api_name"}
    assert keywords <= set(inspect.signature(endpoint).parameters)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("document", [path for path in DOCUMENTS if [*command_lines(path)]], ids=name_of)
def test_command_lines_are_accepted(document: Path) -> None:
    for arguments in command_lines(document):
        names_the_command_only = len(arguments) < 2
        assert accepts([*arguments, "--help"] if names_the_command_only else arguments), shlex.join(arguments)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("document", [path for path in DOCUMENTS if "`--" in path.read_text()], ids=name_of)
def test_options_in_the_text_exist(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in inline_code(document.read_text()):
        options = shlex.split(code) if code.startswith("--") else []
        if len(options) == 1:
            for command in COMPLETE:
                accepts([command, "--help"])
            assert re.search(rf"{options[0]}\b", capsys.readouterr().out), code
        elif options:
            assert any(accepts([command, *shlex.split(words), *options]) for command, words in COMPLETE.items()), code
