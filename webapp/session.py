"""A visitor's session: a clip, a project folder and the state that refers to both."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from mamp import VideoReader
from webapp.project import Project, new_project_folder, remove_project_folders

MAX_FRAMES = int(os.environ.get("MAMP_MAX_FRAMES", "900"))
MAX_CLIP_FRAMES = 20 * MAX_FRAMES  # limit for a clip to trim: counting frames takes time
MAX_UPLOAD = os.environ.get("MAMP_MAX_UPLOAD", "200mb")
KEEP_SECONDS = int(os.environ.get("MAMP_KEEP_SECONDS", "3600"))

Session = dict[str, Any]  # paths and numbers, never frames


def new_session(path: str, folder: Path | None = None) -> Session:
    """Starts a session for a clip, in a new folder unless one is given.

    Raises:
        VideoError: The clip cannot be read or is too long.
    """
    frames = reader_of(path).count(MAX_FRAMES)
    return {"folder": str(folder or new_folder()), "clip": path, "frames": frames, "frame": 0}


def new_folder() -> Path:
    """Creates an unguessable folder, and removes folders that have not been used for a long time."""
    return new_project_folder(_root(), keep_seconds=2 * KEEP_SECONDS)


def close_session(session: Session) -> None:
    """Removes the files of a session."""
    if session:
        project_of(session).remove()


def close_all() -> None:
    """Removes the files of all sessions when the server stops."""
    remove_project_folders(_root())


def _root() -> str:
    return os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()


def project_of(session: Session) -> Project:
    """The project of a session."""
    return Project(session["folder"], session["clip"])


@lru_cache(maxsize=32)
def reader_of(path: str) -> VideoReader:
    """The reader of a clip, cached because numbering its frames decodes the whole clip."""
    return VideoReader(path)
