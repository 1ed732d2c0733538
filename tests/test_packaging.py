"""What a Space needs from this repository: its front matter, its requirements and small files."""

import os
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

README = (ROOT / "README.md").read_text()
FRONT = dict(re.findall(r"^(\w+): (.+)$", README.split("---")[1], re.M))


def test_short_description_fits_the_limit_of_spaces() -> None:
    assert 10 < len(FRONT["short_description"]) <= 60


def test_space_installs_the_gradio_that_was_tested() -> None:
    version = FRONT["sdk_version"]
    assert f"gradio=={version}" in (ROOT / "requirements.txt").read_text().split()
    assert f"gradio=={version}" in (ROOT / "constraints.txt").read_text().split()


def test_a_space_installs_the_library_and_the_app_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    space = {line for line in (ROOT / "requirements.txt").read_text().split("\n") if line}
    limited = {line.partition(",<=2.11")[0] for line in space}
    assert limited == {*project["dependencies"], *project["optional-dependencies"]["app"]}
    assert not any("gradio" in requirement for requirement in project["dependencies"])


def test_a_space_gets_versions_of_python_and_torch_that_zerogpu_has() -> None:
    assert FRONT["python_version"].strip('"') in ("3.10.13", "3.12.12")
    (torch,) = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().split() if line[:5] == "torch"]
    offered = ("2.7.1", "2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.0", "2.13.0")
    assert list(torch.specifier.filter(offered)) == ["2.8.0", "2.9.1", "2.10.0", "2.11.0"]


def test_every_requirement_is_pinned() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    for file in ("requirements.txt", "requirements-dev.txt"):
        names = [
            re.split(r"[<>=[]", line)[0] for line in (ROOT / file).read_text().split("\n") if line and line[0] != "-"
        ]
        assert set(names) <= pinned


def test_no_file_is_larger_than_a_space_takes() -> None:
    files = [path for folder in ("mamp", "examples", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    large = [path.name for path in files if path.stat().st_size > 10_000_000 and path.parent.name != "weights"]
    assert not large


def test_readme_animation_loads_quickly() -> None:
    assert (ROOT / "docs/images/demo.webp").stat().st_size < 1_000_000


def test_readme_has_at_most_120_lines() -> None:
    assert README.count("\n") <= 120


@pytest.mark.parametrize(("own", "expected"), [(None, "20000"), ("7", "7")])
def test_threads_wait_actively_for_a_short_time_only(own: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    code = "import mamp, os, sys; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    given = environment if own is None else environment | {"GOMP_SPINCOUNT": own}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=given, cwd=ROOT, check=True)
    assert done.stdout.split() == [expected, "False"]
