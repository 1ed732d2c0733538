"""Property test of the mask reader: a shape that a program has softened, scaled, compressed or quantized is still read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mamp.masks.label_map import MaskError
from mamp.masks.mask_io import open_mask

MIN_OVERLAP = 0.9  # intersection over union with the shape
_MIN_OVERLAP_OF_SEVERAL = 0.75  # of small shapes of several colors: chroma is coarse in lossy files
_RESAMPLING = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_QUANTIZERS = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE, Image.Quantize.FASTOCTREE)


@dataclass
class MaskCase:
    """A mask file with the shapes that it shows.

    Attributes:
        path: The file.
        truth: Label map (H, W) uint8 of the shapes.
        steps: What was done to the image.
    """

    path: Path
    truth: NDArray[np.uint8]
    steps: str


def check_mask_case(folder: Path, number: int) -> str | None:
    """Writes and reads a random mask file; returns the fault, ``None`` if there is none."""
    rng = np.random.default_rng(number)
    case = one_shape(folder, rng) if rng.random() < 0.7 else several_shapes(folder, rng)
    try:
        mask = open_mask(case.path).mask
    except MaskError as error:
        return f"case {number} ({case.steps}): {error}"
    found, expected = np.unique(mask[mask > 0]), np.unique(case.truth[case.truth > 0])
    if len(found) != len(expected):
        return f"case {number} ({case.steps}): {len(found)} objects instead of {len(expected)}"
    for label in expected:
        shape = case.truth == label
        best = max(float((shape & (mask == other)).sum() / (shape | (mask == other)).sum()) for other in found)
        if best < (MIN_OVERLAP if len(expected) == 1 else _MIN_OVERLAP_OF_SEVERAL):
            return f"case {number} ({case.steps}): overlap {best:.2f} with object {label}"
    return None


def one_shape(folder: Path, rng: np.random.Generator) -> MaskCase:
    """A bright shape on a dark background, after steps that change its levels and edges, in a random format."""
    height, width = (int(length) for length in rng.integers(60, 300, 2))
    shape, radius = _random_shape(rng, (height, width))
    black, white = rng.choice([(0, 255), (0, 255), (0, 128), (16, 235), (30, 200), (0, 180)])
    gray = np.where(shape, white, black).astype(np.uint8)
    steps = [f"{black}/{white}"]
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.4, 0.12 * radius + 0.5))
        gray = cv2.GaussianBlur(gray, (0, 0), sigma)
        steps.append(f"blur {sigma:.1f} of radius {radius:.0f}")
    if rng.random() < 0.4:
        factor = float(rng.uniform(1.3, 4))
        size = (round(width * factor), round(height * factor))
        resampling = _RESAMPLING[rng.integers(len(_RESAMPLING))]
        gray = np.asarray(Image.fromarray(gray).resize(size, resampling))
        shape = np.asarray(Image.fromarray(shape).resize(size, Image.Resampling.NEAREST))
        steps.append(f"{resampling.name} {factor:.1f}")
    if rng.random() < 0.4:
        gray = _through_jpeg(gray, rng, steps)
    path = _write_gray(folder, gray, rng, steps)
    return MaskCase(path, shape.astype(np.uint8), ", ".join(steps))


def several_shapes(folder: Path, rng: np.random.Generator) -> MaskCase:
    """Shapes of different grays or colors on black, with hard, soft or compressed edges."""
    height, width = (int(length) for length in rng.integers(100, 300, 2))
    truth, count = np.zeros((height, width), np.uint8), int(rng.integers(2, 5))
    for label in range(1, count + 1):
        shape, _ = _random_shape(rng, (height, width // count))
        truth[:, (label - 1) * (width // count) : label * (width // count)][shape] = label
    hard = rng.random() < 0.5
    if rng.random() < 0.4:
        levels = rng.choice(np.arange(40, 256, 5 if hard else 45), count, replace=False)
        palette = np.repeat(levels[:, None], 3, axis=1)
    else:
        grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15 if hard else 60)] * 3), -1).reshape(-1, 3)
        palette = rng.choice(grid[grid.max(axis=1) >= 60], count, replace=False)
    colors = np.vstack(([(0, 0, 0)], palette)).astype(np.uint8)
    steps = [f"{count} objects {palette.tolist()}"]
    image = colors[truth]
    if hard:
        path = folder / f"case.{rng.choice(['png', 'bmp', 'tiff', 'webp'])}"
        Image.fromarray(image).save(path, lossless=True)  # an option of WebP
    elif rng.random() < 0.5:
        path = folder / "case.jpg"
        quality = int(rng.integers(85, 100))
        Image.fromarray(image).save(path, quality=quality, subsampling=0)
        steps.append(f"JPEG {quality}")
    else:
        path = folder / "case.png"
        sigma = float(rng.uniform(0.4, 1.2))
        Image.fromarray(cv2.GaussianBlur(image, (0, 0), sigma)).save(path)
        steps.append(f"blur {sigma:.1f}")
    return MaskCase(path, truth, f"{', '.join(steps)}, {path.suffix}")


def _random_shape(rng: np.random.Generator, size: tuple[int, int]) -> tuple[NDArray[np.bool_], float]:
    """A shape (H, W) away from the border, and the radius of its largest circle [pixels]."""
    height, width = size
    canvas = np.zeros(size, np.uint8)
    center = np.array([rng.uniform(0.4, 0.6) * width, rng.uniform(0.4, 0.6) * height])
    extent = np.array([width, height]) * rng.uniform(0.15, 0.35, 2)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 12)))
    if rng.random() < 0.4:
        cv2.ellipse(canvas, center.astype(int).tolist(), extent.astype(int).tolist(), 0, 0, 360, 1, -1)
    else:
        points = center + extent * np.stack((np.cos(angles), np.sin(angles)), 1) * rng.uniform(
            0.7, 1.2, (len(angles), 1)
        )
        cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
    radius = float(cv2.distanceTransform(canvas, cv2.DIST_L2, 5).max())
    if radius < 6:
        cv2.circle(canvas, center.astype(int).tolist(), 8, 1, -1)
        radius = 8.0
    return canvas.astype(bool), radius


def _through_jpeg(gray: NDArray[np.uint8], rng: np.random.Generator, steps: list[str]) -> NDArray[np.uint8]:
    quality = int(rng.integers(60, 101))
    steps.append(f"JPEG {quality}")
    _, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def _write_gray(folder: Path, gray: NDArray[np.uint8], rng: np.random.Generator, steps: list[str]) -> Path:
    """Writes a gray image in a random format that people save masks in."""
    image = Image.fromarray(gray)
    kind = str(
        rng.choice(["gray", "rgb", "jpeg", "webp", "quantize", "adaptive", "web", "gif", "alpha", "16 bit", "float"])
    )
    steps.append(kind)
    if kind in ("jpeg", "webp"):
        path = folder / f"case.{'jpg' if kind == 'jpeg' else 'webp'}"
        image.convert(str(rng.choice(["L", "RGB"]))).save(path, quality=int(rng.integers(60, 100)))
        return path
    if kind == "gif":
        image.save(folder / "case.gif")
        return folder / "case.gif"
    if kind == "16 bit":
        Image.fromarray(gray.astype(np.uint16) * int(rng.choice([1, 16, 257]))).save(folder / "case.png")
        return folder / "case.png"
    if kind == "float":
        Image.fromarray(gray.astype(np.float32) / 255).save(folder / "case.tiff")
        return folder / "case.tiff"
    if kind == "quantize":
        colors = int(rng.choice([4, 8, 16, 64, 256]))  # two colors do not keep the edge where it is
        method = _QUANTIZERS[rng.integers(len(_QUANTIZERS))]
        image = image.convert("RGB").quantize(colors, method=method)
        steps.append(f"{method.name} {colors}")
    elif kind == "adaptive":
        image = image.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=int(rng.choice([8, 16, 256])))
    elif kind == "web":
        image = image.convert("RGB").convert("P", dither=Image.Dither.NONE)
    elif kind == "rgb":
        image = image.convert("RGB")
    elif kind == "alpha":
        low, high = int(gray.min()), int(gray.max())
        stretched = ((gray.astype(np.float32) - low) * (255 / max(high - low, 1))).astype(np.uint8)
        color = np.full((*gray.shape, 3), rng.integers(0, 256, 3), np.uint8)
        image = Image.fromarray(np.dstack((color, stretched)))
    image.save(folder / "case.png")
    return folder / "case.png"
