"""Creates the example clips and their input masks; see README.md in this folder.

Four clips are cut from Debian's package ``opencv-doc``, one from the source package of imageio 2.22.3 on PyPI, and one is
rendered. Run it from the root of the project, with the first installed and the second unpacked:
``python -m examples.make_examples imageio-2.22.3``.
"""

from __future__ import annotations

import gzip
import math
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mamp import Settings, VideoReader, mask_from_strokes, segment_video, write_mask

HERE = Path(__file__).parent
OPENCV = Path("/usr/share/doc/opencv-doc")
SOUND_RATE = 44_100  # [Hz]

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x, y, width, height [pixels]

STREET_FRAMES, STREET_CROP = range(238, 276), (256, 130, 512, 384)
STREET_PEOPLE: list[Box] = [(180, 118, 62, 112), (340, 60, 62, 92), (396, 136, 62, 118)]
LAWN_FRAMES, LAWN_CROP = range(574, 620), (140, 276, 440, 300)
LAWN_PEOPLE: list[Box] = [(16, 136, 62, 164), (52, 62, 62, 142)]
CUP_FRAMES, CUP_SIZE = range(75), (480, 360)
BOX_FRAMES = range(114, 258, 2)
PEN: Box = (200, 209, 115, 24)
COCKATOO_FRAMES, COCKATOO_SIZE = range(201, 280), (512, 288)
# Strokes as a visitor would paint them: 1 for the bird, 255 for the background [pixels].
COCKATOO_STROKES: dict[int, list[list[tuple[int, int]]]] = {
    1: [
        [(150, 270), (165, 190), (200, 130), (215, 60), (290, 25), (350, 30), (366, 80), (360, 120), (310, 225)],
        [(240, 108), (235, 165), (290, 150), (240, 270), (345, 270)],
    ],
    255: [
        [(60, 60), (80, 200)],
        [(460, 20), (480, 120), (395, 150), (390, 275)],
        [(10, 275), (80, 277)],
        [(160, 5), (184, 34), (190, 12), (225, 12)],
    ],
}


def main() -> None:
    """Creates all clips, and their results for the page."""
    recording = OPENCV / "examples/data/vtest.avi"
    scenes = (("street", STREET_FRAMES, STREET_CROP, STREET_PEOPLE), ("lawn", LAWN_FRAMES, LAWN_CROP, LAWN_PEOPLE))
    for name, frames, crop, people in scenes:
        write_clip(name, [_crop(frame, crop) for frame in _frames(recording, frames)], fps=10)
        empty = np.median([_crop(frame, crop) for frame in _frames(recording, range(0, 700, 20))], axis=0)
        write_mask(HERE / f"{name}.png", people_in_boxes(_decoded(name), empty.astype(np.uint8), people))

    cup = [_shrink(frame, CUP_SIZE) for frame in _frames_of_documentation("cup.mp4", CUP_FRAMES)]
    write_clip("cup", cup, fps=27, quarter_turns=1)
    write_mask(HERE / "cup.png", cup_and_hand(_decoded("cup")))
    write_clip("box", _frames_of_documentation("box.mp4", BOX_FRAMES), fps=15)
    write_mask(HERE / "box.png", box_and_pen(_decoded("box")))

    shapes = list(render_shapes())
    write_clip("shapes", [frame for frame, _ in shapes], fps=25, sound=plucks(len(shapes) / 25))
    write_mask(HERE / "shapes.png", shapes[0][1])

    cockatoo = Path(sys.argv[1]) / "imageio/resources/images/cockatoo.mp4"
    write_clip("cockatoo", [_shrink(frame, COCKATOO_SIZE) for frame in _frames(cockatoo, COCKATOO_FRAMES)], fps=20)
    write_mask(HERE / "cockatoo.png", stroked(_decoded("cockatoo"), COCKATOO_STROKES))

    for name in ("street", "lawn", "cup", "box", "cockatoo", "shapes"):
        for _ in segment_video(HERE / f"{name}.mp4", {0: HERE / f"{name}.png"}, HERE / "results" / name, Settings()):
            pass


def write_clip(
    name: str, frames: list[Image], *, fps: int, quarter_turns: int = 0, sound: NDArray[np.float32] | None = None
) -> None:
    """Writes H.264 video, with optional AAC audio.

    Args:
        name: File name without suffix.
        frames: RGB (H, W, 3), upright.
        fps: Frames per second.
        quarter_turns: Rotation of the stored frames, with metadata that players rotate them back by, as of a phone.
        sound: Mono samples in [-1, 1] at 44.1 kHz.
    """
    with av.open(str(HERE / f"{name}.mp4"), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "23", "preset": "slow"})
        stream.pix_fmt = "yuv420p"
        stored = [np.ascontiguousarray(np.rot90(frame, quarter_turns)) for frame in frames]
        stream.height, stream.width = stored[0].shape[:2]
        if quarter_turns:
            stream.set_display_rotation(-90 * quarter_turns)
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound is not None else None
        for frame in stored:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
        if audio is not None and sound is not None:
            for start in range(0, len(sound), 1024):
                part = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))


def people_in_boxes(frame: Image, empty: Image, boxes: list[Box]) -> Image:
    """Foreground against the scene without people, by box."""
    foreground = np.abs(frame.astype(int) - empty).max(axis=2) > 42
    mask = np.zeros(frame.shape[:2], np.uint8)
    for label, box in enumerate(boxes, start=1):
        mask[_largest_component(_only_inside(foreground, box))] = label
    return mask


def cup_and_hand(frame: Image) -> Image:
    """Cup (1) and hand (2): both are darker than the wall or redder, and the hand is redder than the cup."""
    smooth = cv2.bilateralFilter(frame, 7, 40, 5).astype(int)
    redness = smooth[..., 0] - smooth[..., 2]
    both = _largest_component((smooth.max(axis=2) < 140) | (redness > 45))
    hand = _largest_component(both & (redness > 17))
    return np.where(both, np.where(hand, 2, 1), 0).astype(np.uint8)


def box_and_pen(frame: Image) -> Image:
    """Box (1): the convex hull of what is yellow. Pen (2): what is dark in its place on the table."""
    hue, saturation, value = np.moveaxis(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV), 2, 0)
    yellow = _largest_component((hue > 8) & (hue < 32) & (saturation > 150) & (value > 120))
    hull = cv2.convexHull(np.argwhere(yellow)[:, ::-1].astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros(frame.shape[:2], np.uint8), hull, 1)
    dark = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) < 120) & (mask == 0)
    mask[_largest_component(_only_inside(dark, PEN))] = 2
    return np.asarray(mask, np.uint8)


def stroked(frame: Image, strokes: dict[int, list[list[tuple[int, int]]]]) -> Image:
    """The mask that strokes mean."""
    painted = np.zeros(frame.shape[:2], np.uint8)
    for label, lines in strokes.items():
        cv2.polylines(painted, [np.array(line, np.int32) for line in lines], False, label, 8)
    return mask_from_strokes(frame, painted)


def render_shapes(frames: int = 60, height: int = 240, width: int = 416) -> Iterator[tuple[Image, Image]]:
    """Three textured shapes that cross over a moving textured background, with their exact masks."""
    rng = np.random.default_rng(7)

    def texture(dark: tuple[int, int, int], light: tuple[int, int, int], grain: int) -> Image:
        mixed = np.zeros((2 * height, 2 * width, 1), np.float32)
        for octave in range(3):
            size = (2 * width * 2**octave // grain, 2 * height * 2**octave // grain)
            noise = rng.random((size[1], size[0])).astype(np.float32)
            mixed[..., 0] += cv2.resize(noise, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC) / 2**octave
        share = np.clip((mixed - 0.4) / 0.95, 0, 1)
        return (np.array(dark) + share * (np.array(light) - np.array(dark))).astype(np.uint8)

    background = texture((52, 70, 58), (176, 184, 150), 40)
    shape_textures = [
        texture((70, 20, 110), (200, 130, 240), 16),
        texture((120, 10, 20), (255, 120, 90), 14),
        texture((190, 140, 20), (255, 250, 170), 12),
    ]
    y, x = np.mgrid[:height, :width]
    for t in range(frames):
        left = round(0.8 * t)
        frame = background[20 : 20 + height, left : left + width].copy()
        mask = np.zeros((height, width), np.uint8)
        paths = (
            (70 + 4.2 * t, 90 + 25 * math.sin(t / 9), 44),
            (340 - 3.6 * t, 135 + 12 * math.cos(t / 7), 32),
            (200 + 60 * math.sin(t / 14), 195 - 1.2 * t, 26),
        )
        for label, ((center_x, center_y, radius), shape_texture) in enumerate(
            zip(paths, shape_textures, strict=True), start=1
        ):
            dx, dy = x - round(center_x), y - round(center_y)
            inside = np.maximum(abs(dx), abs(dy)) < radius if label == 2 else dx**2 + dy**2 < radius**2
            frame[inside] = shape_texture[(dy + height)[inside], (dx + width)[inside]]
            mask[inside] = label
        yield frame, mask


def plucks(seconds: float) -> NDArray[np.float32]:
    """Soft plucked notes, one every 0.4 s."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    notes = np.array([262.0, 330.0, 392.0, 523.0, 392.0, 330.0])[(time / 0.4).astype(int) % 6]
    since = time % 0.4
    return (0.12 * np.sin(2 * np.pi * notes * since) * np.exp(-8 * since)).astype(np.float32)


def _frames(path: Path, numbers: range) -> Iterator[Image]:
    for frame in VideoReader(path):
        if frame.index >= numbers.stop:
            return
        if frame.index in numbers:
            yield frame.image


def _frames_of_documentation(name: str, numbers: range) -> list[Image]:
    """Frames of a clip of OpenCV's documentation."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / name
        unpacked.write_bytes(gzip.decompress((OPENCV / f"opencv4/html/{name}.gz").read_bytes()))
        return list(_frames(unpacked, numbers))


def _decoded(name: str) -> Image:
    """The first frame of the written clip, after compression."""
    return VideoReader(HERE / f"{name}.mp4").frame(0).image


def _crop(frame: Image, box: Box) -> Image:
    x, y, width, height = box
    return frame[y : y + height, x : x + width]


def _shrink(frame: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _only_inside(mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    x, y, width, height = box
    inside = np.zeros_like(mask)
    inside[y : y + height, x : x + width] = mask[y : y + height, x : x + width]
    return inside


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected component, without holes and gaps of one or two pixels."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, components, stats, _ = cv2.connectedComponentsWithStats(closed)
    return np.asarray(components == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


if __name__ == "__main__":
    main()
