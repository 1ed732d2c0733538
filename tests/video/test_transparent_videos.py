"""Transparent videos keep the colors of what is visible, up to its rim."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mamp.video.writer import VideoWriter


def decoded(path: Path, decoder: str) -> list[NDArray[np.uint8]]:
    """RGBA (H, W, 4) frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        frames = [frame for packet in container.demux(stream) for frame in context.decode(packet)]  # type: ignore[attr-defined]
    return [frame.to_ndarray(format="rgba") for frame in frames]


@pytest.mark.parametrize(("suffix", "decoder"), [(".webm", "libvpx-vp9"), (".mov", "prores")])
@pytest.mark.parametrize("color", [(220, 30, 30), (30, 200, 60), (40, 60, 230), (250, 250, 250), (20, 20, 20)])
def test_the_rim_of_a_cut_out_has_its_color(
    tmp_path: Path, suffix: str, decoder: str, color: tuple[int, int, int]
) -> None:
    rows, columns = np.mgrid[:90, :120]
    images = []
    with VideoWriter(tmp_path / f"out{suffix}", None, (90, 120)) as video:
        for t in range(4):
            image = np.zeros((90, 120, 4), np.uint8)
            image[(columns - 50 - 3 * t) ** 2 + (rows - 45) ** 2 <= 23**2] = (*color, 255)
            video.write(image, Fraction(t, 25))
            images.append(image)
    for image, read in zip(images, decoded(tmp_path / f"out{suffix}", decoder), strict=True):
        visible = image[..., 3] == 255
        rim = visible & (cv2.erode(visible.astype(np.uint8), np.ones((3, 3))) == 0)
        assert np.abs(read[rim][:, :3].astype(int) - color).max() <= 5
        assert np.abs(read[..., 3].astype(int) - image[..., 3]).max() <= 4


def test_frames_without_an_object_or_full_of_it_are_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.webm", None, (48, 64)) as video:
        for t, alpha in enumerate((0, 255)):
            video.write(np.full((48, 64, 4), (200, 100, 50, alpha), np.uint8), Fraction(t, 25))
    assert [int(frame[..., 3].mean()) for frame in decoded(tmp_path / "out.webm", "libvpx-vp9")] == [0, 255]
