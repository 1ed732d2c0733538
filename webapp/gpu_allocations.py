"""ZeroGPU: masks are tracked in allocations of about 15 seconds, each in a process that has a GPU meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing

from mamp import Settings
from mamp.model.checkpoint import shared_encoder
from mamp.model.patch_encoder import PATCH
from mamp.runs.part import Part, TrackedFrame, track_part
from webapp import ZERO_GPU, spaces
from webapp.errors import error_for_visitor
from webapp.languages import count_message, message
from webapp.project import Project

STARTUP_SECONDS = 5  # from the start of an allocation to its first frame
SECONDS_PER_480P_FRAME = 0.08
ALLOCATION_SECONDS = 15  # short ones start sooner, and fit into what is left of a quota
MAX_ALLOCATION_SECONDS = 60
QUOTA_FACTOR = 1.5  # ZeroGPU takes the requested seconds times this from the visitor's quota, for half of its GPU
GUEST_SECONDS = 120  # of quota a day, without an account

Size = tuple[int, int]
AllocationFunction = Callable[[Part, Project, int], Generator[TrackedFrame, None, None]]


def needs_gpu(settings: Settings) -> bool:
    """Whether a run takes GPU allocations: on ZeroGPU, unless it has no network."""
    return ZERO_GPU and settings.weights != PATCH


def gpu_seconds_per_frame(size: Size) -> float:
    """GPU time per frame of a processing size (H, W) [s]. Optical flow dominates, so it is proportional to the pixels."""
    return SECONDS_PER_480P_FRAME * max(0.2, size[0] * size[1] / (480 * 854))


def allocations(frames: int, seconds_per_frame: float) -> list[int]:
    """The durations of the allocations that a run of some frames requests [s]."""
    at_once = max(1, int((ALLOCATION_SECONDS - STARTUP_SECONDS) / seconds_per_frame))
    counts = [min(at_once, frames - done) for done in range(0, frames, at_once)]
    return [min(MAX_ALLOCATION_SECONDS, math.ceil(STARTUP_SECONDS + count * seconds_per_frame)) for count in counts]


def quota_text(frames: int, size: Size) -> str:
    """What a run takes from a visitor's quota at most, in a sentence or two."""
    durations = allocations(frames, gpu_seconds_per_frame(size))
    needed = math.ceil(QUOTA_FACTOR * sum(durations))
    text = count_message("estimate.gpu", len(durations), seconds=needed, frames=count_message("count.frames", frames))
    return f"{text} {message('estimate.quota', seconds=GUEST_SECONDS)}" if needed > GUEST_SECONDS else text


class AllocationTracker:
    """Tracks the frames of a run in GPU allocations.

    Args:
        project: The project; its visitor may stop the run.
        end: Time after which no further allocation is requested [s since the epoch].
    """

    def __init__(self, project: Project, end: float) -> None:
        self._project, self._end = project, end
        self._slowness = 1.0  # how much longer than expected a frame takes here

    def __call__(self, part: Part) -> Generator[TrackedFrame, None, None]:
        """Tracks frames of a part in one allocation; in longer ones if the time was too short for a single frame.

        Raises:
            gr.Error: An allocation was refused or failed; the message is for the visitor.
        """
        seconds_per_frame = self._slowness * gpu_seconds_per_frame(part.request.processing_size)
        (seconds, *_), tracked = allocations(part.frames, seconds_per_frame), 0
        while time.time() < self._end and not self._project.should_stop():
            with closing(track_on_gpu(part, self._project, seconds)) as frames:
                for frame in frames:
                    tracked += 1
                    yield frame
            if tracked or seconds == MAX_ALLOCATION_SECONDS:
                break
            seconds = min(2 * seconds, MAX_ALLOCATION_SECONDS)
        if tracked < part.frames:
            expected = (seconds - STARTUP_SECONDS) / seconds_per_frame
            self._slowness *= max(1.0, expected / max(1, tracked))


def with_gpu_allocation(function: AllocationFunction) -> AllocationFunction:
    """Runs a function in a ZeroGPU allocation of the duration that it is given; elsewhere returns it unchanged."""
    if not ZERO_GPU:
        return function

    def duration(part: Part, project: Project, seconds: int) -> int:
        return seconds

    decorated: AllocationFunction = spaces.GPU(duration=duration)(function)
    return decorated


def track_for(part: Part, project: Project, seconds: int) -> Generator[TrackedFrame, None, None]:
    """Tracks frames of a part until an allocation of a duration ends [s]: the platform may stop what takes longer."""
    began = time.monotonic()
    left = max(1, seconds - STARTUP_SECONDS)

    def should_stop() -> bool:
        return time.monotonic() - began > left or project.should_stop()

    try:
        encoder = shared_encoder(part.request.settings.weights, "auto")
        yield from track_part(part, encoder, should_stop)
    except Exception as error:
        if not project.folder.exists():  # the session has ended, and nobody waits
            raise
        # Only this error keeps its message when it crosses ZeroGPU's process boundary.
        raise error_for_visitor(error) from error


track_on_gpu = with_gpu_allocation(track_for)
