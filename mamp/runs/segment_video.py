"""A clip and its first masks in; overlaid video, masks and receipt out. Every door of the project goes through here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamp.files import as_resource_error
from mamp.masks.label_map import MaskError, merge_input_mask, objects_in, resize_mask
from mamp.masks.mask_io import read_input_masks, write_mask
from mamp.masks.overlay import OverlayStyle, overlay
from mamp.model.encoder import EncoderFunction, device_of
from mamp.prefetch import prefetched, with_next
from mamp.runs.incremental import clip_sha256, reusable_frames
from mamp.runs.mask_store import MaskStore
from mamp.runs.progress import Progress, Update
from mamp.runs.results import Result
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.tracker import MaskTracker
from mamp.video.images import resize_frame
from mamp.video.reader import Frame, VideoReader
from mamp.video.writer import VideoWriter

Image = NDArray[np.uint8]

OUTPUTS = ("masks", "video")


def segment_video(
    clip: str | Path,
    masks: Mapping[int, Image | str | Path],
    out_dir: str | Path,
    settings: Settings | None = None,
    *,
    names: Mapping[int, str] | None = None,
    previous: str | Path | None = None,
    overlay_style: OverlayStyle | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    encoder: EncoderFunction | None = None,
    outputs: Collection[str] = OUTPUTS,
) -> Generator[Update, None, None]:
    """Follows objects through a clip; streams, so memory does not grow with its length.

    Frames before the first given mask are tracked backwards from it, first. Whatever ends the run early, what was done
    is kept: a playable overlay, the masks so far, and the receipt.

    Args:
        clip: A video file or a folder of frames.
        masks: By frame number: label maps (H, W) uint8 of the clip's size, or mask files, which may be of another.
        out_dir: Gets what ``Result`` names.
        settings: The paper's if not given.
        names: Of the objects, by label, for the files.
        previous: Folder of an earlier run of this clip with these settings, stopped or whole: only frames that it lacks, or
            that other masks touch, are computed anew.
        overlay_style: How the objects are laid over the frames.
        should_stop: Asked at every frame.
        encoder: Used instead of loading one.
        outputs: "masks", "video" or both. With a short GPU allocation, run "masks" part by part, each resuming from the
            ``previous`` one, then "video" for all of them without a GPU.

    Yields:
        An update after each frame; the last one carries the result.

    Raises:
        VideoError: The clip cannot be read.
        MaskError: A mask cannot be read, does not fit the clip, names no object, or is for no frame of it; or there is
            no earlier run in ``previous``.
        WeightsError: The weights cannot be loaded.
    """
    settings = settings or Settings()
    earlier = None if previous is None else Result(Path(previous))
    if earlier is not None:
        if earlier.folder.resolve() == Path(out_dir).resolve():
            raise MaskError("An earlier run must be in another folder than the new one.")
        _ = earlier.receipt  # before anything in the new folder is touched
    clock = StageTimer()
    with clock.stage("read"):
        reader = VideoReader(clip)
        size = (reader.info.height, reader.info.width)
        given = read_input_masks(masks, size, reader.count())
        fingerprint = clip_sha256(reader.path)
    with clock.stage("load"):
        loaded = encoder or settings.encoder()
    receipt = {
        "clip_sha256": fingerprint,
        "size": [size[1], size[0]],
        "processed_size": list(reversed(settings.processing_size(size))),
        "settings": json.loads(json.dumps(asdict(settings))),
        **getattr(loaded, "origin", {"weights": "given by the caller", "weights_sha256": None}),
    }
    run = _Run(
        reader,
        given,
        Result(Path(out_dir)),
        settings,
        clock,
        loaded,
        receipt,
        dict(names or {}),
        overlay_style,
        outputs,
    )
    if earlier is not None:
        run.reuse_frames(earlier)
    yield from run.updates(should_stop)


class _Run:
    """One run: its trackers, its files and its clock."""

    def __init__(
        self,
        reader: VideoReader,
        given: dict[int, Image],
        result: Result,
        settings: Settings,
        clock: StageTimer,
        encoder: EncoderFunction,
        receipt: dict[str, Any],
        names: dict[int, str],
        overlay_style: OverlayStyle | None,
        outputs: Collection[str],
    ) -> None:
        self.reader, self.given, self.result, self.settings, self.clock = reader, given, result, settings, clock
        self.encoder, self.receipt, self.names, self.overlay_style, self.outputs = (
            encoder,
            receipt,
            names,
            overlay_style,
            outputs,
        )
        self.device, self.flow = device_of(encoder), settings.flow_function()
        self.size = (reader.info.height, reader.info.width)
        self.processed = settings.processing_size(self.size)
        self.first, self.total = min(given), reader.count()
        self.record = MaskStore(result, reader)
        self.frames_reused = 0
        self.progress = Progress(self.record, self.total, overlay_style)
        self.stopped = self.short_of_memory = False
        self.sound: str | None = None
        self.error: str | None = None
        self.preview: Image | None = None
        self.result.clear()
        for index, mask in given.items():
            write_mask(result.input_masks_dir / f"{index:06d}.png", mask)

    def reuse_frames(self, previous: Result) -> None:
        """Takes over the masks of an earlier run that still stand."""
        names = {index: self.reader.name(index) for index in range(self.total)}
        still_stand = reusable_frames(previous, names, self.given, self.receipt)
        with self.clock.stage("write"):
            self.record.reuse_frames(previous, still_stand)
        self.frames_reused = len(still_stand)

    def updates(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Works through the clip; see ``segment_video``."""
        # Of a run that is killed this is what is left, beside its masks: enough for the next one to go on.
        self.record.write_object_frames()
        self._write_receipt("killed")
        self.stopped = "masks" not in self.outputs and len(self.record) < self.total
        try:
            if not self.stopped:
                yield from self._backwards(should_stop)
            yield from self._forwards(should_stop)
        except Exception as error:
            told = as_resource_error(error)
            self.error = str(told or error) or type(error).__name__
            if told is not None:
                raise told from error
            raise
        finally:
            # A run that is closed or fails on its way backwards has masks, but no video yet.
            self.stopped = self.stopped or len(self.record) < self.total
            if self.progress.rendered < len(self.record) and "video" in self.outputs:
                self.stopped = True
                with suppress(ValueError, OSError):
                    for _ in self._forwards(lambda: True):
                        pass
            self._finish()
        yield self.progress.last(self.first, self.preview, self.result)

    def _backwards(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Masks of the frames before the first given one, last first; the video follows on the way forwards."""
        if self.first not in self.record:
            given = self.given[self.first]
            with self.clock.stage("write"):
                self.record.keep(self.first, given, dict.fromkeys(objects_in(given), 1.0))
        missing = [index for index in range(self.first) if index not in self.record]
        if not missing:
            return
        tracker = self._tracker_at(max(missing), -1)
        with prefetched(self._shrunk_frames(self.reader.backwards(max(missing))), self.device) as frames:
            for (frame, small), after in with_next(frames):
                mask = self._step(tracker, frame, small, after[1] if after else None)
                yield self.progress.update(frame.index, frame.image, mask)
                if should_stop():
                    self.stopped = True
                    return

    def _forwards(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """The video, and the masks that are still missing. Once stopped: the video of the masks there are."""
        self.progress.rendered = 0
        ending = False
        with ExitStack() as opened:
            video: VideoWriter | None = None
            if "video" in self.outputs:
                video = opened.enter_context(VideoWriter(self.result.overlay, self.reader, self.size))
            frames = opened.enter_context(prefetched(self._shrunk_frames(self.reader, self.record), self.device))
            found = self._masked(frames, lambda: ending or should_stop())
            masked = opened.enter_context(prefetched(found, self.device))
            try:
                for frame, mask in masked:
                    if video is None:
                        yield self.progress.update(frame.index, frame.image, mask)
                    else:
                        yield self.progress.update(frame.index, self._render(video, frame, mask))
            except (GeneratorExit, KeyboardInterrupt, SystemExit):
                ending = True
                for frame, mask in masked:  # what was tracked ahead belongs into the video
                    if video is not None:
                        self._render(video, frame, mask)
                raise
        self.sound = video.audio if video else None

    def _masked(
        self, frames: Iterable[tuple[Frame, Image | None]], should_stop: Callable[[], bool]
    ) -> Generator[tuple[Frame, Image], None, None]:
        """The frames with their masks: those there are, and those that are tracked until the run is stopped."""
        missing_only = "video" not in self.outputs
        tracker: MaskTracker | None = None
        for (frame, small), after in with_next(frames):
            if frame.index in self.record:
                tracker = None
                if missing_only:
                    continue
                mask = self.record.mask(frame.index)
            elif not self.stopped:
                tracker = tracker or self._tracker_at(frame.index, 1)
                mask = self._step(tracker, frame, small, after[1] if after else None)
            elif missing_only or frame.index > self.record.last:
                return
            else:
                continue
            yield frame, mask
            if not self.stopped and len(self.record) < self.total and should_stop():
                self.stopped = True

    def _render(self, video: VideoWriter, frame: Frame, mask: Image) -> Image:
        with self.clock.stage("render"):
            self.preview = overlay(frame.image, mask, self.overlay_style)
        with self.clock.stage("write"):
            video.write(self.preview, frame.time, frame.duration)
        self.progress.rendered += 1
        return self.preview

    def _tracker_at(self, index: int, way: int) -> MaskTracker:
        """A tracker whose next frame is ``index``, on its way forwards (1) or backwards (-1) from the first given mask."""
        tracker = self.settings.tracker(self.encoder, self.flow)
        given = [t for t in self.given if (t - self.first) * way >= 0]
        asked = tracker.frames_to_restore(abs(index - self.first), [abs(t - self.first) for t in given])
        with self.clock.stage("track"):
            for frame in self._frames_before(index, way, None if tracker.chained else asked):
                t = abs(frame.index - self.first)
                mask = self.record.mask(frame.index) if t in asked else None
                tracker.restore_frame(
                    t,
                    resize_frame(frame.image, self.processed),
                    None if mask is None else resize_mask(mask, self.processed),
                    given=frame.index in given,
                )
        return tracker

    def _frames_before(self, index: int, way: int, asked: Iterable[int] | None) -> Iterator[Frame]:
        """Frames from the first given mask up to ``index``, without it: all of them, or some by their distance."""
        if asked is not None:
            yield from (self.reader.frame(self.first + way * t) for t in asked)
        elif index == self.first:
            return
        elif way > 0:
            yield from itertools.islice(self.reader, self.first, index)
        else:
            yield from itertools.takewhile(lambda frame: frame.index > index, self.reader.backwards(self.first))

    def _shrunk_frames(
        self, frames: Iterable[Frame], known: Container[int] = ()
    ) -> Iterator[tuple[Frame, Image | None]]:
        """Frames, and what they are at the size of processing; ``None`` for those that need not be tracked."""
        for frame in self.clock.timed("read", frames):
            with self.clock.stage("track"):
                small = None if frame.index in known else resize_frame(frame.image, self.processed)
            yield frame, small

    def _step(self, tracker: MaskTracker, frame: Frame, small: Image | None, coming: Image | None) -> Image:
        assert small is not None
        given = self.given.get(frame.index)
        with self.clock.stage("track"):
            told = None if given is None else resize_mask(given, self.processed)
            mask = tracker.step(small, told, output_size=self.size, next_frame=coming)
            if given is not None:
                mask = merge_input_mask(mask, given)  # as sharp as it was given
        with self.clock.stage("write"):
            self.record.keep(frame.index, mask, tracker.confidence)
        self.progress.tracked += 1
        self.short_of_memory |= tracker.short_of_memory
        return mask

    def _finish(self) -> None:
        in_video = 0
        try:
            with self.clock.stage("write"):
                self.record.close(self.names)
            with self.clock.stage("count"):
                in_video = VideoReader(self.result.overlay).count() if self.result.overlay.exists() else 0
        except OSError as error:
            told = as_resource_error(error) or error
            self.error = self.error or str(told)
            raise told from error
        finally:
            with suppress(OSError):  # that of the beginning stands then, and says that the run has not ended
                self._write_receipt("failed" if self.error else "stopped" if self.stopped else "complete", in_video)

    def _write_receipt(self, end: str, in_video: int = 0) -> None:
        info = self.reader.info
        document = {
            "clip": self.reader.path.name,
            **self.receipt,
            "end": end,
            "error": self.error,
            "damage": self.reader.damage,
            "short_of_memory": self.short_of_memory,
            "frames_in_clip": self.total,
            "frames_decoded": len(self.record),
            "masks_written": len(self.record),
            "masks_reused": self.frames_reused,
            "frames_in_video": in_video,
            "fps": str(info.fps),
            "time_base": str(info.time_base),
            "rotation": info.rotation,
            "codec": info.codec,
            "pixel_format": info.pixel_format,
            "audio": self.sound,
            "input_masks": sorted(self.given),
            "objects": sorted({label for mask in self.given.values() for label in objects_in(mask)}),
            "names": self.names,
            "seconds": {**self.clock.seconds, "in_all": round(self.progress.seconds, 3)},
        }
        self.result.write_receipt(document)
