"""Motion to the frames in memory on a device: the flows of all pairs at once, without the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.flow.optical_flow import Frame, ParallelDisFlow
from mamp.flow.parallel_dis import FAST_LEVEL, FINE_LEVEL, inverse_search
from mamp.flow.warp import compose_flow, select_motion, to_cell_units
from mamp.model.encoder import STRIDE
from mamp.propagation.alignment import to_pixels
from mamp.propagation.device_frames import DeviceFrames
from mamp.propagation.memory_bank import MemoryBank, MemoryFrame
from mamp.propagation.reference_motion import ReferenceMotion
from mamp.timing import StageTimer


class ParallelMotion(ReferenceMotion):
    """``ReferenceMotion`` by ``inverse_search``.

    Args:
        frames: The frames on the device.
        chained: See ``ReferenceMotion``.
        recent: See ``ReferenceMotion``.
        device: Device of the displacements and of the search.
        timer: See ``ReferenceMotion``.
    """

    def __init__(
        self, frames: DeviceFrames, *, chained: bool, recent: int, device: torch.device, timer: StageTimer
    ) -> None:
        self._frames = frames
        super().__init__(ParallelDisFlow(device), chained=chained, recent=recent, device=device, timer=timer)

    def update(self, t: int, frame: Frame, bank: MemoryBank) -> None:
        """Extends the composed motion of every frame in memory to frame ``t``; does nothing unless ``chained``."""
        self._frames.keep([memory.image for memory in bank.all().values()])
        previous, self._previous_frame = self._previous_frame, frame
        if not self.chained or previous is None:
            return
        self.flow_to_previous = flow = self._search(frame, [previous], FINE_LEVEL)[0]
        composed = [number for number, memory in bank.all().items() if memory.motion is not None]
        motions = [memory.motion for memory in bank.all().values() if memory.motion is not None]
        moved = dict(zip(composed, compose_flow(flow, torch.stack(motions)) if motions else (), strict=True))
        for number in bank.all():
            bank.move(number, moved.get(number, flow))

    def prefetch(self, t: int, frame: Frame, next_frame: Frame, bank: MemoryBank) -> None:
        """Does nothing: the flows are not computed by the host."""

    def first_frame_motion(self, frame: Frame, memory: MemoryFrame) -> Tensor:
        """See ``ReferenceMotion.first_frame_motion``."""
        return -self._search(memory.image, [frame], FINE_LEVEL)[0]

    def motions_to(
        self, t: int, frame: Frame, query: Tensor, distances: Sequence[int], memories: Sequence[MemoryFrame]
    ) -> list[Tensor]:
        """See ``ReferenceMotion.motions_to``."""
        motions = [memory.motion for memory in memories]
        direct = [number for number, motion in enumerate(motions) if motion is None]
        if direct:
            flows = self._search(frame, [memories[number].image for number in direct], FINE_LEVEL)
            for number, flow in zip(direct, flows, strict=True):
                motions[number] = flow
        far = [
            number
            for number, distance in enumerate(distances)
            if number not in direct and not self._is_recent(distance)
        ]
        if far:
            images = [memories[number].image for number in far]
            composed = torch.stack([motion for number in far if (motion := motions[number]) is not None])
            size = (frame.shape[0], frame.shape[1])
            initial = STRIDE * to_pixels(composed.flatten(0, 1), size).view(len(far), 2, *size)
            candidates = [self._search(frame, images, FAST_LEVEL), self._search(frame, images, FAST_LEVEL, initial)]
            keys = torch.stack([memories[number].key.float() for number in far])
            for number, motion in zip(far, select_motion(query, keys, composed, *candidates), strict=True):
                motions[number] = motion
        return [motion for motion in motions if motion is not None]

    def _search(self, frame: Frame, references: Sequence[Frame], finest: int, initial: Tensor | None = None) -> Tensor:
        """Displacement of a frame to some references (N, 2, h, w) [cells]."""
        pyramids = [self._frames.pyramid(reference) for reference in references]
        together = [torch.cat(level) for level in zip(*pyramids, strict=True)]
        flow = inverse_search(self._frames.pyramid(frame), together, initial=initial, finest=finest)
        return to_cell_units(F.interpolate(flow, frame.shape[:2], mode="bilinear"))
