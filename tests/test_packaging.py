"""What a Space reads of this repository, and what its documents promise."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
FRONT = dict(re.findall(r"^(\w+): (.+)$", README.split("---")[1], re.M))


def test_short_description_fits_the_limit_of_spaces() -> None:
    assert 10 < len(FRONT["short_description"]) <= 60


def test_space_installs_the_gradio_that_was_tested() -> None:
    version = FRONT["sdk_version"]
    assert f"gradio=={version}" in (ROOT / "requirements.txt").read_text().split()
    assert f"gradio=={version}" in (ROOT / "constraints.txt").read_text().split()


def test_every_requirement_is_pinned() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    for name in ("requirements.txt", "requirements-dev.txt"):
        needs = [
            re.split(r"[<>=[]", line)[0] for line in (ROOT / name).read_text().split("\n") if line and line[0] != "-"
        ]
        assert set(needs) <= pinned


def test_no_file_is_larger_than_a_space_takes() -> None:
    files = [path for folder in ("mamp", "examples", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    large = [path.name for path in files if path.stat().st_size > 10_000_000 and path.parent.name != "weights"]
    assert not large


@pytest.mark.parametrize("document", ["README.md", "examples/README.md", "mamp/weights/README.md"])
def test_documents_name_no_missing_file(document: str) -> None:
    path = ROOT / document
    named = re.findall(r"\]\(((?!http)[^)#]+)\)|`((?:mamp|scripts|examples|docs)/[\w./]+\w)`", path.read_text())
    for link, quoted in named:
        assert (path.parent / link if link else ROOT / quoted).exists(), link or quoted


def test_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mamp.runs import segment_video as job

    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    small = job.Settings(short_side=64)
    monkeypatch.setattr(job, "Settings", lambda: small)
    scope: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    for block in (block for block in blocks if "gradio_client" not in block):  # that one needs the page
        exec(compile(block, "README.md", "exec"), scope)
    assert len(scope["masks"]) == 3  # type: ignore[arg-type]
    assert (tmp_path / "out/overlay.mp4").exists()
