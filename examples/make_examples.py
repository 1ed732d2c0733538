"""Makes the example clips: two cut from Debian's opencv-doc (Apache-2.0), one rendered here.

Run with the package opencv-doc installed: ``python examples/make_examples.py``. First masks come from GrabCut inside a box.
"""

from __future__ import annotations

import gzip
import math
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mamp import VideoReader, write_mask

HERE = Path(__file__).parent
DOC = Path("/usr/share/doc/opencv-doc")
Image = NDArray[np.uint8]


def write(name: str, frames: Iterator[Image], fps: int) -> None:
    """Writes one clip as H.264."""
    with av.open(str(HERE / f"{name}.mp4"), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "23", "preset": "slow"})
        stream.pix_fmt = "yuv420p"
        for index, frame in enumerate(frames):
            if index == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def cut(path: Path, start: int, count: int, size: tuple[int, int]) -> Iterator[Image]:
    """Some frames of a clip, shrunk to (W, H)."""
    for frame in VideoReader(path):
        if frame.index >= start + count:
            return
        if frame.index >= start:
            yield np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)


def boxes_to_mask(frame: Image, boxes: list[tuple[int, int, int, int]]) -> Image:
    """GrabCut inside each box (x, y, width, height): one object a box."""
    mask = np.zeros(frame.shape[:2], np.uint8)
    for label, box in enumerate(boxes, start=1):
        kind = np.zeros(frame.shape[:2], np.uint8)
        cv2.grabCut(frame, kind, box, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_RECT)
        inside = np.isin(kind, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
        mask[(inside > 0) & (mask == 0)] = label
    return mask


def shapes(frames: int = 60, height: int = 240, width: int = 416) -> Iterator[tuple[Image, Image]]:
    """Three textured shapes crossing a moving textured ground, with their exact masks."""
    rng = np.random.default_rng(7)

    def texture(low: tuple[int, int, int], high: tuple[int, int, int], grain: int) -> Image:
        noise = rng.random((2 * height // grain, 2 * width // grain, 3)).astype(np.float32)
        smooth = np.clip(cv2.resize(noise, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC), 0, 1)
        return (np.array(low) + smooth * (np.array(high) - np.array(low))).astype(np.uint8)

    ground = texture((40, 60, 40), (130, 150, 110), 12)
    coats = [
        texture((180, 60, 20), (255, 150, 60), 6),
        texture((20, 70, 150), (90, 170, 255), 5),
        texture((150, 130, 20), (250, 240, 120), 4),
    ]
    y, x = np.mgrid[:height, :width]
    for t in range(frames):
        shift = round(0.8 * t)
        frame, mask = ground[20 : 20 + height, shift : shift + width].copy(), np.zeros((height, width), np.uint8)
        paths = (
            (70 + 4.2 * t, 90 + 25 * math.sin(t / 9), 44),
            (340 - 3.6 * t, 150 + 12 * math.cos(t / 7), 38),
            (200 + 60 * math.sin(t / 14), 190 - 1.2 * t, 26),
        )
        for label, ((cx, cy, radius), coat) in enumerate(zip(paths, coats, strict=True), start=1):
            if label == 2:
                inside = np.maximum(np.abs(x - cx), np.abs(y - cy)) < radius * 0.8
            else:
                inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
            moved = np.roll(coat, (round(cy), round(cx)), axis=(0, 1))[:height, :width]
            frame[inside], mask[inside] = moved[inside], label
        yield frame, mask


def main() -> None:
    """Makes all three."""
    write("street", cut(DOC / "examples/data/vtest.avi", *STREET, (512, 384)), 10)
    with tempfile.TemporaryDirectory() as folder:
        cup = Path(folder) / "cup.mp4"
        cup.write_bytes(gzip.decompress((DOC / "opencv4/html/cup.mp4.gz").read_bytes()))
        write("cup", cut(cup, *CUP, (480, 360)), 27)
    rendered = list(shapes())
    write("shapes", (frame for frame, _ in rendered), 25)
    write_mask(HERE / "shapes.png", rendered[0][1])
    for name, boxes in BOXES.items():
        frame = VideoReader(HERE / f"{name}.mp4").frame(0).image
        mask = boxes_to_mask(frame, boxes)
        if name == "cup":  # the thumb that lies on the black cup belongs to the hand
            mask[(mask == 1) & (frame[..., 0].astype(int) - frame[..., 2] > 40)] = 2
        write_mask(HERE / f"{name}.png", mask)


STREET, CUP = (100, 60), (0, 75)  # first frame, number of frames
BOXES: dict[str, list[tuple[int, int, int, int]]] = {
    "street": [(230, 132, 26, 54), (391, 99, 24, 59), (327, 95, 35, 53)],
    "cup": [(226, 90, 88, 202), (265, 125, 214, 100)],
}

if __name__ == "__main__":
    main()
