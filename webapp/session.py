"""What a visitor has here: a clip, a folder of its own, and a state that names both."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from mamp import VideoReader
from webapp.project import Project, new_project_folder, remove_project_folders

MAX_FRAMES = int(os.environ.get("MAMP_MAX_FRAMES", "900"))
MAX_CLIP = 20 * MAX_FRAMES  # frames of a clip that a part may be taken of: counting them takes time
MAX_UPLOAD = os.environ.get("MAMP_MAX_UPLOAD", "200mb")
KEEP_SECONDS = int(os.environ.get("MAMP_KEEP_SECONDS", "3600"))

Session = dict[str, Any]  # what a visitor's state holds: paths and numbers, never frames


def new_session(path: str, folder: Path | None = None) -> Session:
    """A folder of its own for a clip.

    Raises:
        VideoError: The clip cannot be read, or is too long.
    """
    frames = reader_of(path).count(MAX_FRAMES)
    return {"folder": str(folder or new_folder()), "clip": path, "frames": frames, "at": 0}


def new_folder() -> Path:
    """An unguessable folder; those that nobody has used for long are removed."""
    return new_project_folder(_root(), keep_seconds=2 * KEEP_SECONDS)


def close_session(session: Session) -> None:
    """Removes what a visitor's runs have left."""
    if session:
        project_of(session).remove()


def close_all() -> None:
    """Removes what all visitors have left, at the server's end."""
    remove_project_folders(_root())


def _root() -> str:
    return os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()


def project_of(session: Session) -> Project:
    """The visitor's folder."""
    return Project(session["folder"], session["clip"])


@lru_cache(maxsize=32)
def reader_of(path: str) -> VideoReader:
    """One reader a clip: the first that needs its frames decodes them all to number them."""
    return VideoReader(path)
