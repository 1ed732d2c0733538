"""A clip and its first masks in; overlaid video, masks and receipt out. Every door of the project goes through here."""

from __future__ import annotations

import json
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mamp.encoder import PATCH, SHIPPED_WEIGHTS, EncoderFunction, file_sha256, load_encoder, resolve_weights
from mamp.flow import RAFT_WEIGHTS, FlowFunction, dis_flow, raft_flow
from mamp.masks import MaskError, correct_mask, read_mask, write_mask
from mamp.memory import LONG_TERM, SHORT_TERM
from mamp.render import overlay
from mamp.tracker import MaskTracker
from mamp.video import Frame, VideoReader, VideoWriter

Image = NDArray[np.uint8]

_PREVIEW_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """How a clip is processed. The defaults are the paper's; ``short_side`` is what decides the time it takes."""

    short_side: int = 480  # [pixels]; 0 for the clip's own; never enlarged
    flow: str = "dis"  # "dis", "raft" or "none"
    device: str = "auto"
    top_k: int | None = 36
    radius: int = 12  # [cells]
    long_term: tuple[int, ...] = LONG_TERM
    short_term: tuple[int, ...] = SHORT_TERM
    weights: str | None = None  # None for the shipped ones, "patch" for none at all
    raft_weights: str = RAFT_WEIGHTS


@dataclass(frozen=True)
class Result:
    """What a run has written."""

    overlay: Path
    masks_dir: Path
    masks_zip: Path
    receipt: Path
    frames: int
    stopped: bool


@dataclass(frozen=True)
class Update:
    """Where a run stands after a frame."""

    frame: int  # the number of the frame just finished
    done: int
    frames_total: int
    fps: float  # frames finished a second
    seconds_left: float
    preview: Image | None = None  # RGB (H, W, 3), about once a second
    result: Result | None = None  # on the last update only


def segment_video(
    clip: str | Path,
    masks: Mapping[int, Image | str | Path],
    out_dir: str | Path,
    settings: Settings | None = None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    encoder: EncoderFunction | None = None,
) -> Iterator[Update]:
    """Follows objects through a clip; streams, so memory does not grow with its length.

    Frames before the first given mask are tracked backwards from it, first. Whatever ends the run early, what was done
    is kept: a playable overlay, the masks so far, and the receipt.

    Args:
        clip: A video file or a folder of frames.
        masks: By frame number: label maps (H, W) uint8 of the clip's size, or mask files, which may be of another.
        out_dir: Gets ``overlay.mp4``, ``masks/``, ``masks.zip`` and ``receipt.json``.
        settings: The paper's if not given.
        should_stop: Asked at every frame.
        encoder: Used instead of loading one.

    Yields:
        An update after each frame; the last one carries the result.

    Raises:
        VideoError: The clip cannot be read.
        MaskError: A mask cannot be read, does not fit the clip, names no object, or is for no frame of it.
        WeightsError: The weights cannot be loaded.
    """
    settings = settings or Settings()
    clock = _Stages()
    with clock.stage("read"):
        reader = VideoReader(clip)
        given = _checked(masks, reader)
    with clock.stage("load"):
        loaded = encoder or load_encoder(settings.weights, device=_device(settings))
        weights = _weights(settings) if encoder is None else {"weights": "given by the caller", "weights_sha256": None}
    yield from _Run(reader, given, Path(out_dir), settings, clock, loaded, weights).updates(should_stop)


class _Run:
    """One run: its trackers, its files and its clock."""

    def __init__(
        self,
        reader: VideoReader,
        given: dict[int, Image],
        out: Path,
        settings: Settings,
        clock: _Stages,
        encoder: EncoderFunction,
        weights: dict[str, str | None],
    ) -> None:
        self.reader, self.given, self.out, self.settings, self.clock = reader, given, out, settings, clock
        self.encoder, self.weights = encoder, weights
        self.flow = _flow(settings)
        self.size = (reader.info.height, reader.info.width)
        self.processed = _processing_size(self.size, settings.short_side)
        self.masks_dir = out / "masks"
        self.first, self.total = min(given), reader.count()
        self.masked: set[int] = set()  # frames whose mask is written
        self.rendered = 0
        self.stopped = False
        self.sound: str | None = None
        self.error: str | None = None
        self.began = time.monotonic()
        self.shown = 0.0
        self.preview: Image | None = None
        self.last: Update | None = None

    def updates(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Works through the clip; see ``segment_video``."""
        self._clear()
        try:
            yield from self._backwards(should_stop)
            yield from self._forwards(should_stop)
        except Exception as error:
            self.error = str(error) or type(error).__name__
            raise
        finally:
            # A run that is closed or fails on its way backwards has masks, but no video yet.
            self.stopped = self.stopped or len(self.masked) < self.total
            if self.rendered < len(self.masked):
                self.stopped = True
                with suppress(ValueError, OSError):
                    for _ in self._forwards(lambda: True):
                        pass
            result = self._finish()
        assert self.last is not None
        yield replace(self.last, seconds_left=0.0, preview=self.preview, result=result)

    def _clear(self) -> None:
        """Takes away the masks of a former run, and never anything else."""
        self.masks_dir.mkdir(parents=True, exist_ok=True)
        old = list(self.masks_dir.glob("*.png"))
        if old and not (self.out / "receipt.json").exists():
            raise MaskError(f"The folder {self.out.name} holds masks that no run has written; choose another one.")
        for path in old:
            path.unlink()

    def _backwards(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Masks of the frames up to the first given one, last first; the video follows on the way forwards."""
        if self.first == 0:
            return
        tracker = self._tracker()
        for frame in self.clock.timed("read", self.reader.backwards(self.first)):
            mask = self._step(tracker, frame.image, self.given[self.first] if frame.index == self.first else None)
            self._write_mask(frame.index, mask)
            yield self._update(frame.index, frame.image, mask)
            if should_stop():
                self.stopped = True
                return

    def _forwards(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """The video, and the masks from the first given one on. Once stopped: the video of the masks there are."""
        tracker = self._tracker()
        self.rendered = 0
        with VideoWriter(self.out / "overlay.mp4", self.reader, self.size) as video:
            for frame in self.clock.timed("read", self.reader):
                known = frame.index < self.first or self.stopped
                if known and frame.index not in self.masked:
                    if frame.index > self.first:
                        break
                    continue
                if known:
                    mask = read_mask(self._mask_path(frame.index))
                else:
                    mask = self._step(tracker, frame.image, self.given.get(frame.index))
                    self._write_mask(frame.index, mask)
                with self.clock.stage("render"):
                    picture = overlay(frame.image, mask)
                with self.clock.stage("write"):
                    video.write(picture, frame.time, frame.duration)
                self.rendered += 1
                self.preview = picture
                yield self._update(frame.index, picture)
                if not known and should_stop():
                    self.stopped = True
        self.sound = video.sound

    def _tracker(self) -> MaskTracker:
        settings = self.settings
        return MaskTracker(
            self.encoder,
            radius=settings.radius,
            top_k=settings.top_k,
            long_term=settings.long_term,
            short_term=settings.short_term,
            flow=self.flow,
        )

    def _step(self, tracker: MaskTracker, image: Image, mask: Image | None) -> Image:
        with self.clock.stage("track"):
            height, width = self.processed
            small = mask
            if self.processed != self.size:
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
                if mask is not None:
                    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
            answer = tracker.step(image, small, size=self.size)
            return answer if mask is None else correct_mask(answer, mask)  # as sharp as it was given

    def _mask_path(self, index: int) -> Path:
        return self.masks_dir / f"{self.reader.name(index)}.png"

    def _write_mask(self, index: int, mask: Image) -> None:
        with self.clock.stage("write"):
            write_mask(self._mask_path(index), mask)
        self.masked.add(index)

    def _update(self, index: int, image: Image, mask: Image | None = None) -> Update:
        """An update, about once a second with the picture: the overlay, or a frame and its mask to make it of."""
        now = time.monotonic()
        shown = None
        if now - self.shown >= _PREVIEW_SECONDS:
            shown, self.shown = image if mask is None else overlay(image, mask), now
        done = len(self.masked)
        fps = done / max(1e-6, now - self.began)
        self.last = Update(index, done, self.total, fps, (self.total - done) / fps, shown)
        return self.last

    def _finish(self) -> Result:
        names = [self._mask_path(index) for index in sorted(self.masked)]
        archive, receipt, video = self.out / "masks.zip", self.out / "receipt.json", self.out / "overlay.mp4"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:  # PNGs are compressed already
            for name in names:
                file.write(name, f"masks/{name.name}")
        info = self.reader.info
        with self.clock.stage("count"):
            in_video = VideoReader(video).count() if self.rendered else 0
        document = {
            "clip": self.reader.path.name,
            "end": "failed" if self.error else "stopped" if self.stopped else "complete",
            "error": self.error,
            "damage": self.reader.damage,
            "frames_in_clip": self.total,
            "frames_decoded": len(self.masked),
            "masks_written": len(names),
            "frames_in_video": in_video,
            "size": [info.width, info.height],
            "processed_size": list(reversed(self.processed)),
            "fps": str(info.fps),
            "time_base": str(info.time_base),
            "rotation": info.rotation,
            "codec": info.codec,
            "pixel_format": info.pixel_format,
            "audio": self.sound,
            "masks_given": sorted(self.given),
            "objects": sorted({int(label) for mask in self.given.values() for label in np.unique(mask) if label}),
            "settings": asdict(self.settings),
            **self.weights,
            "seconds": {**self.clock.seconds, "in_all": round(time.monotonic() - self.began, 3)},
        }
        receipt.write_text(json.dumps(document, indent=2) + "\n")
        return Result(video, self.masks_dir, archive, receipt, len(names), self.stopped)


class _Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in self._seconds.items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] += time.monotonic() - began

    def timed(self, name: str, items: Iterable[Frame]) -> Iterator[Frame]:
        source = iter(items)
        while True:
            with self.stage(name):
                item = next(source, None)
            if item is None:
                return
            yield item


def _checked(masks: Mapping[int, Image | str | Path], reader: VideoReader) -> dict[int, Image]:
    """The given masks as label maps of the clip's size."""
    if not masks:
        raise MaskError("Give a mask for at least one frame.")
    given = {}
    wanted = (reader.info.height, reader.info.width)
    for number, source in masks.items():
        mask = read_mask(source, wanted) if isinstance(source, str | Path) else source
        if not 0 <= number < reader.count():
            raise MaskError(f"A mask is given for frame {number}, but the clip has frames 0 to {reader.count() - 1}.")
        if mask.shape != wanted:
            raise MaskError(
                f"The mask of frame {number} is {mask.shape[1]}x{mask.shape[0]}, but the clip is {wanted[1]}x{wanted[0]}."
            )
        if not mask.any():
            raise MaskError(f"The mask of frame {number} names no object.")
        given[number] = mask
    return given


def _processing_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    scale = min(1.0, short_side / min(size)) if short_side else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def default_device() -> str:
    """CUDA where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device(settings: Settings) -> str:
    return default_device() if settings.device == "auto" else settings.device


def _flow(settings: Settings) -> FlowFunction | None:
    if settings.flow == "none":
        return None
    return raft_flow(settings.raft_weights, device=_device(settings)) if settings.flow == "raft" else dis_flow


def _weights(settings: Settings) -> dict[str, str | None]:
    """Which weights, for the receipt."""
    if settings.weights == PATCH:
        return {"weights": PATCH, "weights_sha256": None}
    path = resolve_weights(settings.weights or SHIPPED_WEIGHTS)
    return {"weights": settings.weights or path.name, "weights_sha256": file_sha256(path)}
