"""Makes the loop of the page's first screen from a finished example run: a moving line divides before and after.

Usage: ``python -m tools.make_intro``. It writes ``webapp/static/intro.webp``, and ``intro.jpg`` for visitors who prefer
reduced motion.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from mamp import VideoReader

ROOT = Path(__file__).parent.parent
EXAMPLE, STEP = "cup", 3  # every third frame
SIZE = (320, 240)  # (W, H) [pixels]
MILLISECONDS = 120  # per frame


def frames() -> list[Image.Image]:
    """The frames of the loop; the line swings to the left and back."""
    clip = list(VideoReader(ROOT / "examples" / f"{EXAMPLE}.mp4"))[::STEP]
    results = list(VideoReader(ROOT / "examples" / "results" / EXAMPLE / "overlay.mp4"))[::STEP]
    loop = []
    for index, pair in enumerate(zip(clip, results, strict=True)):
        before, after = (Image.fromarray(frame.image).resize(SIZE, Image.Resampling.LANCZOS) for frame in pair)
        line = round(SIZE[0] * (0.5 + 0.4 * math.cos(2 * math.pi * index / len(clip))))
        before.paste(after.crop((line, 0, *SIZE)), (line, 0))
        ImageDraw.Draw(before).rectangle((line - 1, 0, line + 1, SIZE[1]), fill="white")
        loop.append(before)
    return loop


def main() -> int:
    """Writes the loop and the still; returns the exit code."""
    first, *others = loop = frames()
    path = ROOT / "webapp" / "static" / "intro.webp"
    first.save(path, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, quality=55, method=6)
    loop[2 * len(loop) // 5].save(path.with_suffix(".jpg"), quality=75)
    print(f"{path}: {len(loop)} frames, {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
