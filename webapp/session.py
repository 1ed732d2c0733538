"""A visitor's session: a clip and a project folder, which exist as long as the session is used."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

from gradio.utils import get_upload_folder

from mamp import VideoReader
from webapp.job_queue import Job, Kind
from webapp.languages import message
from webapp.project import PROJECT_FILE, Project

MAX_FRAMES = int(os.environ.get("MAMP_MAX_FRAMES", "900"))
MAX_CLIP_FRAMES = 20 * MAX_FRAMES  # limit for a clip to trim: counting frames takes time
MAX_UPLOAD = os.environ.get("MAMP_MAX_UPLOAD", "200mb")
KEEP_SECONDS = int(os.environ.get("MAMP_KEEP_SECONDS", "3600"))
LEFT_SECONDS = min(300, KEEP_SECONDS)  # after which the files of a closed page go: phones disconnect for a while

Session = dict[str, Any]  # paths and numbers, never frames; the page holds one

# Gradio removes files some time after their last change: those in use are marked as changed this often.
_RENEWAL_SECONDS = KEEP_SECONDS / 20


@dataclass
class _Use:
    """How a session is used, by this process only.

    Attributes:
        session: The session of the page that opened it last.
        clip: The uploaded clip.
        used: Time of its last use [s].
        renewed: Time at which its files were last marked as changed [s].
        left: Time at which its page was closed [s]; ``None`` while it is open.
        job: The session's run or export, if any.
        failure: Why the last one failed; empty if it did not.
        name: Unguessable name, which finds the session again after its page was reloaded. It is not the folder's: that is
            in the addresses of results, which visitors may pass on.
        keep: A clip that stays when the session ends.
        folder_before: The session's folder before it was set aside; empty if it was not.
    """

    session: Session
    clip: Path
    used: float
    renewed: float
    left: float | None = None
    job: Job | None = None
    failure: str = ""
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    keep: str | None = None
    folder_before: str = ""


_uses: dict[str, _Use] = {}  # by session folder
_lock = RLock()
when_ended: list[Callable[[str], None]] = []  # called with the folder of each session that ends


class SessionEndedError(ValueError):
    """The session's files are gone; the message is one sentence for the visitor."""


def new_session(path: str, folder: Path | None = None) -> Session:
    """Starts a session for a clip, in a new folder unless one is given.

    Raises:
        VideoError: The clip cannot be read or is too long.
    """
    frames = reader_of(path).count(MAX_FRAMES)
    session: Session = {"folder": str(folder or new_folder()), "clip": path, "frames": frames, "frame": 0}
    now = time.monotonic()
    with _lock:
        _uses[session["folder"]] = _Use(session, Path(path), now, now)
    return session


def name_of(session: Session) -> str:
    """The name under which ``find_session`` finds a session; empty if there is none or it has ended."""
    with _lock:
        use = _uses.get(session.get("folder", ""))
        return use.name if use else ""


def find_session(name: str) -> Session | None:
    """The session of a name, for another page or for its page after a reload; ``None`` if there is none.

    Both pages may paint. Each has its own frame in the editor; of a frame that both paint, the later mask stays.
    """
    with _lock:
        for use in _uses.values():
            if secrets.compare_digest(use.name.encode(), name.encode()):
                use.session = {**use.session, "revisions": {}, "open_strokes": {}}
                return use.session
    return None


def new_folder() -> Path:
    """Creates a folder with an unguessable name. It is in Gradio's folder, so that results are served from it."""
    root = Path(get_upload_folder())
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="mamp-session-", dir=root))


def use_session(session: Session) -> None:
    """Notes that a session is used by its page.

    Raises:
        SessionEndedError: Its files are gone.
    """
    with _lock:
        use = _uses.get(session["folder"])
        if use is None:
            minutes = max(1, KEEP_SECONDS // 60)
            raise SessionEndedError(message("session.ended", minutes=minutes))
        use.left = None
        _renew(session["folder"], use)


def leave_session(session: Session) -> None:
    """Notes that the page of a session was closed: it ends soon, unless the page comes back."""
    with _lock:
        if session and session["folder"] in _uses:
            _uses[session["folder"]].left = time.monotonic()


def close_session(session: Session, *, keep: str | None = None) -> None:
    """Ends a session: removes its files and its uploaded clip, and stops its run within a frame.

    Args:
        session: The session; nothing happens if it is empty or has ended.
        keep: A clip that is still needed.
    """
    if session:
        _end(session["folder"], keep)


def set_aside(session: Session, *, keep: str | None = None) -> str:
    """Ends a session, but keeps its clip, its masks and its result for some minutes.

    Its files move to another folder: its run stops, and none of its events finds them.

    Args:
        session: The session.
        keep: See ``close_session``.

    Returns:
        The name under which ``find_session`` finds it; empty if it has ended before.
    """
    folder = Path(session["folder"])
    with _lock:
        use = _uses.pop(session["folder"], None)
        if use is None:
            return ""
        aside = folder.rename(new_folder())
        clip = aside / use.clip.relative_to(folder) if use.clip.is_relative_to(folder) else use.clip
        moved = {**session, "folder": str(aside), "clip": str(clip)}
        now = time.monotonic()
        kept = _Use(moved, clip, now, now, left=now, keep=keep or use.keep, folder_before=session["folder"])
        _uses[str(aside)] = kept
    for forget in when_ended:
        forget(session["folder"])
    return kept.name


def name_aside(session: Session) -> str:
    """The name under which ``find_session`` finds a session that was set aside; empty if it was not, or is gone."""
    with _lock:
        return next((use.name for use in _uses.values() if use.folder_before == session["folder"]), "")


def clip_of(path: Path) -> Path | None:
    """The clip of the session to which a file of a result or a project file belongs; ``None`` for other files."""
    folder = path.parent if path.name == PROJECT_FILE else path.parent.parent
    with _lock:
        use = _uses.get(str(folder))
        return None if use is None else use.clip


def is_open(session: Session) -> bool:
    """Whether a session has not ended."""
    with _lock:
        return session["folder"] in _uses


def end_unused_sessions() -> None:
    """Ends the sessions that have not been used for ``KEEP_SECONDS``. A session with a run or an export is in use."""
    now = time.monotonic()
    with _lock:
        for folder, use in list(_uses.items()):
            if use.left is not None and now - use.left > LEFT_SECONDS:
                _end(folder)
            elif use.job is not None:
                _renew(folder, use)
            elif now - use.used > KEEP_SECONDS:
                _end(folder)


def remove_unfinished_uploads() -> None:
    """Removes the temporary files of uploads that broke off, and the empty ones that each upload leaves in Gradio."""
    for path in Path(get_upload_folder()).glob("tmp*"):
        with suppress(FileNotFoundError):  # the upload has ended meanwhile
            if path.is_file() and time.time() - path.stat().st_mtime > LEFT_SECONDS:
                path.unlink()


def _end(folder: str, keep: str | None = None) -> None:
    with _lock:
        use = _uses.pop(folder, None)
        if (
            use is not None
            and str(use.clip) not in (keep, use.keep)
            and all(use.clip != other.clip for other in _uses.values())
        ):
            _remove_upload(use.clip)
    shutil.rmtree(folder, ignore_errors=True)
    for forget in when_ended:
        forget(folder)


def _remove_upload(clip: Path) -> None:
    if clip.is_relative_to(get_upload_folder()):  # not an example
        clip.unlink(missing_ok=True)


def _renew(folder: str, use: _Use) -> None:
    use.used = time.monotonic()
    if use.used - use.renewed < _RENEWAL_SECONDS:
        return
    use.renewed = use.used
    for path in (use.clip, *_downloads(Path(folder))):
        if path.is_file() and path.is_relative_to(get_upload_folder()):
            os.utime(path)


def _downloads(folder: Path) -> Iterator[Path]:
    """The files of a session that its page may ask for."""
    yield from folder.glob("*")
    yield from folder.glob("run-*/*")


def request_job(session: Session, kind: Kind) -> bool:
    """Reserves a session's only place for a run or an export; false if it is taken."""
    with _lock:
        use = _uses[session["folder"]]
        if use.job is not None:
            return False
        use.job, use.failure = Job(kind), ""
        return True


def start_requested_job(session: Session, kind: Kind) -> Job | None:
    """Marks a session's requested job as started, and returns it.

    ``None`` if it was stopped, was started before, or is of the other kind: another page of the session requested it.
    """
    with _lock:
        job = job_of(session)
        if job is None or job.is_started or job.kind != kind:
            return None
        job.is_started = True
        return job


def release_job(session: Session, kind: Kind) -> bool:
    """Gives the place back that was reserved for a job of this kind; false if there is none, or it has been started."""
    with _lock:
        use = _uses.get(session.get("folder", ""))
        if use is None or use.job is None or use.job.kind != kind or use.job.is_started:
            return False
        use.job = None
        return True


def begin_job(session: Session) -> bool:
    """Whether the requested job may begin: false if it was stopped while it waited, or has begun."""
    with _lock:
        use = _uses.get(session["folder"])
        if use is None or use.job is None or use.job.state != "waiting":
            return False
        use.job.begin()
        project_of(session).stop_file.unlink(missing_ok=True)
        return True


def stop_job(session: Session) -> None:
    """Stops a session's job: one that runs does so after its frame, even in another process."""
    with _lock:
        use = _uses.get(session["folder"])
        if use is not None and use.job is not None and use.job.state == "running":
            project_of(session).stop_file.touch()
        elif use is not None:
            use.job = None


def end_job(session: Session, failure: str = "") -> None:
    """Notes that a session's job is over, and why it failed; removes what it wrote if the session ended meanwhile."""
    with _lock:
        use = _uses.get(session["folder"])
        if use is not None:
            use.job, use.failure = None, failure
            return
    shutil.rmtree(session["folder"], ignore_errors=True)


def job_of(session: Session) -> Job | None:
    """The run or export of a session, waiting or running, if it has one."""
    with _lock:
        use = _uses.get(session.get("folder", ""))
        return use.job if use else None


def failure_of(session: Session) -> str:
    """Why the session's last run or export failed, for visitors; empty if it did not."""
    with _lock:
        use = _uses.get(session.get("folder", ""))
        return use.failure if use else ""


def has_job(session: Session) -> bool:
    """Whether a session has a run or an export, waiting or running."""
    return job_of(session) is not None


def project_of(session: Session) -> Project:
    """The project of a session."""
    return Project(session["folder"], session["clip"])


@lru_cache(maxsize=32)
def reader_of(path: str) -> VideoReader:
    """The reader of a clip, cached because numbering its frames decodes the whole clip."""
    return VideoReader(path)
