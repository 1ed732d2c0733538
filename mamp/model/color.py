"""Color: RGB frames to normalized CIE Lab, and the information bottleneck of Sec. 3.1."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Linear sRGB to CIE XYZ under D65 (IEC 61966-2-1), each row divided by the white point.
_RGB_TO_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)
_THRESHOLD = 0.008856  # below it, CIE replaces the cube root by a line
_SLOPE, _OFFSET = 7.787, 16.0 / 116.0

A_CHANNEL, B_CHANNEL = 1, 2  # the color channels a and b of Lab; channel 0 is the lightness L


@cache
def _conversion(device: torch.device) -> tuple[Tensor, Tensor]:
    """Linear light of the 256 values of sRGB (256,), as a look-up is cheaper than a power, and the matrix to XYZ (3, 3)."""
    value = torch.arange(256, dtype=torch.float32) / 255
    linear = torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear.to(device), torch.tensor(_RGB_TO_XYZ).T.to(device)


def rgb_to_lab(frames: Tensor) -> Tensor:
    """Converts RGB frames to normalized CIE Lab (Sec. 4, implementation details).

    Args:
        frames: RGB (..., H, W, 3) uint8 [0, 255], on any device.

    Returns:
        Lab (..., 3, H, W) float32: (L - 50) / 50 [-1, 1], a / 127 and b / 127 [about -1, 1].

    Raises:
        ValueError: The frames are not uint8 (..., H, W, 3).
    """
    if frames.dtype != torch.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 (..., H, W, 3), not {frames.dtype} {tuple(frames.shape)}")
    if frames.device.type != "cpu":
        return _lab_by_tensors(frames)
    lab = torch.from_numpy(_lab_by_opencv(frames.flatten(0, -3).numpy()))
    return lab.view(frames.shape).movedim(-1, -3)  # channels last in memory, as the encoder needs them


def _lab_by_tensors(frames: Tensor) -> Tensor:
    linear_light, to_xyz = _conversion(frames.device)
    xyz = linear_light[frames.long()] @ to_xyz
    f = torch.where(xyz > _THRESHOLD, xyz.clamp(min=_THRESHOLD).pow(1 / 3), _SLOPE * xyz + _OFFSET)
    x, y, z = f.unbind(-1)
    lightness = (116 * y - 16 - 50) / 50
    return torch.stack((lightness, 500 * (x - y) / 127, 200 * (y - z) / 127), dim=-3)


def _lab_by_opencv(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Lab of rows (N, W, 3) in a sixth of the time. OpenCV's own conversion to Lab is less accurate."""
    linear_light, to_xyz = (each.numpy() for each in _conversion(torch.device("cpu")))
    xyz = cv2.transform(cv2.LUT(rows, linear_light), to_xyz.T)
    dark = xyz <= _THRESHOLD
    roots = cv2.pow(np.maximum(xyz, _THRESHOLD), 1 / 3)
    roots[dark] = _SLOPE * xyz[dark] + _OFFSET
    to_lab = np.array(((0, 116 / 50, 0, -66 / 50), (500 / 127, -500 / 127, 0, 0), (0, 200 / 127, -200 / 127, 0)))
    return np.asarray(cv2.transform(roots, to_lab), np.float32)


def drop_ab_channel(lab: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    """Drops one color channel of Lab frames: the bottleneck g of Sec. 3.1.

    The lightness is never dropped: too little would remain to match by.

    Args:
        lab: Lab (..., 3, H, W) float.
        channel: ``A_CHANNEL`` or ``B_CHANNEL``, the same for both frames of a pair.

    Returns:
        The frames with that channel set to zero (..., 3, H, W), and the channel (..., 1, H, W) as the target.

    Raises:
        ValueError: ``channel`` is not a color channel.
    """
    if channel not in (A_CHANNEL, B_CHANNEL):
        raise ValueError(f"channel must be {A_CHANNEL} (a) or {B_CHANNEL} (b), not {channel}")
    target = lab[..., channel : channel + 1, :, :].clone()
    bottleneck = lab.clone()
    bottleneck[..., channel, :, :] = 0
    return bottleneck, target
