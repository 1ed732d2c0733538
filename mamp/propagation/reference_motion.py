"""Motion from the newest frame to those in memory (Sec. 3.2): composed over frames, estimated directly, or the better one.

"chained" motion composes the flow of each frame to the previous one; "direct" motion is one flow per reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from mamp.flow.optical_flow import Flow, FlowEstimator, FlowFunction, Frame, frame_at_cells
from mamp.flow.warp import compose_flow, select_motion, to_cell_units
from mamp.propagation.memory_bank import MemoryBank, MemoryFrame
from mamp.timing import StageTimer

FLOW_WAIT = "flow wait"  # stage of a ``StageTimer``


class ReferenceMotion:
    """Displacements of the newest frame to the frames in memory.

    Args:
        flow: See ``MaskTracker``.
        chained: Compose the flow of each frame to the previous one; else estimate a flow to each reference.
        recent: Largest age at which composed motion is used alone [frames]; beyond it other estimates compete with it.
        device: Device of the displacements.
        workers: Threads for flows that are estimated ahead.
        timer: Counts the time waited for flows as ``FLOW_WAIT``.

    Attributes:
        flows: Runs the flow function.
        chained: As given.
        flow_to_previous: Displacement of the newest frame to the previous one (2, h, w) [cells]; only if ``chained``.
    """

    def __init__(
        self,
        flow: FlowFunction,
        *,
        chained: bool,
        recent: int,
        device: torch.device,
        workers: ThreadPoolExecutor,
        timer: StageTimer,
    ) -> None:
        self.flows = FlowPrefetcher(flow, workers)
        self._timer = timer
        self.chained = chained
        self._recent, self._device = recent, device
        self.reset()

    def reset(self) -> None:
        """Starts a new clip."""
        self.flow_to_previous: Tensor | None = None
        self._previous_frame: Frame | None = None
        self.flows.clear()

    def resume(self, previous_frame: Frame) -> None:
        """Continues after a frame to which the memory has composed motion."""
        self._previous_frame = previous_frame

    def update(self, t: int, frame: Frame, bank: MemoryBank) -> None:
        """Extends the composed motion of every frame in memory to frame ``t``; does nothing unless ``chained``."""
        if not self.chained:
            return
        if self._previous_frame is not None:
            self.flow_to_previous = self._flow_to(t, frame, 1, self._previous_frame)
            for number, memory in bank.all().items():
                motion = self.flow_to_previous
                bank.move(number, motion if memory.motion is None else compose_flow(motion, memory.motion))
        self._previous_frame = frame

    def first_frame_motion(self, frame: Frame, memory: MemoryFrame) -> Tensor:
        """Motion of the first frame, which has no previous one: its flow to ``frame``, the second, negated (2, h, w)."""
        return -self._flow_to(1, memory.image, 1, frame)

    def prefetch(self, t: int, frame: Frame, next_frame: Frame, bank: MemoryBank) -> None:
        """Starts the flows that frame ``t`` + 1 will need."""
        references = {t + 1 - number: memory for number, memory in bank.references(t + 1).items()}
        if self.chained:
            references = {distance: memory for distance, memory in references.items() if not self._is_recent(distance)}
        images = {distance: memory.image for distance, memory in references.items()}
        if self.chained or 1 in bank.short_term:
            images[1] = frame
        flows = {
            distance: self.flows.submit(t + 1, next_frame, distance, image, fast=self.chained and distance > 1)
            for distance, image in images.items()
        }
        if not (self.chained and self.flows.accepts_initial_flow):
            return
        for distance, memory in references.items():
            if memory.motion is not None:
                motion = partial(self._composed_motion, flows[1], memory.motion)
                self.flows.submit(t + 1, next_frame, distance, memory.image, fast=True, initial_motion=motion)

    def _composed_motion(self, flow: Future[Flow], motion: Tensor) -> Tensor:
        """Waits for the flow to the previous frame, and composes it with the motion from there (2, h, w) [cells]."""
        return compose_flow(self._in_cells(flow.result()), motion)

    def _in_cells(self, flow: Flow) -> Tensor:
        """A flow (2, H, W) [pixels] as displacements (2, h, w) [cells]."""
        return to_cell_units(torch.from_numpy(flow)).to(self._device)

    def motions_to(
        self, t: int, frame: Frame, query: Tensor, distances: Sequence[int], memories: Sequence[MemoryFrame]
    ) -> list[Tensor]:
        """``motion_to`` for each of some references."""
        pairs = zip(distances, memories, strict=True)
        return [self.motion_to(t, frame, query, distance, memory) for distance, memory in pairs]

    def motion_to(self, t: int, frame: Frame, query: Tensor, distance: int, memory: MemoryFrame) -> Tensor:
        """Displacement of frame ``t`` to a reference: composed, direct, or for each cell the best of several estimates.

        Args:
            t: Number of the newest frame.
            frame: RGB (H, W, 3) uint8.
            query: Its features (C, h, w).
            distance: Distance to the reference [frames].
            memory: The reference.

        Returns:
            Displacement (2, h, w) [cells].
        """
        if memory.motion is None:
            return self._flow_to(t, frame, distance, memory.image)
        if self._is_recent(distance):
            return memory.motion
        motions = [memory.motion, self._flow_to(t, frame, distance, memory.image, fast=True)]
        if self.flows.accepts_initial_flow:
            motions.append(self._flow_to(t, frame, distance, memory.image, fast=True, initial_motion=memory.motion))
        return select_motion(query, memory.key.float(), *motions)

    def _is_recent(self, distance: int) -> bool:
        return distance <= self._recent

    def _flow_to(
        self,
        t: int,
        frame: Frame,
        distance: int,
        reference: Frame,
        *,
        fast: bool = False,
        initial_motion: Tensor | None = None,
    ) -> Tensor:
        """Displacement of a frame to a reference (2, h, w) [cells]; for the arguments see ``FlowPrefetcher.take``."""
        with self._timer.stage(FLOW_WAIT):
            flow = self.flows.take(t, frame, distance, reference, fast=fast, initial_motion=initial_motion)
        is_in_cells = fast and self.flows.accepts_initial_flow
        return torch.from_numpy(flow).to(self._device) if is_in_cells else self._in_cells(flow)


class FlowPrefetcher:
    """Runs a flow function, and in other threads for the pairs submitted in advance.

    Args:
        flow: A ``FlowEstimator``, or a plain function of (query, reference), called without keywords.
        workers: The other threads; they start with the first submission.
    """

    def __init__(self, flow: FlowFunction, workers: ThreadPoolExecutor) -> None:
        self._flow = flow
        self._estimator = flow if isinstance(flow, FlowEstimator) else None
        self._workers = workers
        self.clear()

    @property
    def accepts_initial_flow(self) -> bool:
        """Whether the flow function makes use of an initial flow."""
        return self._estimator is not None and self._estimator.accepts_initial_flow

    def clear(self) -> None:
        """Drops all submitted pairs."""
        # By frame number; then by distance, and whether there is an initial motion.
        self._submitted: dict[int, tuple[Frame, dict[tuple[int, bool], Future[Flow]]]] = {}

    def submit(
        self,
        t: int,
        frame: Frame,
        distance: int,
        reference: Frame,
        *,
        fast: bool = False,
        initial_motion: Callable[[], Tensor] | None = None,
    ) -> Future[Flow]:
        """Starts a flow for a later ``take`` with the same arguments; drops those of frames before ``t`` - 1.

        The initial motion is a function, which the other thread calls. It may wait for flows that were submitted before.
        """
        self._submitted = {number: flows for number, flows in self._submitted.items() if number >= t - 1}
        if t not in self._submitted or self._submitted[t][0] is not frame:
            self._submitted[t] = (frame, {})

        def estimate() -> Flow:
            motion = None if initial_motion is None else initial_motion()
            return self._estimate(frame, distance, reference, fast, motion)

        future = self._workers.submit(torch.inference_mode()(estimate))
        self._submitted[t][1][distance, initial_motion is not None] = future
        return future

    def take(
        self,
        t: int,
        frame: Frame,
        distance: int,
        reference: Frame,
        *,
        fast: bool = False,
        initial_motion: Tensor | None = None,
    ) -> Flow:
        """The flow of a frame to a reference, submitted before or computed now.

        Args:
            t: Number of the frame.
            frame: RGB (H, W, 3) uint8.
            distance: Distance between the two [frames].
            reference: RGB (H, W, 3) uint8.
            fast: See ``FlowEstimator``.
            initial_motion: The initial flow of ``FlowEstimator`` (2, h, w) [cells]; only if ``fast``.

        Returns:
            Flow (2, H, W) float32 [pixels]; if it is fast and the estimator accepts an initial flow, (2, h, w) [cells].
        """
        submitted_frame, flows = self._submitted.get(t, (None, {}))
        future = flows.pop((distance, initial_motion is not None), None) if frame is submitted_frame else None
        return future.result() if future else self._estimate(frame, distance, reference, fast, initial_motion)

    def _estimate(
        self, frame: Frame, distance: int, reference: Frame, fast: bool, initial_motion: Tensor | None
    ) -> Flow:
        if self._estimator is None:
            return self._flow(frame, reference)
        if fast and self.accepts_initial_flow:
            frame, reference = frame_at_cells(frame), frame_at_cells(reference)
        initial_flow = None if initial_motion is None else initial_motion.cpu().numpy()
        return self._estimator(frame, reference, fast=fast, initial_flow=initial_flow, frame_gap=distance)
