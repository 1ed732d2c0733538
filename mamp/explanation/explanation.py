"""What an explanation holds: all positions are in pixels of the clip, all frames have their numbers in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]  # x and y [pixels of the clip]
Image = NDArray[np.uint8]


class Decision(str, Enum):
    """The step that decided the label of a pixel."""

    INPUT_MASK = "input mask"
    VOTES = "votes"
    ADJUSTMENT = "logit adjustment"  # the label with the most votes lost
    REDETECTION = "re-detection"
    UPSAMPLING = "upsampling"  # the cell has another label than the pixel
    UNKNOWN = "unknown"  # computed again, the label is another one


class MemoryTerm(str, Enum):
    """Why a frame is in memory (Sec. 3.2)."""

    LONG = "long term"
    SHORT = "short term"
    INPUT_MASK = "input mask"  # of a later frame; not in the paper


@dataclass(frozen=True)
class Vote:
    """A place in memory that voted for the label of the pixel.

    Attributes:
        frame: Number of the memory frame.
        place: Center of the matching cell.
        label: Label of the memory at this place.
        similarity: Similarity of the two cells (Eq. 1), with the penalties of the object discriminants.
        weight: Share of the vote (Eq. 2) [0, 1]; the weights of all votes sum to 1.
    """

    frame: int
    place: Point
    label: int
    similarity: float
    weight: float


@dataclass(frozen=True)
class MemoryView:
    """A memory frame as it was compared with the pixel's frame.

    Attributes:
        frame: Number of the memory frame.
        term: Why it is in memory.
        target: Where the motion leads from the pixel's cell: the center of the window of places compared.
        motion: Displacement from the cell to the target, before rounding to whole cells [pixels]; ``None`` without motion.
        reach: Half the width and height of the window around the target [pixels]. Its cells move by their own motion, so
            some votes may lie outside.
        votes: Its votes.
        unaligned_votes: Its votes if the window lay around the pixel's cell, without motion.
        reliable: Whether its labels count as right: input masks, and masks soon after the first one.
        redetected: Whether the motion is that of an object detected in the whole frame, and not the optical flow.
        image: RGB (H, W, 3) uint8 at the processing size.
        flow: Displacement of each cell of the pixel's frame (2, h, w) [pixels of the clip]; ``None`` without motion.
    """

    frame: int
    term: MemoryTerm
    target: Point
    motion: Point | None
    reach: Point
    votes: Sequence[Vote]
    unaligned_votes: Sequence[Vote]
    reliable: bool
    redetected: bool
    image: Image = field(repr=False, compare=False)
    flow: NDArray[np.float32] | None = field(repr=False, compare=False)

    @property
    def weight(self) -> float:
        """Sum of the weights of its votes [0, 1]."""
        return sum(vote.weight for vote in self.votes)


@dataclass(frozen=True)
class LabelScore:
    """What one label got.

    Attributes:
        label: The label; 0 is the background.
        name: Name of the object.
        votes: Sum of the weights of its votes [0, 1].
        unaligned_votes: The same without motion.
        score: Its final score at the cell [0, 1]; the scores of all labels sum to 1.
        discriminant: Score of the object's discriminant at the cell: 1 at the mean of the object, -1 at that of the rest;
            ``None`` for the background, and where discriminants are not used.
    """

    label: int
    name: str
    votes: float
    unaligned_votes: float
    score: float
    discriminant: float | None


@dataclass(frozen=True)
class Explanation:
    """Why a pixel got its label.

    Attributes:
        frame: Number of the frame.
        pixel: x and y.
        label: Label in the mask of the run.
        decision: The step that decided it.
        center: Center of the cell that was read from memory for the pixel.
        memory: The memory frames in use, with their votes, in the order of tracking; none on the first frame, which has an
            input mask.
        scores: Votes and scores by label, background first.
        text: Sentences for people, with the sections of the paper.
        image: The frame, RGB (H, W, 3) uint8 at the processing size.
        mask: The mask of the run, label map (H, W) uint8.
        unaligned_mask: The mask by votes without motion, label map (H, W) uint8; ``None`` where the run used no motion,
            and on the first frame.
    """

    frame: int
    pixel: tuple[int, int]
    label: int
    decision: Decision
    center: Point
    memory: Sequence[MemoryView]
    scores: Sequence[LabelScore]
    text: str
    image: Image = field(repr=False, compare=False)
    mask: Image = field(repr=False, compare=False)
    unaligned_mask: Image | None = field(default=None, repr=False, compare=False)

    @property
    def votes(self) -> list[Vote]:
        """All votes, the heaviest first."""
        return sorted((vote for view in self.memory for vote in view.votes), key=lambda vote: -vote.weight)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON has it: without images and flow."""
        arrays = ("image", "mask", "unaligned_mask", "flow")
        document = asdict(self, dict_factory=lambda items: {key: value for key, value in items if key not in arrays})
        return document | {"decision": self.decision.value}
