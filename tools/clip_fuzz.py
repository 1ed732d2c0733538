"""Property test of the clip reader: frames, times and colors of a clip in any container, codec and color tag are right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mamp.video.reader import VideoError, VideoReader

FRAMES = 12
_SIZE = (144, 176)  # a size of H.263, which few codecs lack
_MAX_ERROR = 16  # [levels] of a color after lossy compression
_FIRST_SHADE, _STEP = 20, 15  # of the upper half of frame t
_MATRICES = {1: "ITU709", 7: "SMPTE240M", 9: "BT2020"}  # other tags are read as BT.601

_YUV = ("yuv420p",)
_FORMATS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    *((suffix, "libx264", ("yuv420p", "yuv444p", "yuv420p10le")) for suffix in ("mp4", "mov", "mkv")),
    *((suffix, "libx264", _YUV) for suffix in ("avi", "ts", "mts", "flv")),
    *((suffix, "mpeg2video", _YUV) for suffix in ("mpg", "vob", "m2ts", "mxf", "avi")),
    *((suffix, "mpeg4", _YUV) for suffix in ("3gp", "m4v", "avi", "mkv")),
    ("webm", "libvpx-vp9", ("yuv420p", "yuv444p")),
    ("ogv", "libvpx", _YUV),
    ("wmv", "wmv2", _YUV),
    ("avi", "mjpeg", ("yuvj420p", "yuvj444p")),
    ("mov", "prores_ks", ("yuv422p10le", "yuv444p10le")),
    ("mov", "qtrle", ("rgb24", "argb")),
    ("mkv", "ffv1", ("yuv420p", "bgr0", "bgra", "gbrp10le")),
    ("avi", "huffyuv", ("yuv422p", "rgb24", "bgra")),
    ("avi", "rawvideo", ("bgra", "bgr24", "yuv420p")),
)


@dataclass(frozen=True)
class ClipCase:
    """A clip as a program may write it.

    Attributes:
        path: The file.
        colors: RGB (2, 3) of the lower left and right quarter.
        steps: What is special about the file.
    """

    path: Path
    colors: NDArray[np.uint8]
    steps: str


def check_clip_case(folder: Path, number: int) -> str | None:
    """Writes and reads a random clip; returns the fault, ``None`` if there is none."""
    case = write_clip_case(folder, np.random.default_rng(number))
    try:
        frames = list(VideoReader(case.path))
    except VideoError as error:
        return f"case {number} ({case.steps}): {error}"
    height, width = _SIZE
    lower = [
        np.abs(frame.image[3 * height // 4, width * x // 4].astype(int) - case.colors[x // 2]).max()
        for frame in frames
        for x in (1, 3)
    ]
    shades = [float(frame.image[height // 8 : height // 3].mean()) for frame in frames]
    expected = [_FIRST_SHADE + _STEP * t for t in range(FRAMES)]
    steps = {round(25 * (frame.time - frames[0].time), 1) for frame in frames}
    if len(frames) != FRAMES:
        return f"case {number} ({case.steps}): {len(frames)} frames"
    if steps != set(range(FRAMES)):
        return f"case {number} ({case.steps}): shown at {sorted(steps)}"
    if max(abs(one - other) for one, other in zip(shades, expected, strict=True)) > _STEP / 2 + 2:
        return f"case {number} ({case.steps}): shades {[round(shade) for shade in shades]}"
    if max(lower) > _MAX_ERROR:
        return f"case {number} ({case.steps}): a color is off by {max(lower)}"
    return None


def write_clip_case(folder: Path, rng: np.random.Generator) -> ClipCase:
    """Writes a clip with random container, codec, pixel format, color tags, B-frames, interlacing and padding."""
    suffix, codec, formats = _FORMATS[rng.integers(len(_FORMATS))]
    pixels = formats[rng.integers(len(formats))]
    path = folder / f"clip.{suffix}"
    colors = rng.integers(30, 226, (2, 3)).astype(np.uint8)
    options: dict[str, str] = {}
    steps = f"{suffix}, {codec}, {pixels}"
    tags = {"colorspace": 5, "color_primaries": 1, "color_trc": 1}
    no_times = False
    if codec == "libx264":
        tags = {name: int(rng.integers(23)) for name in tags}
        tags["colorspace"] = int(rng.integers(1, 18))  # 0 is RGB
        if tags["color_trc"] in (16, 18):  # PQ and HLG change the brightness
            tags["color_trc"] = 1
        interlaced = pixels == "yuv420p" and rng.random() < 0.2
        no_times = suffix in ("mp4", "mov", "mkv") and rng.random() < 0.3
        options = {"crf": "4", "bf": str(rng.integers(4)), "g": str(rng.choice([4, 250]))}
        options |= {"x264-params": "tff=1"} if interlaced else {}
        steps += f", tags {tags}, {options}" + (", interlaced" if interlaced else "") + (", no times" * no_times)
    elif codec == "libvpx-vp9":
        tags["colorspace"] = int(rng.choice([1, 2, 4, 5, 6, 7, 9]))
        steps += f", matrix {tags['colorspace']}"
    padding = int(rng.choice([0, 1, 255])) if pixels in ("bgra", "argb") else None
    if padding == 1 and codec not in ("huffyuv", "rawvideo"):  # there it is an alpha
        padding = 0
    steps += "" if padding is None else f", padding {padding}"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *_SIZE, pixels
        encoder = stream.codec_context
        encoder.bit_rate, encoder.gop_size = 4_000_000, 6
        if codec in ("mpeg2video", "mpeg4") and rng.random() < 0.5:
            encoder.max_b_frames = 2
        if pixels.startswith("yuv") and not pixels.startswith("yuvj"):
            for name, value in tags.items():
                setattr(encoder, name, value)
        written = 0
        for t in [*range(FRAMES), None]:
            frame = (
                None if t is None else _frame(t, colors, pixels, _MATRICES.get(tags["colorspace"], "ITU601"), padding)
            )
            for packet in stream.encode(frame):
                if no_times:
                    packet.pts = packet.dts = written
                container.mux(packet)
                written += 1
    return ClipCase(path, colors, steps)


def _frame(t: int, colors: NDArray[np.uint8], pixels: str, matrix: str, padding: int | None) -> av.VideoFrame:
    height, width = _SIZE
    image = np.full((height, width, 3), _FIRST_SHADE + _STEP * t, np.uint8)
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = colors
    if padding is not None:
        fourth = np.full((height, width, 1), padding, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.concatenate((image, fourth), axis=2), "rgba").reformat(format=pixels)
    else:
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        value_range = "JPEG" if pixels.startswith("yuvj") else "MPEG"
        frame = frame.reformat(format=pixels, dst_colorspace=matrix, dst_color_range=value_range)
    frame.pts = t
    return frame


def clip_seeds(folder: Path) -> list[Path]:
    """Creates a valid file of each container, and a TIFF with several pages."""
    paths = []
    for number in range(200):
        case = write_clip_case(folder, np.random.default_rng(number))
        kept = folder / f"seed{case.path.suffix}"
        if not kept.exists():
            paths.append(case.path.rename(kept))
    pages = [Image.fromarray(np.full((40, 60), 300 * page, np.uint16)) for page in range(1, 5)]
    pages[0].save(folder / "seed.tif", save_all=True, append_images=pages[1:])
    return [*paths, folder / "seed.tif"]
