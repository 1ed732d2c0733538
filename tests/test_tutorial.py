"""The notebook in the examples runs as a reader runs it, cell by cell in a kernel."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """The outputs of the notebook's code cells, run in a copy of the examples."""
    folder: Path = tmp_path_factory.mktemp("examples")
    shutil.copy(ROOT / "examples" / "cup.mp4", folder)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the file holds outputs of an old run"
    resources = {"metadata": {"path": str(folder)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    yield [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_shows_masks_progress_and_the_reason_for_a_label(outputs: list[Any]) -> None:
    pictures = [output.data for output in outputs if "data" in output]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert sum("image/png" in data or "image/webp" in data for data in pictures) == 3, [*pictures]
    assert "75 of 75 frames" in text and "object" in text.lower()
