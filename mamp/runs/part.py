"""Missing frames of a run, tracked in this process or in another one, for instance while that has a GPU for seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.flow.optical_flow import load_flow
from mamp.model.encoder import EncoderFunction, device_of
from mamp.runs.frame_loop import track_frames
from mamp.runs.mask_store import MaskStore
from mamp.runs.memory_files import MemoryFiles
from mamp.runs.progress import Previews
from mamp.runs.request import RunRequest
from mamp.runs.results import Result
from mamp.runs.resume import TrackerFactory
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.reader import Frame

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Span:
    """Consecutive frames in the order of tracking.

    Attributes:
        start: Number of the first one to track.
        length: How many there are.
        direction: Forwards (1) or backwards (-1) from the first input mask.
    """

    start: int
    length: int
    direction: int


def missing_spans(done: Container[int], first: int, total: int) -> list[Span]:
    """The frames that have no mask yet, in the order of tracking.

    Args:
        done: The frames with a mask.
        first: Number of the first frame with an input mask.
        total: Number of frames in the clip.
    """
    spans = []
    for direction, indices in ((-1, range(first - 1, -1, -1)), (1, range(first + 1, total))):
        for is_done, group in itertools.groupby(indices, done.__contains__):
            if not is_done:
                start, *others = group
                spans.append(Span(start, 1 + len(others), direction))
    return spans


@dataclass(frozen=True)
class Part:
    """The missing frames of a run. It can be pickled, with a clip whose frames are counted.

    Attributes:
        request: The request of the run.
        identity: Entries of the receipt from ``run_identity``.
        folder: Folder of the run, with the masks so far.
        spans: The missing frames.
    """

    request: RunRequest
    identity: Mapping[str, Any]
    folder: Path
    spans: Sequence[Span]

    @property
    def frames(self) -> int:
        """The number of missing frames."""
        return sum(span.length for span in self.spans)


@dataclass(frozen=True)
class TrackedFrame:
    """A frame that was tracked.

    Attributes:
        index: Frame number.
        mask: Label map (H, W) uint8 of the clip's size.
        confidence: Confidence of the objects by label; see ``MaskTracker.confidence``.
        short_of_memory: Whether the device ran out of memory.
        preview: Its overlay RGB (H, W, 3) uint8, about once a second.
    """

    index: int
    mask: Image
    confidence: Mapping[int, float]
    short_of_memory: bool
    preview: Image | None


PartTracker = Callable[[Part], Generator[TrackedFrame, None, None]]


def track_part(
    part: Part, encoder: EncoderFunction, should_stop: Callable[[], bool]
) -> Generator[TrackedFrame, None, None]:
    """Tracks frames of a part. It reads the run's folder, and writes the memory of the tracker there.

    Args:
        part: The part.
        encoder: Encoder of the run.
        should_stop: Called after every frame; true ends the part.

    Raises:
        WeightsError: The weights of the optical flow cannot be loaded.
    """
    request, result = part.request, Result(part.folder)
    flow = load_flow(replace(request.settings, device=str(device_of(encoder))))
    memories = MemoryFiles(result, request, part.identity)
    trackers = TrackerFactory(request, MaskStore(result, request.reader), memories, encoder, flow, StageTimer())
    previews = Previews(request.overlay_style)
    with closing(track_spans(trackers, part.spans, should_stop)) as tracked:
        for frame, mask, tracker in tracked:
            preview = previews(frame.image, mask)
            yield TrackedFrame(frame.index, mask, tracker.confidence, tracker.short_of_memory, preview)


def track_spans(
    trackers: TrackerFactory, spans: Sequence[Span], should_stop: Callable[[], bool]
) -> Generator[tuple[Frame, Image, MaskTracker], None, None]:
    """Tracks frames; it stores the memory of the tracker regularly where the request says so, and where it ends early.

    Args:
        trackers: Makes the trackers.
        spans: The frames.
        should_stop: Called after every frame; true ends the tracking.

    Yields:
        Each frame with its label map (H, W) uint8 and its tracker.
    """
    request, timer = trackers.request, trackers.timer
    for span in spans:
        tracker = trackers.tracker_at(span.start, span.direction)
        read = request.reader.forwards if span.direction > 0 else request.reader.backwards
        tracked = track_frames(
            timer.timed("read", itertools.islice(read(span.start), span.length)),
            lambda _, tracker=tracker: tracker,  # type: ignore[misc]
            request.settings,
            request.input_masks,
            encoder=trackers.encoder,
            timer=timer,
        )
        with closing(tracked):
            for frame, mask in tracked:
                assert mask is not None
                trackers.store_regularly(tracker, span.direction)
                ends = True  # also if this generator is closed
                try:
                    yield frame, mask, tracker
                    ends = should_stop()
                finally:
                    if ends:
                        with timer.stage("write"):
                            trackers.memories.save(tracker.memory.stored(), span.direction)
                if ends:
                    return
