"""Frames on a device, each uploaded once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamp.flow.parallel_dis import gray_pyramid

Image = NDArray[np.uint8]


def image_tensor(image: Image, device: torch.device) -> Tensor:
    """An image or a mask on a device."""
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device)


class DeviceFrames:
    """Keeps the newest frame on a device, and the gray pyramids of all that are compared with it.

    A frame is recognized by its array, which must not change while the frame is in memory.

    Args:
        device: The device.
        asynchronous: Whether the host goes on during an upload to a GPU, which takes a copy in page-locked memory.
    """

    def __init__(self, device: torch.device, *, asynchronous: bool) -> None:
        self._device, self._pinned = device, asynchronous and device.type == "cuda"
        self._newest: tuple[Image, Tensor] | None = None
        self._pyramids: dict[int, tuple[Image, list[Tensor]]] = {}  # with the frame, so that its id stays its own

    def start_frame(self) -> None:
        """Forgets the newest frame: the next one may lie in the same array."""
        self._newest = None

    def rgb(self, frame: Image) -> Tensor:
        """The frame (H, W, 3) uint8."""
        if self._newest is None or self._newest[0] is not frame:
            self._newest = (frame, self._upload(frame))
        return self._newest[1]

    def _upload(self, frame: Image) -> Tensor:
        if not self._pinned:
            return image_tensor(frame, self._device)
        return image_tensor(frame, torch.device("cpu")).pin_memory().to(self._device, non_blocking=True)

    def pyramid(self, frame: Image) -> list[Tensor]:
        """The gray pyramid of the frame, see ``gray_pyramid``."""
        if id(frame) not in self._pyramids:
            self._pyramids[id(frame)] = (frame, gray_pyramid(self.rgb(frame)[None]))
        return self._pyramids[id(frame)][1]

    def keep(self, frames: Iterable[Image]) -> None:
        """Drops the pyramids of all other frames."""
        kept = {id(frame) for frame in frames}
        self._pyramids = {number: pyramid for number, pyramid in self._pyramids.items() if number in kept}
