"""The motion of a frame to those in memory (Sec. 3.2): followed from frame to frame, taken at once, or the best of both."""

from __future__ import annotations

import inspect
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from mamp import prefetch
from mamp.flow.optical_flow import Flow, FlowFunction, Frame
from mamp.flow.warp import compose_flow, select_motion, to_cell_units
from mamp.model.encoder import STRIDE
from mamp.propagation.alignment import to_pixels
from mamp.propagation.memory_bank import MemoryBank, MemoryFrame

_THREADS = 4  # the flow to the frame before takes as long as four quick ones


class ReferenceMotion:
    """How the newest frame came from those in memory.

    Args:
        flow: See ``MaskTracker``.
        chained: Follow the flow of each frame to the one before it; else take a flow to each reference.
        recent: Up to this age motion that is followed is trusted [frames]; beyond it other flows are asked as well.
        device: Where motion is kept.

    Attributes:
        flows: What is asked for flow.
        came: Displacement of the newest frame to the one before it (2, h, w) [cells], where that is followed.
    """

    def __init__(self, flow: FlowFunction, *, chained: bool, recent: int, device: torch.device) -> None:
        self.flows = FlowPrefetcher(flow)
        self._chained, self._recent, self._device = chained, recent, device
        self.forget()

    def forget(self) -> None:
        """The next frame is a first one."""
        self.came: Tensor | None = None
        self._previous_frame: Frame | None = None
        self.flows.forget()

    def follow(self, t: int, frame: Frame, bank: MemoryBank) -> None:
        """Follows the motion of frame ``t`` back to the frames in memory, where it is followed."""
        if not self._chained:
            return
        if self._previous_frame is not None:
            self.came = self._flow_to(t, frame, 1, self._previous_frame)
            for number, memory in bank.all().items():
                bank.move(number, self.came if memory.motion is None else compose_flow(self.came, memory.motion))
        self._previous_frame = frame

    def of_first(self, frame: Frame, memory: MemoryFrame) -> Tensor:
        """Of the first frame, which came from nowhere: the motion it goes on with to ``frame``, reversed (2, h, w)."""
        return -self._flow_to(1, memory.image, 1, frame)

    def look_ahead(self, t: int, frame: Frame, coming: Frame, bank: MemoryBank) -> None:
        """Starts on the flows that frame ``t`` and the one after it will ask for, where the device leaves the CPU to it."""
        if not prefetch.should_prefetch(self._device):
            return
        if self.flows.takes_start:
            for number, memory in bank.references(t).items():
                if memory.motion is not None and not self._is_recent(t - number):
                    self.flows.look_ahead(t, frame, t - number, memory.image, quick=True, start=memory.motion)
        images = {t + 1 - number: memory.image for number, memory in bank.references(t + 1).items()}
        if self._chained:
            images = {distance: image for distance, image in images.items() if not self._is_recent(distance)}
        if self._chained or 1 in bank.short_term:
            images[1] = frame
        for distance, image in images.items():
            self.flows.look_ahead(t + 1, coming, distance, image, quick=self._chained and distance > 1)

    def to(self, t: int, frame: Frame, query: Tensor, distance: int, memory: MemoryFrame) -> Tensor:
        """Displacement of frame ``t`` to a reference: followed, taken at once, or the best of them.

        Args:
            t: Number of the newest frame.
            frame: RGB (H, W, 3) uint8.
            query: Features of it (C, h, w).
            distance: Between the two [frames].
            memory: The reference.

        Returns:
            (2, h, w) [cells].
        """
        if memory.motion is None:
            return self._flow_to(t, frame, distance, memory.image)
        if self._is_recent(distance):
            return memory.motion
        motions = [memory.motion, self._flow_to(t, frame, distance, memory.image, quick=True)]
        if self.flows.takes_start:
            motions.append(self._flow_to(t, frame, distance, memory.image, quick=True, start=memory.motion))
        return select_motion(query, memory.key.float(), *motions)

    def _is_recent(self, distance: int) -> bool:
        return distance <= self._recent

    def _flow_to(self, t: int, frame: Frame, distance: int, reference: Frame, **about: Any) -> Tensor:
        """Displacement of a frame to another one (2, h, w) [cells]; for ``about`` see ``FlowPrefetcher.take``."""
        flow = self.flows.take(t, frame, distance, reference, **about)
        return to_cell_units(torch.from_numpy(flow)).to(self._device)


class FlowPrefetcher:
    """The flows of a function, looked for in other threads before they are needed, where it is told of them.

    Args:
        flow: Of (query, reference), as ``dis_flow``; of what else is known about the two it is told what it takes.
    """

    def __init__(self, flow: FlowFunction) -> None:
        self._flow = flow
        self._takes = frozenset(inspect.signature(flow).parameters)
        self._threads = ThreadPoolExecutor(_THREADS)  # they start with the first look ahead
        self.forget()

    @property
    def takes_start(self) -> bool:
        """Whether it can be asked to start from a flow."""
        return "start" in self._takes

    def forget(self) -> None:
        """Lets go of what was looked for."""
        # By frame number; then by distance, and whether it starts from a motion.
        self._ahead: dict[int, tuple[Frame, dict[tuple[int, bool], Future[Flow]]]] = {}

    def look_ahead(self, t: int, frame: Frame, distance: int, reference: Frame, **about: Any) -> None:
        """Starts on what ``take`` will be asked in the same words; lets go of what is older than the frame before."""
        self._ahead = {number: found for number, found in self._ahead.items() if number >= t - 1}
        if t not in self._ahead or self._ahead[t][0] is not frame:
            self._ahead[t] = (frame, {})
        found = self._threads.submit(self._ask, frame, distance, reference, **about)
        self._ahead[t][1][distance, "start" in about] = found

    def take(self, t: int, frame: Frame, distance: int, reference: Frame, **about: Any) -> Flow:
        """The flow of a frame to a reference, found ahead or looked for now.

        Args:
            t: Number of the frame.
            frame: RGB (H, W, 3) uint8.
            distance: Between the two [frames].
            reference: RGB (H, W, 3) uint8.
            about: ``quick`` and ``start`` as for ``dis_flow``, but ``start`` is that of cells (2, h, w) [cells].
        """
        looked_at, flows = self._ahead.get(t, (None, {}))
        found = flows.pop((distance, "start" in about), None) if frame is looked_at else None
        return found.result() if found else self._ask(frame, distance, reference, **about)

    def _ask(self, frame: Frame, distance: int, reference: Frame, **about: Any) -> Flow:
        about["age"] = distance
        if "start" in about:
            about["start"] = STRIDE * to_pixels(about["start"].cpu(), frame.shape[:2]).numpy()
        return self._flow(frame, reference, **{name: about[name] for name in self._takes.intersection(about)})
