"""Motion to the frames in memory on a device: the flows of all pairs at once, without the host."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

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
        workers: See ``ReferenceMotion``.
        timer: See ``ReferenceMotion``.
    """

    def __init__(
        self,
        frames: DeviceFrames,
        *,
        chained: bool,
        recent: int,
        device: torch.device,
        workers: ThreadPoolExecutor,
        timer: StageTimer,
    ) -> None:
        self._frames = frames
        flow = ParallelDisFlow(device)
        super().__init__(flow, chained=chained, recent=recent, device=device, workers=workers, timer=timer)

    def reset(self) -> None:
        """Starts a new clip."""
        super().reset()
        self._fast_flows: dict[int, Tensor] = {}  # of the newest frame, by distance

    def update(self, t: int, frame: Frame, bank: MemoryBank) -> None:
        """Extends the composed motion of every frame in memory to frame ``t``; does nothing unless ``chained``."""
        self._frames.keep([memory.image for memory in bank.all().values()])
        previous, self._previous_frame = self._previous_frame, frame
        self._fast_flows = {}
        if not self.chained or previous is None:
            return
        # The flow to the previous frame is searched together with those that ``motions_to`` will need.
        far = {
            t - number: memory.image for number, memory in bank.references(t).items() if not self._is_recent(t - number)
        }
        coarse = self._search(frame, [previous, *far.values()], finest=FAST_LEVEL)
        self._fast_flows = dict(zip(far, self._to_cells(coarse[1:], frame), strict=True))
        refined = self._search(frame, [previous], finest=FINE_LEVEL, coarse=coarse[:1])
        self.flow_to_previous = flow = self._to_cells(refined, frame)[0]
        composed = [number for number, memory in bank.all().items() if memory.motion is not None]
        motions = [memory.motion for memory in bank.all().values() if memory.motion is not None]
        moved = dict(zip(composed, compose_flow(flow, torch.stack(motions)) if motions else (), strict=True))
        for number in bank.all():
            bank.move(number, moved.get(number, flow))

    def prefetch(self, t: int, frame: Frame, next_frame: Frame, bank: MemoryBank) -> None:
        """Does nothing: the flows are not computed by the host."""

    def first_frame_motion(self, frame: Frame, memory: MemoryFrame) -> Tensor:
        """See ``ReferenceMotion.first_frame_motion``."""
        return -self._to_cells(self._search(memory.image, [frame]), frame)[0]

    def motions_to(
        self, t: int, frame: Frame, query: Tensor, distances: Sequence[int], memories: Sequence[MemoryFrame]
    ) -> list[Tensor]:
        """See ``ReferenceMotion.motions_to``."""
        motions = {number: memory.motion for number, memory in enumerate(memories) if memory.motion is not None}
        direct = [number for number in range(len(memories)) if number not in motions]
        if direct:
            flows = self._to_cells(self._search(frame, [memories[number].image for number in direct]), frame)
            motions |= dict(zip(direct, flows, strict=True))
        far = [n for n, distance in enumerate(distances) if n not in direct and not self._is_recent(distance)]
        if far:
            composed = torch.stack([motions[number] for number in far])
            size = (frame.shape[0], frame.shape[1])
            initial = STRIDE * to_pixels(composed.flatten(0, 1), size).view(len(far), 2, *size)
            images = [memories[number].image for number in far]
            guided = self._to_cells(self._search(frame, images, finest=FAST_LEVEL, initial=initial), frame)
            fast = torch.stack([self._fast_flows[distances[number]] for number in far])
            keys = torch.stack([memories[number].key for number in far]).float()
            motions |= dict(zip(far, select_motion(query, keys, composed, fast, guided), strict=True))
        return [motions[number] for number in range(len(memories))]

    def _search(
        self,
        frame: Frame,
        references: Sequence[Frame],
        *,
        finest: int = FINE_LEVEL,
        initial: Tensor | None = None,
        coarse: Tensor | None = None,
    ) -> Tensor:
        """``inverse_search`` from a frame to some references (N, 2, h, w) [pixels]."""
        pyramids = [self._frames.pyramid(reference) for reference in references]
        together = [torch.cat(level) for level in zip(*pyramids, strict=True)]
        return inverse_search(self._frames.pyramid(frame), together, initial=initial, coarse=coarse, finest=finest)

    @staticmethod
    def _to_cells(flow: Tensor, frame: Frame) -> Tensor:
        """Flow of any grid of a frame (N, 2, h, w) [pixels], at its cells [cells]."""
        return to_cell_units(F.interpolate(flow, frame.shape[:2], mode="bilinear"))
