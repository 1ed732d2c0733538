"""What was removed from input masks last, so that it can be brought back until the frame is edited again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mamp import read_mask, write_mask
from mamp.masks.label_map import Mask
from webapp.session import Session

_KEY = "removal"


def remember_removal(session: Session, masks: Mapping[int, Mask], text: str) -> None:
    """Keeps the masks before a removal, after it.

    Args:
        session: The visitor's session.
        masks: The masks before it, by frame number.
        text: What was removed, as a sentence.
    """
    _folder(session).mkdir(exist_ok=True)
    for index, mask in masks.items():
        write_mask(_folder(session) / f"{index}.png", mask)
    session[_KEY] = {"revisions": {index: list(session["revisions"][index]) for index in masks}, "text": text}


def removal_text(session: Session) -> str:
    """What was removed last, if it can be brought back; otherwise empty."""
    removal: dict[str, Any] | None = session.get(_KEY)
    revisions = session.get("revisions", {})
    if removal is None or any(revisions.get(index) != known for index, known in removal["revisions"].items()):
        return ""
    text: str = removal["text"]
    return text


def take_removed(session: Session) -> dict[int, Mask]:
    """The masks before the last removal, by frame number, once; none if its frames were edited since."""
    if not removal_text(session):
        return {}
    return {index: read_mask(_folder(session) / f"{index}.png") for index in session.pop(_KEY)["revisions"]}


def _folder(session: Session) -> Path:
    return Path(session["folder"]) / "removed"
