"""Clips with first masks, as people have them in two folders."""

from collections.abc import Mapping
from pathlib import Path

from mamp import write_mask
from tests.conftest import scene, write_clip


def make_shoot(folder: Path, lengths: Mapping[str, int], *, clips: str = "clips", broken: bool = False) -> None:
    """Writes clips and masks.

    Args:
        folder: The folder that gets the two folders.
        lengths: Number of frames of each clip, by name.
        clips: Name of the folder of clips; the masks are in "masks".
        broken: Also write a clip "broken" that cannot be read.
    """
    for name in (clips, "masks"):
        (folder / name).mkdir()
    for name, length in lengths.items():
        write_clip(folder / clips / f"{name}.mp4", [scene(t)[0] for t in range(length)])
        write_mask(folder / f"masks/{name}.png", scene(0)[1])
    if broken:
        (folder / clips / "broken.mp4").write_bytes(b"nothing")
        write_mask(folder / "masks/broken.png", scene(0)[1])
