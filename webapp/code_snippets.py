"""A run as code: what somebody types to do the same without the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields

from mamp.settings import Settings


def _mask_file(index: int) -> str:
    return f"project/input_masks/{index:06d}.png"


def _changed(settings: Settings) -> dict[str, object]:
    """The settings that are not the usual ones."""
    usual = Settings()
    values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def as_python(clip: str, given: Iterable[int], settings: Settings, names: Mapping[int, str]) -> str:
    """A Python script; like all of these it expects the clip and the unpacked project file beside it.

    Args:
        clip: Name of the clip.
        given: Numbers of the frames whose masks were given.
        settings: Of the run.
        names: Of the objects.
    """
    chosen = ", ".join(f"{name}={value!r}" for name, value in _changed(settings).items())
    masks = ", ".join(f'{index}: "{_mask_file(index)}"' for index in given)
    called = f", names={dict(names)!r}" if names else ""
    return (
        "# unzip project.zip -d project\n"
        "from mamp import Settings, segment_video\n\n"
        f"masks = {{{masks}}}\n"
        f'for update in segment_video({clip!r}, masks, "out", Settings({chosen}){called}):\n'
        '    print(update.done, "of", update.frames_total)\n'
        "print(update.result.overlay)\n"
    )


def as_command(clip: str, given: Iterable[int], settings: Settings, names: Mapping[int, str]) -> str:
    """A command line; arguments as ``as_python``."""
    words = ["python", "-m", "mamp", "segment", clip]
    for index in given:
        words += ["--mask", f"{index}={_mask_file(index)}"]
    words += ["--out", "out"]
    for name, value in _changed(settings).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else "all" if value is None else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    for label, name in names.items():
        words += ["--name", f"{label}={name}"]
    return f"unzip project.zip -d project\n{shlex.join(words)}\n"


def as_client(clip: str, server: str) -> str:
    """A script that asks the page's server; the project file holds masks, settings and names.

    Args:
        clip: Name of the clip.
        server: Address of the page, or ``user/name`` of a Space.
    """
    return (
        "from gradio_client import Client, handle_file\n\n"
        f"client = Client({server!r})\n"
        f'files = client.predict(handle_file({clip!r}), handle_file("project.zip"), api_name="/segment")\n'
        "print(files)\n"
    )
