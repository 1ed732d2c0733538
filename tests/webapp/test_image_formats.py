"""The server opens common images only. The restriction is for a whole process, so the test has one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.conftest import ROOT

# Builds the page as the server does, then opens files as Gradio does: with numpy arrays from an uploaded file.
OPEN = """
import sys
import gradio as gr
from gradio.data_classes import ImageData
import app
app.build()
with gr.Blocks():
    image = gr.Image(type="numpy")
for path in sys.argv[1:]:
    try:
        print(image.preprocess(ImageData(path=path)).shape)
    except Exception as error:
        print(type(error).__name__)
"""


def opened(folder: Path, *paths: Path) -> list[str]:
    """What the server makes of files, while every Ghostscript it may start leaves a file in the folder."""
    for name in ("gs", "gswin32c", "gswin64c"):
        program = folder / name
        program.write_text(f"#!/bin/sh\ntouch {folder}/started\nexit 1\n")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "GRADIO_TEMP_DIR": str(folder)}
    command = [sys.executable, "-c", OPEN, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_only_common_images_are_opened_and_no_program_is_started(tmp_path: Path) -> None:
    (tmp_path / "eps.png").write_text(EPS)
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    expected = {"eps.png": "UnidentifiedImageError", "large.png": "DecompressionBombWarning"}
    for kind in ("ppm", "tga", "pcx", "im", "icns", "dds", "sgi", "tiff"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"image.{kind}")
        (tmp_path / f"image.{kind}").rename(tmp_path / f"{kind}.png")
        expected[f"{kind}.png"] = "UnidentifiedImageError"
    for kind in ("png", "jpeg", "webp", "gif"):
        Image.new("RGB", (4, 3)).save(tmp_path / f"right.{kind}")
        expected[f"right.{kind}"] = "(3, 4, 3)"
    assert dict(zip(expected, opened(tmp_path, *(tmp_path / name for name in expected)), strict=True)) == expected
    assert not (tmp_path / "started").exists()
