"""The workload of a benchmark: settings, encoder, clip and objects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mamp.flow.optical_flow import FlowFunction
from mamp.masks.label_map import resize_mask
from mamp.model.encoder import EncoderFunction
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.images import resize_frame
from mamp.video.reader import Frame, VideoReader

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Workload:
    """Objects to track through the first frames of a clip.

    Attributes:
        settings: Settings of the tracker.
        encoder: Its encoder.
        reader: The clip.
        mask: Objects of the first frame (H, W) uint8.
        warm_up: Number of frames before the measurement.
        frames: Number of frames to measure.
    """

    settings: Settings
    encoder: EncoderFunction
    reader: VideoReader
    mask: Image
    warm_up: int
    frames: int

    @property
    def output_size(self) -> tuple[int, int]:
        """(H, W) of the clip."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def processing_size(self) -> tuple[int, int]:
        """(H, W) at which frames are matched."""
        return self.settings.processing_size(self.output_size)

    def read_frames(self) -> Iterator[Frame]:
        """Reads the frames of warm-up and measurement."""
        return itertools.islice(self.reader, self.warm_up + self.frames)

    def resize_frame(self, frame: Frame) -> Image:
        """The image of a frame at the processing size."""
        return resize_frame(frame.image, self.processing_size)

    def input_mask(self, index: int) -> Image | None:
        """The mask of the first frame at the processing size; ``None`` for other frames."""
        return resize_mask(self.mask, self.processing_size) if index == 0 else None

    def new_tracker(self, flow: FlowFunction | None, timer: StageTimer | None = None) -> MaskTracker:
        """A tracker with the settings."""
        return MaskTracker.from_settings(self.settings, self.encoder, flow, timer=timer)
