"""Trackers that resume at any frame of a clip: their memory is restored from a stored one, or from the masks on disk."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from mamp.files import ResourceError
from mamp.flow.optical_flow import FlowEstimator
from mamp.model.encoder import EncoderFunction
from mamp.runs.mask_store import MaskStore
from mamp.runs.memory_files import MemoryFiles
from mamp.runs.request import RunRequest
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.images import resize_frame
from mamp.video.reader import Frame


@dataclass(frozen=True)
class TrackerFactory:
    """Makes trackers for a run.

    Attributes:
        request: The request of the run.
        store: The masks so far.
        memories: The stored memories so far.
        encoder: Encoder of the trackers.
        flow: Optical flow of the trackers, or ``None``.
        timer: Counts restoring as stage "track".
    """

    request: RunRequest
    store: MaskStore
    memories: MemoryFiles
    encoder: EncoderFunction
    flow: FlowEstimator | None
    timer: StageTimer

    def tracker_at(self, index: int, direction: int, *, to_inspect: bool = False) -> MaskTracker:
        """A tracker whose next frame is ``index``, forwards (1) or backwards (-1) from the first input mask.

        Args:
            index: Frame number.
            direction: 1 or -1.
            to_inspect: The tracker will only inspect the frame, see ``MaskTracker.inspect``: this restores less.
        """
        first, size = self.request.first, self.request.processing_size
        tracker = MaskTracker.from_settings(self.request.settings, self.encoder, self.flow)
        given = [abs(t - first) for t in self.request.input_masks if (t - first) * direction >= 0]
        restored = set(tracker.memory.frames_to_restore(abs(index - first), given, to_inspect=to_inspect))
        with self.timer.stage("track"):
            begun = self._restore_memory(tracker, abs(index - first), direction, restored)
            distances = None if tracker.chained else sorted(t for t in restored if t >= begun)
            for frame in self._frames_between(begun, index, direction, distances):
                t = abs(frame.index - first)
                tracker.memory.restore_frame(
                    t,
                    resize_frame(frame.image, size),
                    self.store.mask(frame.index),
                    input_mask=self.request.input_masks[frame.index] if t in given else None,
                    referenced=t in restored,
                )
        return tracker

    def store_regularly(self, tracker: MaskTracker, direction: int) -> None:
        """Stores the memory of a tracker between two frames, if the request asks for it there."""
        interval = self.request.memory_interval
        if interval and tracker.memory.t % interval == 0:
            with self.timer.stage("write"), suppress(ResourceError):  # it only saves time, and masks are smaller
                self.memories.save(tracker.memory.stored(), direction)

    def _restore_memory(self, tracker: MaskTracker, t: int, direction: int, needed: Container[int]) -> int:
        """Restores the needed frames of the last stored memory before a distance from the first input mask.

        Returns:
            The distance of the memory; 0 if there is none.
        """
        memory = self.memories.latest(t, direction)
        if memory is None:
            return 0
        frames_needed = {number: frame for number, frame in memory.frames.items() if number in needed}
        if memory.t - 1 in memory.frames:  # the next frame's motion is compared with its own
            frames_needed[memory.t - 1] = memory.frames[memory.t - 1]
        memory = replace(memory, frames=frames_needed)
        indices = [self.request.first + direction * number for number in {*memory.frames, memory.t - 1}]
        frames = {
            abs(frame.index - self.request.first): resize_frame(frame.image, self.request.processing_size)
            for frame in self.request.reader.frames(indices)
        }
        tracker.memory.restore(memory, frames)
        return memory.t

    def _frames_between(
        self, begun: int, index: int, direction: int, distances: Collection[int] | None
    ) -> Iterator[Frame]:
        """Frames from a distance up to ``index``, excluded: all, or those at given distances from the first input mask."""
        first, reader = self.request.first, self.request.reader
        if distances is not None:
            yield from (reader.frame(first + direction * t) for t in distances)
            return
        frames = abs(index - first) - begun
        if frames:
            start = first + direction * begun
            yield from itertools.islice(reader.forwards(start) if direction > 0 else reader.backwards(start), frames)
