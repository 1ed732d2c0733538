"""Synthetic clips, and the running page."""

from __future__ import annotations

import math
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

Image = NDArray[np.uint8]
ROOT = Path(__file__).parent.parent

TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--master-port",
    "0",
    "--standalone",
]


def scene(t: int, height: int = 96, width: int = 128, speed: float = 2.0) -> tuple[Image, Image]:
    """A textured disk that moves over a textured ground: the frame and its exact mask."""
    rng = np.random.default_rng(0)
    grain = rng.integers(30, 130, (height // 5, width // 5, 3), dtype=np.uint8)
    ground = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    coat = cv2.resize(rng.integers(90, 255, (13, 13, 3), dtype=np.uint8), (64, 64), interpolation=cv2.INTER_LINEAR)
    coat[..., 2] = 20
    x, y = 36 + round(speed * t), height // 2 + round(4 * math.sin(t / 5))
    rows, columns = np.mgrid[:height, :width]
    inside = (columns - x) ** 2 + (rows - y) ** 2 < 28**2
    frame = ground.copy()
    frame[inside] = coat[(rows - y + 32)[inside] % 64, (columns - x + 32)[inside] % 64]
    return np.asarray(frame, np.uint8), inside.astype(np.uint8)


def overlap(one: Image, other: Image) -> float:
    """Intersection over union of two masks."""
    union = ((one > 0) | (other > 0)).sum()
    return float(((one > 0) & (other > 0)).sum() / union) if union else 1.0


def write_clip(
    path: Path,
    frames: list[Image],
    *,
    fps: int = 25,
    times: list[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sound: str | None = None,
) -> Path:
    """A clip of the given frames; ``times`` in milliseconds makes its frame rate vary."""
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=fps))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        base = Fraction(1, 1000) if times else Fraction(1, fps)
        stream.codec_context.time_base = base
        audio = cast(av.AudioStream, container.add_stream(sound, rate=44_100, layout="mono")) if sound else None
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.time_base = base
            picture.pts = times[index] if times else index
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if audio:
            seconds = (times[-1] / 1000 if times else len(frames) / fps) + 0.04
            tone = np.sin(np.arange(int(seconds * 44_100)) * 0.06).astype(np.float32)
            for start in range(0, len(tone), 1024):
                part = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 44_100, start, Fraction(1, 44_100)
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return path


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Limits files written by this process to a size [bytes]: a write beyond it fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or "/usr/bin/chromium"


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """A real Chromium."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", *flags],
        )
        yield started
        started.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of the scene with sound."""
    return write_clip(tmp_path / "clip.mp4", [scene(t)[0] for t in range(12)], sound="aac")


@pytest.fixture
def first_mask() -> Image:
    """The mask of the scene's first frame."""
    return scene(0)[1]


@pytest.fixture(scope="session")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as a user starts it."""
    with serve(tmp_path_factory.mktemp("page")) as url:
        yield url


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Starts the page in a process of its own, on this machine only; yields its address. Files go into a folder."""
    with serve_process(folder, {}) as (url, _):
        yield url


@contextmanager
def serve_process(folder: Path, variables: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """As ``serve``, with variables of the environment; yields the address and the process's number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_MCP_SERVER": "True",
        **variables,
    }
    url = f"http://127.0.0.1:{port}/"
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while True:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log.txt").read_text()
            try:
                with urllib.request.urlopen(url, timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(20)
