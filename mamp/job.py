"""A clip and its first masks in; overlaid video, masks and receipt out. Every door of the project goes through here."""

from __future__ import annotations

import json
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mamp.encoder import PATCH, SHIPPED_WEIGHTS, EncoderFunction, file_sha256, load_encoder
from mamp.flow import RAFT_WEIGHTS, FlowFunction, dis_flow, raft_flow
from mamp.masks import MaskError, read_mask, write_mask
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
        masks: By frame number: label maps (H, W) uint8 of the clip's size, or mask files.
        out_dir: Gets ``overlay.mp4``, ``masks/``, ``masks.zip`` and ``receipt.json``.
        settings: The paper's if not given.
        should_stop: Asked at every frame.
        encoder: Used instead of loading one.

    Yields:
        An update after each frame; the last one carries the result.

    Raises:
        VideoError: The clip cannot be read.
        MaskError: A mask cannot be read, has another size than the clip, names no object, or is for no frame of it.
        WeightsError: The weights cannot be loaded.
    """
    settings = settings or Settings()
    clock = _Stages()
    with clock.stage("read"):
        reader = VideoReader(clip)
        given = _checked(masks, reader)
    run = _Run(
        reader,
        given,
        Path(out_dir),
        settings,
        clock,
        encoder or load_encoder(settings.weights, device=_device(settings)),
    )
    yield from run.updates(should_stop)


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
    ) -> None:
        self.reader, self.given, self.out, self.settings, self.clock = reader, given, out, settings, clock
        self.encoder = encoder
        self.flow = _flow(settings)
        self.size = (reader.info.height, reader.info.width)
        self.processed = _processing_size(self.size, settings.short_side)
        self.masks_dir = out / "masks"
        self.done = 0
        self.began = time.monotonic()
        self.shown = 0.0

    def updates(self, should_stop: Callable[[], bool]) -> Iterator[Update]:
        """Works through the clip; see ``segment_video``."""
        self.masks_dir.mkdir(parents=True, exist_ok=True)
        for old in self.masks_dir.glob("*.png"):
            old.unlink()
        first, total = min(self.given), self.reader.count()
        stopped = False
        tracker = self._tracker()
        finished, written, last = 0, 0, first
        try:
            for age, frame in enumerate(self.reader.backwards(first) if first else ()):
                if stopped := should_stop():
                    break
                mask = self._step(tracker, frame.image, self.given[first] if age == 0 else None)
                if age:  # the frame of the mask itself is the first of the way forwards
                    write_mask(self._mask_path(frame.index), mask)
                    self.done += 1
                    last = frame.index
                    yield self._update(frame.index, total, frame.image, mask)
            tracker = self._tracker()
            with VideoWriter(self.out / "overlay.mp4", self.reader) as video:
                for frame in self.clock.timed("read", self.reader):
                    if frame.index < first:
                        path = self._mask_path(frame.index)
                        mask = read_mask(path) if path.exists() else np.zeros(self.size, np.uint8)
                        if not path.exists():
                            write_mask(path, mask)
                    elif stopped or (stopped := should_stop()):
                        break
                    else:
                        mask = self._step(tracker, frame.image, self.given.get(frame.index))
                        with self.clock.stage("write"):
                            write_mask(self._mask_path(frame.index), mask)
                        self.done += 1
                        last = frame.index
                    with self.clock.stage("render"):
                        picture = overlay(frame.image, mask)
                    with self.clock.stage("write"):
                        video.write(frame, picture)
                    written += 1
                    if frame.index >= first:
                        yield self._update(frame.index, total, frame.image, mask)
            finished = written
        finally:
            result = self._finish(stopped or finished < total)
        yield Update(last, self.done, total, self._fps(), 0.0, None, result)

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
            if self.processed != self.size:
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
                if mask is not None:
                    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
            return tracker.step(image, mask, size=self.size)

    def _mask_path(self, index: int) -> Path:
        return self.masks_dir / f"{self.reader.name(index)}.png"

    def _fps(self) -> float:
        return self.done / max(1e-6, time.monotonic() - self.began)

    def _update(self, index: int, total: int, image: Image, mask: Image) -> Update:
        now = time.monotonic()
        preview = None
        if now - self.shown >= _PREVIEW_SECONDS:
            preview, self.shown = overlay(image, mask), now
        return Update(index, self.done, total, self._fps(), (total - self.done) / self._fps(), preview)

    def _finish(self, stopped: bool) -> Result:
        names = sorted(self.masks_dir.glob("*.png"))
        archive, receipt = self.out / "masks.zip", self.out / "receipt.json"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:  # PNGs are compressed already
            for name in names:
                file.write(name, f"masks/{name.name}")
        video = self.out / "overlay.mp4"
        in_video = VideoReader(video).count() if video.exists() and names else 0
        info, settings = self.reader.info, self.settings
        receipt.write_text(
            json.dumps(
                {
                    "clip": self.reader.path.name,
                    "frames_in_clip": self.reader.count(),
                    "masks_written": len(names),
                    "frames_in_video": in_video,
                    "stopped": stopped,
                    "damage": self.reader.damage,
                    "size": [info.width, info.height],
                    "processed_size": list(reversed(self.processed)),
                    "fps": str(info.fps),
                    "time_base": str(info.time_base),
                    "rotation": info.rotation,
                    "codec": info.codec,
                    "pixel_format": info.pixel_format,
                    "audio": info.has_audio,
                    "masks_given": sorted(self.given),
                    "settings": asdict(settings),
                    "weights_sha256": _weights_hash(settings),
                    "seconds": {**self.clock.seconds, "in_all": round(time.monotonic() - self.began, 3)},
                },
                indent=2,
            )
            + "\n"
        )
        return Result(video, self.masks_dir, archive, receipt, len(names), stopped)


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

    def timed(self, name: str, items: VideoReader) -> Iterator[Frame]:
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
        mask = read_mask(source) if isinstance(source, str | Path) else source
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


def _weights_hash(settings: Settings) -> str | None:
    path = Path(settings.weights or SHIPPED_WEIGHTS)
    return file_sha256(path) if settings.weights != PATCH and path.is_file() else None
