"""One run: masks backwards and forwards from the first input mask, the overlay video, and the receipt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.files import ResourceError, as_resource_error
from mamp.flow.optical_flow import load_flow
from mamp.masks.label_map import objects_in
from mamp.masks.mask_io import write_mask
from mamp.masks.overlay import overlay
from mamp.model.encoder import EncoderFunction, device_of
from mamp.prefetch import prefetched
from mamp.runs.frame_loop import overlaps, track_frames
from mamp.runs.incremental import reusable_frames
from mamp.runs.mask_store import MaskStore
from mamp.runs.memory_files import MemoryFiles
from mamp.runs.part import Part, PartTracker, Span, TrackedFrame, missing_spans, track_spans
from mamp.runs.progress import Previews, Progress, Update
from mamp.runs.receipt import RunStatus, receipt_document
from mamp.runs.request import RunRequest
from mamp.runs.results import Result
from mamp.runs.resume import TrackerFactory
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.reader import Frame
from mamp.video.writer import VideoWriter

Image = NDArray[np.uint8]


class Run:
    """One run into an emptied folder.

    Args:
        request: Clip, input masks, settings and outputs.
        identity: Entries of the receipt from ``run_identity``.
        encoder: Encoder on its device.
        result: The folder.
        timer: Timer that also counted loading.
        track_part: Tracks missing frames in place of this process; see ``segment_video``.

    Raises:
        MaskError: The folder holds masks that no run wrote.
    """

    def __init__(
        self,
        request: RunRequest,
        identity: dict[str, Any],
        encoder: EncoderFunction,
        result: Result,
        timer: StageTimer,
        track_part: PartTracker | None = None,
    ) -> None:
        self._request, self._identity, self._result, self._timer = request, identity, result, timer
        self._encoder, self._overlaps = encoder, overlaps(request.settings, encoder)
        self._track_part = track_part
        self._store = MaskStore(result, request.reader)
        self._memories = MemoryFiles(result, request, identity)
        tracks_here = "masks" in request.outputs and track_part is None  # else the flow's device may not be available
        flow = load_flow(replace(request.settings, device=str(device_of(encoder)))) if tracks_here else None
        self._trackers = TrackerFactory(request, self._store, self._memories, encoder, flow, timer)
        self._progress = Progress(self._store, request.frames_total)
        self._previews = Previews(request.overlay_style)
        self._status = RunStatus(encoder=getattr(encoder, "architecture", None))
        self._preview: Image | None = None
        result.clear()
        for index, mask in request.input_masks.items():
            write_mask(result.input_masks_dir / f"{index:06d}.png", mask)

    def reuse_frames(self, previous: Result) -> None:
        """Copies the masks of a previous run that are still valid."""
        names = {index: self._request.reader.name(index) for index in range(self._request.frames_total)}
        reused = reusable_frames(previous, names, self._request.input_masks, self._identity)
        with self._timer.stage("write"):
            self._store.reuse_frames(previous, reused)
            self._memories.reuse(previous)
        self._status.masks_reused = len(self._store)

    def updates(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Tracks and renders the clip; see ``segment_video``."""
        # A killed run leaves this receipt and its masks: enough to resume from.
        self._store.write_object_frames()
        self._write_receipt("killed")
        failure: Exception | None = None
        try:
            if "masks" in self._request.outputs:
                self._keep_first_mask()
                try:
                    yield from self._track(should_stop)
                except Exception as error:
                    if self._track_part is None:
                        raise
                    failure = error  # of another process: this one draws what there is
            if "masks" not in self._request.outputs or failure is not None:
                self._status.stopped = self._incomplete
            if "video" in self._request.outputs:
                yield from self._draw(should_stop)
            if failure is not None:
                raise failure
        except Exception as error:
            resource_error = as_resource_error(error)
            self._status.error = _message(resource_error or error)
            if resource_error is not None:
                raise resource_error from error
            raise
        finally:
            # A run that is closed or fails while tracking backwards has masks, but no video yet.
            self._status.stopped = self._status.stopped or self._incomplete
            if self._progress.rendered < len(self._store) and "video" in self._request.outputs:
                self._status.stopped = True
                with suppress(ValueError, OSError):
                    for _ in self._draw(lambda: True):
                        pass
            self._finish()
        yield self._progress.last(self._request.first, self._preview, self._result)

    @property
    def _incomplete(self) -> bool:
        return len(self._store) < self._request.frames_total

    def _keep_first_mask(self) -> None:
        """Stores the first input mask as the mask of its frame."""
        first = self._request.first
        if first not in self._store:
            mask = self._request.input_masks[first]
            with self._timer.stage("write"):
                self._store.keep(first, mask, dict.fromkeys(objects_in(mask), 1.0))

    def _track(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Masks of the missing frames; those after the first input mask are left to ``_draw`` if it can track them."""

        def stops() -> bool:
            self._status.stopped = self._status.stopped or (self._incomplete and should_stop())
            return self._status.stopped

        if self._track_part is not None:
            yield from self._track_parts(self._track_part, stops)
            return
        frames = self._kept_frames(stops, backwards_only="video" in self._request.outputs)
        with closing(frames), prefetched(frames, self._overlaps) as tracked:
            for frame, mask in tracked:
                yield self._progress.update(frame.index, self._previews(frame.image, mask))

    def _kept_frames(
        self, stops: Callable[[], bool], *, backwards_only: bool
    ) -> Generator[tuple[Frame, Image], None, None]:
        """Tracks missing frames, and stores their masks."""
        spans = [span for span in self._missing_spans if span.direction < 0 or not backwards_only]
        with closing(track_spans(self._trackers, spans, stops)) as tracked:
            for frame, mask, tracker in tracked:
                self._keep(frame.index, mask, tracker)
                yield frame, mask

    def _track_parts(self, track_part: PartTracker, stops: Callable[[], bool]) -> Iterator[Update]:
        """Has missing frames tracked part by part, as long as there are new ones."""
        done = -1
        while done < len(self._store) < self._request.frames_total:
            done = len(self._store)
            self._progress.pause()
            part = Part(self._request, self._identity, self._result.folder, self._missing_spans)
            with closing(track_part(part)) as tracked:
                for frame in tracked:
                    self._keep(frame.index, frame.mask, frame)
                    yield self._progress.update(frame.index, frame.preview)
                    if stops():
                        return
        self._status.stopped = self._incomplete

    @property
    def _missing_spans(self) -> list[Span]:
        return missing_spans(self._store, self._request.first, self._request.frames_total)

    def _draw(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """The video, and the masks that are still missing. Once stopped: the video of the existing masks."""
        self._progress.rendered = 0
        ending = False
        with ExitStack() as opened:
            video = VideoWriter(self._result.overlay, self._request.reader, self._request.size)
            opened.callback(self._count_video_frames, video)  # runs after the video is closed
            opened.callback(video.close)
            frames = opened.enter_context(closing(self._masked_frames(lambda: ending or should_stop())))
            masked_frames = opened.enter_context(prefetched(frames, self._overlaps))
            try:
                for frame, mask in masked_frames:
                    yield self._progress.update(frame.index, self._previews(self._render(video, frame, mask)))
            except (GeneratorExit, KeyboardInterrupt, SystemExit):
                ending = True
                for frame, mask in masked_frames:  # the video includes frames tracked ahead
                    self._render(video, frame, mask)
                raise
        self._status.audio = video.audio

    def _masked_frames(self, should_stop: Callable[[], bool]) -> Generator[tuple[Frame, Image], None, None]:
        """All frames with their masks: existing ones, and tracked ones until the run is stopped."""
        tracker: MaskTracker | None = None

        def tracker_for(frame: Frame) -> MaskTracker | None:
            nonlocal tracker
            if not self._status.stopped:
                tracker = tracker or self._trackers.tracker_at(frame.index, 1)
            return None if self._status.stopped else tracker

        tracked = track_frames(
            self._timer.timed("read", self._request.reader),
            tracker_for,
            self._request.settings,
            self._request.input_masks,
            encoder=self._encoder,
            skip=self._store,
            timer=self._timer,
        )
        with closing(tracked):
            for frame, new_mask in tracked:
                if new_mask is not None and tracker is not None:
                    self._keep(frame.index, new_mask, tracker)
                    self._trackers.store_regularly(tracker, 1)
                    mask = new_mask
                elif frame.index in self._store:
                    tracker = None
                    mask = self._store.mask(frame.index)
                elif frame.index > self._store.last:
                    return
                else:
                    continue
                yield frame, mask
                if not self._status.stopped and self._incomplete and should_stop():
                    self._status.stopped = True
                    if tracker is not None:
                        with self._timer.stage("write"):
                            self._memories.save(tracker.memory.stored(), 1)

    def _keep(self, index: int, mask: Image, tracked: MaskTracker | TrackedFrame) -> None:
        """Stores the mask of a tracked frame."""
        with self._timer.stage("write"):
            self._store.keep(index, mask, tracked.confidence)
        self._progress.tracked(index)
        self._status.short_of_memory |= tracked.short_of_memory

    def _render(self, video: VideoWriter, frame: Frame, mask: Image) -> Image:
        with self._timer.stage("render"):
            self._preview = overlay(frame.image, mask, self._request.overlay_style)
        with self._timer.stage("write"):
            video.write(self._preview, frame.time, frame.duration)
        self._progress.rendered += 1
        return self._preview

    def _count_video_frames(self, video: VideoWriter) -> None:
        self._status.frames_in_video = video.frames_in_file or self._status.frames_in_video

    def _finish(self) -> None:
        try:
            with self._timer.stage("write"):
                self._store.close(self._request.names)
        except (OSError, ResourceError) as error:
            self._status.error = self._status.error or _message(error)
            raise
        finally:
            with suppress(OSError, ResourceError):  # then the receipt of a killed run remains
                self._write_receipt(self._status.end)

    def _write_receipt(self, end: str) -> None:
        self._status.masks_written = len(self._store)
        seconds = {**self._timer.seconds, "in_all": round(self._progress.seconds, 3)}
        self._result.write_receipt(receipt_document(self._request, self._identity, self._status, end, seconds))


def _message(error: Exception) -> str:
    """The message of an error for the receipt, which is passed on: without paths of this machine."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return text or type(error).__name__
