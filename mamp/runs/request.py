"""The request of a run: clip, input masks, settings and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.masks.label_map import objects_in
from mamp.masks.overlay import OverlayStyle
from mamp.runs.small_objects import small_objects
from mamp.settings import Settings
from mamp.video.reader import VideoReader

Image = NDArray[np.uint8]

OUTPUTS = ("masks", "video")


@dataclass(frozen=True)
class RunRequest:
    """A checked request for a run.

    Attributes:
        reader: The clip.
        input_masks: Label maps (H, W) uint8 of the clip's size by frame number, at least one.
        settings: Settings of the method.
        names: Object names by label.
        overlay_style: Style of the overlay video; the default if ``None``.
        outputs: Any of ``OUTPUTS``.
        mask_summaries: How each input mask was read, by frame number; see ``MaskFile.summary``.
        memory_interval: Distance of the frames at which the memory of the tracker is stored; ``None`` for none.
    """

    reader: VideoReader
    input_masks: Mapping[int, Image]
    settings: Settings
    names: Mapping[int, str] = field(default_factory=dict)
    overlay_style: OverlayStyle | None = None
    outputs: Collection[str] = OUTPUTS
    mask_summaries: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    memory_interval: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Size of the clip (H, W) [pixels]."""
        return self.reader.info.height, self.reader.info.width

    @property
    def processing_size(self) -> tuple[int, int]:
        """Size of the frames that are matched (H, W) [pixels]."""
        return self.settings.processing_size(self.size)

    @property
    def first(self) -> int:
        """Number of the first frame with an input mask."""
        return min(self.input_masks)

    @property
    def frames_total(self) -> int:
        """Number of frames in the clip."""
        return self.reader.count()

    @cached_property
    def objects(self) -> list[int]:
        """Labels of the objects in the input masks, ascending."""
        return sorted({label for mask in self.input_masks.values() for label in objects_in(mask)})

    @cached_property
    def notes(self) -> list[str]:
        """Sentences for the user about the clip and the input masks."""
        notes = list(self.reader.notes)
        height, width = self.processing_size
        advice = "" if (height, width) == self.size else "; choose a larger size"
        known: set[int] = set()
        for index in sorted(self.input_masks):
            mask = self.input_masks[index]
            for label in sorted(set(small_objects(mask, (height, width))) - known):
                notes.append(
                    f"Object {label} is very small at the processing size {width}x{height} and may be lost{advice}."
                )
            known |= set(objects_in(mask))
        return notes
