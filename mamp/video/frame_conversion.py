"""Decoded frames as players show them: upright RGB, with the color tags of the file and transparent parts over white."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from mamp.video.source import RGB, VideoError

_HD_HEIGHT = 720  # [pixels]; players assume BT.709 for untagged videos of at least this height
_BT709, _BT470BG = 1, 5  # AVCOL_SPC_*
_MATRICES = frozenset({1, 4, 5, 6, 7, 9})  # AVCOL_SPC_*: BT.709, FCC, BT.470BG, SMPTE 170M, SMPTE 240M, BT.2020
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG: without tone mapping they look washed out
_PACKED_ALPHA = frozenset({"rgba", "bgra", "argb", "abgr"})
_REAL_ALPHA = frozenset({"png", "apng", "gif", "webp"})  # codecs whose fourth byte is defined as alpha
_PADDED = frozenset({"huffyuv", "rawvideo"})  # codecs of 32 bits a pixel, in which the fourth byte is mostly padding


class FrameConverter:
    """Converts the frames of one video stream to RGB.

    Matrix tags that FFmpeg cannot convert (YCgCo, ICtCp, reserved ones, ...) are treated as missing, as browsers do: BT.709
    from 720 lines on, BT.601 below.

    Args:
        name: Name of the file, for messages.
        codec: FFmpeg's name of the codec.
        first: The first frame: all frames get its size and orientation, and it decides whether a fourth byte is alpha.

    Attributes:
        size: Size of the frames before they are turned upright (H, W) [pixels].
        matrix: The display matrix (2, 2), a rotation by right angles or a reflection: (x, y) is shown at (x, y) @ matrix.
    """

    def __init__(self, name: str, codec: str, first: VideoFrame) -> None:
        self._name = name
        self._prepare()
        self.size = (first.height, first.width)
        self.matrix = _display_matrix(first)
        self._padded = False
        if first.format.name in _PACKED_ALPHA and codec not in _REAL_ALPHA:
            self._padded = _is_padding(self._convert(first, "rgba"), likely=codec in _PADDED)

    def _prepare(self) -> None:
        self._reformatter, self._reformatting = VideoReformatter(), Lock()

    def __getstate__(self) -> dict[str, Any]:
        """To read the clip in another process too: everything but what only this one can use."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_reformat")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See ``__getstate__``."""
        vars(self).update(state)
        self._prepare()

    def __call__(self, frame: VideoFrame) -> RGB:
        """The frame as upright RGB (H, W, 3) uint8.

        Raises:
            VideoError: The frame cannot be converted.
        """
        has_alpha = frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)
        if self._padded or not has_alpha:
            return _apply_orientation(self._convert(frame, "rgb24"), self.matrix)
        return _apply_orientation(composite_on_white(self._convert(frame, "rgba")), self.matrix)

    def _convert(self, frame: VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
        height, width = self.size  # the frame size may change within a file
        options: dict[str, Any] = {}
        if frame.color_trc in _HDR:
            options = {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
            if frame.color_primaries not in tuple(ColorPrimaries):
                frame.color_primaries = ColorPrimaries.BT2020
        if frame.colorspace not in _MATRICES and not frame.format.is_rgb:
            frame.colorspace = _BT709 if height >= _HD_HEIGHT else _BT470BG
        try:
            if options:
                # The tables of this conversion take a second to build: they are reused, by one thread at a time.
                with self._reformatting:
                    converted = self._reformatter.reformat(frame, width, height, pixel_format, **options)
            else:
                converted = frame.reformat(width, height, pixel_format)
        except (OSError, ValueError) as error:  # PyAV's errors are both
            raise VideoError(f"{self._name} has colors of a kind that cannot be converted here.") from error
        array: NDArray[np.uint8] = converted.to_ndarray().astype(np.uint8, copy=False)
        return array


def composite_on_white(rgba: NDArray[np.uint8]) -> RGB:
    """Composites RGBA (H, W, 4) uint8 over white, as image viewers do."""
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)


def _is_padding(rgba: NDArray[np.uint8], *, likely: bool) -> bool:
    """Whether the fourth byte of RGBA (H, W, 4) is no alpha: then it would hide a picture.

    Args:
        rgba: The first frame of a clip.
        likely: Whether padding is usual. Then only an alpha with opaque pixels and black under the hidden ones counts.
    """
    alpha, hidden = rgba[..., 3], rgba[rgba[..., 3] == 0][:, :3]
    if likely:
        return not (len(hidden) and (alpha == 255).any() and not hidden.any())
    return not alpha.any() and bool((hidden != hidden[0]).any())


def _display_matrix(frame: VideoFrame) -> NDArray[np.int32]:
    side_data: Any = frame.side_data  # a sequence, though its type is a dictionary
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
    return np.eye(2, dtype=np.int32)


def _apply_orientation(image: RGB, matrix: NDArray[np.int32]) -> RGB:
    (a, b), (c, d) = matrix
    if abs(int(b)) > abs(int(a)):  # x and y are swapped
        image = image.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
