"""Code that reproduces a run of the page: Python, command line and API client."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import PurePath

from mamp.settings import Settings
from webapp.project import PROJECT_FILE


def _project_file(clip: str) -> str:
    """The name under which a browser saves the project file; see ``webapp.downloads``."""
    return f"{PurePath(clip).stem}_{PROJECT_FILE}"


def _mask_file(index: int) -> str:
    return f"project/input_masks/{index:06d}.png"


def _changed(settings: Settings) -> dict[str, object]:
    """The settings that differ from the defaults."""
    defaults = Settings()
    values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    return {name: value for name, value in values.items() if value != getattr(defaults, name)}


def as_python(clip: str, masked_frames: Iterable[int], settings: Settings, names: Mapping[int, str]) -> str:
    """A Python script, to be run in a folder with the clip and the project file.

    Args:
        clip: Name of the clip.
        masked_frames: Numbers of the frames with an input mask.
        settings: Settings of the run.
        names: Object names by label.
    """
    arguments = ", ".join(f"{name}={value!r}" for name, value in _changed(settings).items())
    masks = ", ".join(f'{index}: "{_mask_file(index)}"' for index in masked_frames)
    names_argument = f", names={dict(names)!r}" if names else ""
    return (
        f"# unzip {shlex.quote(_project_file(clip))} -d project\n"
        "from mamp import Settings, segment_video\n\n"
        f"masks = {{{masks}}}\n"
        f'for update in segment_video({clip!r}, masks, "out", Settings({arguments}){names_argument}):\n'
        '    print(update.done, "of", update.frames_total)\n'
        "print(update.result.overlay)\n"
    )


def as_command(clip: str, masked_frames: Iterable[int], settings: Settings, names: Mapping[int, str]) -> str:
    """A command line; takes the arguments of ``as_python``."""
    command = ["python", "-m", "mamp", "segment", clip]
    for index in masked_frames:
        command += ["--mask", f"{index}={_mask_file(index)}"]
    command += ["--out", "out"]
    for name, value in _changed(settings).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else "all" if value is None else str(value)
        command += [f"--{name.replace('_', '-')}", text]
    for label, name in names.items():
        command += ["--name", f"{label}={name}"]
    return f"unzip {shlex.quote(_project_file(clip))} -d project\n{shlex.join(command)}\n"


def as_client(clip: str, server: str) -> str:
    """A client script for the API of the page; the project file holds masks, settings and names.

    Args:
        clip: Name of the clip.
        server: Address of the page, or ``user/name`` of a Space.
    """
    return (
        "from gradio_client import Client, handle_file\n\n"
        f"client = Client({server!r})\n"
        f'files = client.predict(handle_file({clip!r}), handle_file({_project_file(clip)!r}), api_name="/segment")\n'
        "print(files)\n"
    )
