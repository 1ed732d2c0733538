"""The frame loop that runs, evaluation and benchmarks share: read, resize, track; they overlap where it pays."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import numpy as np
from numpy.typing import NDArray

from mamp.model.encoder import Encoder, EncoderFunction, device_of
from mamp.prefetch import prefetched, shared_threads, threads_to_share, with_next
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.images import resize_frame
from mamp.video.reader import Frame

Image = NDArray[np.uint8]


def overlaps(settings: Settings, encoder: EncoderFunction) -> bool:
    """Whether threads read, track and write different frames at the same time, and look ahead to the next frame.

    On a CPU, two threads that compute different things wait less for each other than two that share each operation. But
    RAFT and the encoder of Table 1 take longer than all the rest: they need all cores.
    """
    if device_of(encoder).type != "cpu":
        return True
    is_table_1 = isinstance(encoder, Encoder) and encoder.width is None
    return threads_to_share() > 1 and settings.flow != "raft" and not is_table_1


@contextmanager
def overlapping(settings: Settings, encoder: EncoderFunction) -> Iterator[bool]:
    """Leaves threads of a CPU to what is computed ahead, if stages overlap; yields whether they do."""
    ahead = overlaps(settings, encoder)
    with shared_threads() if ahead and device_of(encoder).type == "cpu" else nullcontext():
        yield ahead


def track_frames(
    frames: Iterable[Frame],
    tracker_for: Callable[[Frame], MaskTracker | None],
    settings: Settings,
    input_masks: Mapping[int, Image],
    *,
    encoder: EncoderFunction,
    skip: Container[int] = (),
    timer: StageTimer | None = None,
) -> Generator[tuple[Frame, Image | None], None, None]:
    """Tracks objects through frames at the processing size.

    Args:
        frames: Frames in the order of tracking.
        tracker_for: The tracker whose next frame is the given one; ``None`` to leave the frame out.
        settings: Settings with the processing size.
        input_masks: Input masks (H, W) uint8 by frame number.
        encoder: Encoder of the tracker; decides with the settings whether stages overlap.
        skip: Numbers of frames that need no tracking.
        timer: Counts resizing and tracking as stage "track".

    Yields:
        Each frame with its label map (H, W) uint8 at the frame's size, or ``None`` where it was not tracked.
    """
    timer = timer or StageTimer()
    resized = _resized_frames(frames, settings, skip, timer)
    with overlapping(settings, encoder) as ahead, prefetched(resized, ahead) as resized_frames:
        for (frame, image), following in with_next(resized_frames):
            tracker = None if image is None else tracker_for(frame)
            if tracker is None or image is None:
                yield frame, None
                continue
            input_mask = input_masks.get(frame.index)
            with timer.stage("track"):
                next_frame = following[1] if following and ahead else None
                mask = tracker.step(image, input_mask, output_size=_size(frame.image), next_frame=next_frame)
            yield frame, mask


def _resized_frames(
    frames: Iterable[Frame], settings: Settings, skip: Container[int], timer: StageTimer
) -> Iterator[tuple[Frame, Image | None]]:
    """Frames with their image at the processing size; ``None`` for those that are skipped."""
    for frame in frames:
        with timer.stage("track"):
            skipped = frame.index in skip
            resized = None if skipped else resize_frame(frame.image, settings.processing_size(_size(frame.image)))
        yield frame, resized


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
