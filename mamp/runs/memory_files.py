"""Memories of a run's trackers on disk: a run that resumes there need not follow the motion of all earlier frames."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from mamp.files import atomic_path
from mamp.propagation.stored_memory import StoredMemory
from mamp.runs.request import RunRequest
from mamp.runs.results import Result

_FORMAT = 3  # to be increased when trackers remember something else; older files are then ignored
_NAMES = {1: "forwards", -1: "backwards"}  # by direction


class MemoryFiles:
    """The stored memories in the result folder of a run.

    A memory is valid for the clip, settings and weights it was made with, and for the same input masks up to its frame.
    Without a valid one, memory is restored from the masks.

    Args:
        result: The result folder.
        request: The request of the run.
        identity: Entries of the receipt from ``run_identity``.
    """

    def __init__(self, result: Result, request: RunRequest, identity: Mapping[str, Any]) -> None:
        self._result, self._request, self._identity = result, request, identity

    def save(self, memory: StoredMemory, direction: int) -> None:
        """Writes the memory of a tracker forwards (1) or backwards (-1) from the first input mask."""
        path = self._path(memory.t, direction)
        path.parent.mkdir(exist_ok=True)
        with atomic_path(path) as partial, partial.open("wb") as file:
            memory.write(file, self._key(memory.t, direction))

    def latest(self, t: int, direction: int) -> StoredMemory | None:
        """The last valid memory at or before a distance from the first input mask [frames], if there is one."""
        for number in sorted(stored_distances(self._result, direction), reverse=True):
            if number <= t and (memory := self._read(self._result, number, direction)) is not None:
                return memory
        return None

    def reuse(self, previous: Result) -> None:
        """Copies the memories of a previous run that are valid for this one."""
        for direction in _NAMES:
            for number in stored_distances(previous, direction):
                if self._read(previous, number, direction) is not None:
                    path = self._path(number, direction)
                    path.parent.mkdir(exist_ok=True)
                    shutil.copyfile(previous.memory_dir / path.name, path)

    def _read(self, result: Result, number: int, direction: int) -> StoredMemory | None:
        memory = StoredMemory.read(result.memory_dir / self._path(number, direction).name, self._key(number, direction))
        return memory if memory is not None and memory.t == number else None

    def _path(self, number: int, direction: int) -> Path:
        return self._result.memory_dir / f"{_NAMES[direction]}-{number:06d}.npz"

    def _key(self, t: int, direction: int) -> str:
        """What determines a memory, as a hash."""
        first = self._request.first
        masks = {index: digest for index, digest in self._digests.items() if 0 <= (index - first) * direction < t}
        document = {"format": _FORMAT, "identity": self._identity, "first": first, "t": t, "masks": masks}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _digests(self) -> dict[int, str]:
        """Hashes of the input masks by frame number."""
        masks = self._request.input_masks
        return {index: hashlib.sha256(masks[index].tobytes()).hexdigest() for index in masks}


def stored_distances(result: Result, direction: int) -> list[int]:
    """Distances from the first input mask [frames], forwards (1) or backwards (-1), of the memories that a run stored."""
    distances = []
    for path in result.memory_dir.glob(f"{_NAMES[direction]}-*.npz"):
        with suppress(ValueError):
            distances.append(int(path.stem.partition("-")[2]))
    return distances
