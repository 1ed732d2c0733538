"""Project files are restored exactly, for their own clip only; code snippets reproduce their run."""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mamp import MaskError, Result, Settings, segment_video
from mamp.cli.main import main
from tests.conftest import overlap, scene, write_clip
from webapp.code_snippets import as_client, as_command, as_python
from webapp.project import Project, read_project_file

SETTINGS = Settings(short_side=64, flow="none", top_k=None, radius=3, long_term=(), short_term=(1, 2), weights="patch")
NAMES = {1: "dog's ball", 3: "it"}


def new_project(folder: Path, clip: Path) -> Project:
    folder.mkdir()
    return Project(folder, clip)


@pytest.fixture
def project(clip: Path, tmp_path: Path) -> Project:
    project = new_project(tmp_path / "session", clip)
    project.set_mask(0, scene(0)[1])
    project.set_mask(7, scene(7)[1] * np.uint8(3))
    project.rename({**NAMES, 2: "  "})
    return project


def test_a_project_file_restores_everything(project: Project, clip: Path, tmp_path: Path) -> None:
    file = read_project_file(project.save(SETTINGS))
    assert (file.clip, file.settings, file.names) == ("clip.mp4", SETTINGS, NAMES)
    other = new_project(tmp_path / "other", clip)
    other.set_mask(3, scene(3)[1])
    other.rename({5: "gone"})
    other.load(file)
    assert list(other.input_masks) == [0, 7] and other.names == NAMES
    mask = other.mask(7)
    assert mask is not None and np.array_equal(mask, scene(7)[1] * 3)


def test_a_project_file_is_refused_for_another_clip(project: Project, tmp_path: Path) -> None:
    file = read_project_file(project.save(SETTINGS))
    other = new_project(tmp_path / "other", write_clip(tmp_path / "b.mp4", [scene(t)[0] for t in range(3)]))
    with pytest.raises(MaskError, match=r"for another clip, clip\.mp4"):
        other.load(file)


def rewrite(path: Path, **changes: object) -> Path:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(files.pop("project.json")) | changes
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.json", json.dumps(document))
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "changes",
    [{"input_masks": [5]}, {"settings": {}}, {"settings": {"radius": "x"}}, {"names": [1]}, {"input_masks": ["../x"]}],
)
def test_an_invalid_project_file_is_refused_with_a_message(project: Project, changes: dict[str, object]) -> None:
    with pytest.raises(MaskError, match=r"project\.zip is no project file"):
        read_project_file(rewrite(project.save(SETTINGS), **changes))


def test_a_project_file_of_version_0_1_is_read(project: Project, tmp_path: Path) -> None:
    with zipfile.ZipFile(project.save(SETTINGS)) as archive:
        document = json.loads(archive.read("project.json"))
        pngs = {number: archive.read(f"input_masks/{number:06d}.png") for number in document["input_masks"]}
    settings = document["settings"]
    for old, new in (
        ("edges", "upsampling"),
        ("discriminant", "discriminant_weight"),
        ("adjustment", "logit_adjustment"),
    ):
        settings[old] = settings.pop(new)
    settings["edges"] = "image"
    document["masks_given"] = document.pop("input_masks")
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.json", json.dumps(document))
        for number, png in pngs.items():
            archive.writestr(f"given/{number:06d}.png", png)
    file = read_project_file(path)
    assert file.settings == SETTINGS and file.masks == pngs


def test_a_file_without_object_adaptive_settings_keeps_them_off(project: Project) -> None:
    with zipfile.ZipFile(project.save(SETTINGS)) as archive:
        settings = json.loads(archive.read("project.json"))["settings"]
    for name in ("discriminant_weight", "logit_adjustment"):
        del settings[name]
    settings_read = read_project_file(rewrite(project.save(SETTINGS), settings=settings)).settings
    assert settings_read == replace(SETTINGS, discriminant_weight=0, logit_adjustment=0)


def test_damaged_and_oversized_files_are_refused(project: Project, tmp_path: Path) -> None:
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    with pytest.raises(MaskError, match="no project file"):
        read_project_file(text)
    with zipfile.ZipFile(text, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.json", b"0" * (1 << 27))
    with pytest.raises(MaskError, match="too large"):
        read_project_file(text)


def test_a_mask_beyond_the_clip_leaves_the_project_unchanged(project: Project, tmp_path: Path) -> None:
    short = write_clip(tmp_path / "short.mp4", [scene(t)[0] for t in range(3)])
    other = new_project(tmp_path / "other", short)
    other.set_mask(1, scene(1)[1])
    file = read_project_file(rewrite(project.save(SETTINGS), clip_sha256=fingerprint(short)))
    with pytest.raises(MaskError, match="frame 7 does not fit"):
        other.load(file)
    assert list(other.input_masks) == [1]


def fingerprint(clip: Path) -> str:
    from mamp.runs.incremental import clip_sha256

    return clip_sha256(clip)


def test_the_python_and_command_line_snippets_reproduce_the_same_run(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(project.save(SETTINGS)) as archive:
        archive.extractall(tmp_path / "project")
    exec(as_python("clip.mp4", project.input_masks, SETTINGS, NAMES), {})
    first = Result(tmp_path / "out").receipt
    command = as_command("clip.mp4", project.input_masks, SETTINGS, NAMES).splitlines()[1]
    arguments = subprocess.run(
        ["bash", "-c", f"python() {{ printf '%s\\n' \"$@\"; }}; {command}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert arguments[:2] == ["-m", "mamp"] and main(arguments[2:]) == 0
    second = Result(tmp_path / "out").receipt
    assert first.pop("seconds") and second.pop("seconds")
    assert first == second and first["settings"]["radius"] == 3 and first["names"] == {"1": "dog's ball", "3": "it"}


def test_the_client_snippet_contains_server_and_files() -> None:
    code = as_client("it's.mp4", "http://127.0.0.1:7860/")
    compile(code, "client", "exec")
    assert "it's.mp4" in code and "/segment" in code


def test_a_run_reports_how_a_mask_file_was_read(project: Project, tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(scene(0)[1] * np.uint8(255), (0, 0), 1.5)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    for index, file in project.read_mask_files([tmp_path / "soft.png"], 0).items():
        project.set_mask(index, file)
    run = segment_video(project.clip, project.mask_sources, tmp_path / "out", SETTINGS)
    receipt = [update.result for update in run][-1].receipt  # type: ignore[union-attr]
    assert receipt["input_masks_read"]["0"]["rule"] == "black and white"
    assert receipt["input_masks_read"]["0"]["notes"] == ["soft edges cut at half"]
    assert receipt["input_masks_read"]["7"]["rule"] == "painted"
    result = Result(tmp_path / "out")
    files = project.read_mask_files([result.masks_json], 5)
    assert list(files) == [0, 7] and files[0].rule == "COCO run lengths", "the first frames of the objects"
    assert overlap(files[0].mask == 1, scene(0)[1]) > 0.95
    project.set_mask(0, scene(0)[1])
    assert project.mask_sources[0].rule == "painted"  # type: ignore[union-attr]


def test_json_that_takes_much_memory_is_refused_before_it_is_read(project: Project, tmp_path: Path) -> None:
    (tmp_path / "masks.json").write_text("[" + "[]," * 6_000_000 + "[]]")
    with pytest.raises(MaskError, match="larger than 16 MB"):
        project.read_mask_files([tmp_path / "masks.json"], 0)
