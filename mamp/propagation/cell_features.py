"""Auxiliary features of a cell: its color and the colors around it, and motion independent of the camera.

The encoder is trained to match locations, so its features may ignore color. Yet an object is often the only thing of its
color in a clip, and more often still the only thing that moves. Newly uncovered background resembles nothing in memory,
but it stands still.
"""

from __future__ import annotations

from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE

_CONTEXT_RADII = (1, 2, 4, 8)  # [cells]
_COLOR_SCALE = (2.5, 8.0, 8.0)  # inverse of the usual deviation of L, a and b from gray
_CAMERA_STEP = 3  # [cells]; sampling for the camera motion, which has only six parameters
_CAMERA_ITERATIONS = 8  # of reweighted least squares
_MIN_BACKGROUND_CELLS = 30  # to fit the camera motion to; with fewer, all cells are used
FLOW_ERROR = 0.125  # [cells]: half a pixel, the error of the flow where nothing moves
_EROSION_RADIUS = 2  # [cells]; distance to which the flow spreads an object's motion beyond its edge
_SUDDEN_CHANGE = 4  # ratio of an object's motion in two consecutive frames


def color_features(lab: Tensor) -> Tensor:
    """The mean color of each cell and of its surroundings.

    Args:
        lab: Normalized Lab (3, H, W); H and W multiples of 4.

    Returns:
        (21, h, w): the color of the cell, the mean colors within 1, 2, 4 and 8 cells, and the six products of the
        first's channels; each of the order of 1 in usual frames.
    """
    margin = STRIDE // 2  # cell i is centered on pixel 4 i
    padded = F.pad(lab[None], (margin, margin, margin, margin), mode="replicate")
    color = F.avg_pool2d(padded, 2 * margin + 1, STRIDE)
    means = [_box_mean(color, radius) for radius in _CONTEXT_RADII]
    scaled = torch.cat([color, *means])[:, :3] * _color_scale(color.device)
    center = scaled[0]
    products = torch.stack([center[a] * center[b] for a in range(3) for b in range(a, 3)])
    return torch.cat((scaled.flatten(0, 1), products))


@cache
def _color_scale(device: torch.device) -> Tensor:
    return torch.tensor(_COLOR_SCALE, device=device)[:, None, None]


def _box_mean(cells: Tensor, radius: int) -> Tensor:
    """Means over the cells within a radius (N, C, h, w); separable, for far fewer additions."""
    side = 2 * radius + 1
    columns = F.avg_pool2d(cells, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, side), 1, (0, radius), count_include_pad=False)


def independent_motion(flow: Tensor, objects: Tensor, *, on_device: bool = False) -> Tensor:
    """Motion of each cell relative to the camera's, an affine motion that is fitted to the background.

    Args:
        flow: Displacement from a frame to the previous one (2, h, w) [cells], x then y.
        objects: Estimated object cells (h, w) bool.
        on_device: Fit without waiting for the device. On the CPU the fit is as exact, and faster.

    Returns:
        (1, h, w) in [0, 3): 0 where a cell, or one within 2 cells, moves with the camera.
    """
    motion, spread = relative_motion(flow, objects, on_device=on_device)
    speed = motion.norm(dim=0, keepdim=True).to(flow.dtype)
    speed = 3 * speed / (spread + FLOW_ERROR)
    side = 2 * _EROSION_RADIUS + 1
    return -3 * F.max_pool2d(-speed / (1 + speed), side, 1, _EROSION_RADIUS)


def without_sudden_changes(
    motion: Tensor, previous: Tensor, value: Tensor, objects: Tensor, *, radius: int, starts: bool
) -> Tensor:
    """Independent motion that stays at least as it was in the previous frame around objects that stop suddenly.

    In a repeated frame nothing moves. Discriminants that separate a moving object from background would lose it there, and
    whenever it stands still for a while.

    Args:
        motion: ``independent_motion`` of a frame (1, h, w).
        previous: That of the previous frame, aligned with this frame (1, h, w).
        value: Labels (h, w) uint8.
        objects: Labels of the objects (K,) uint8.
        radius: Size of the surroundings [cells].
        starts: Keep also the lack of motion of objects that start to move: discriminants have not seen them moving.

    Returns:
        (1, h, w).
    """
    one_hot = (value == objects[:, None, None]).flatten(1).double()  # (K, h w)
    now, before = (one_hot @ torch.cat((motion, previous)).flatten(1).double().T).T
    changed = _SUDDEN_CHANGE * now < before
    kept = torch.maximum(previous, motion)  # what moves beside an object that stands still has its own motion
    if starts:
        started = _SUDDEN_CHANGE * before < now
        changed, kept = changed | started, torch.where(started.any(), previous, kept)
    sign = torch.where(changed, 1.0, -1.0).double()
    majority = _box_mean((sign @ one_hot).view_as(motion), radius)
    return torch.where(majority > 0, kept, motion)


def relative_motion(flow: Tensor, objects: Tensor, *, on_device: bool = False) -> tuple[Tensor, Tensor | float]:
    """Motion of each cell beside the camera's, an affine motion that is fitted to the background.

    Args:
        flow: Displacement from a frame to the previous one (2, h, w) [cells], x then y.
        objects: Estimated object cells (h, w) bool.
        on_device: Fit without waiting for the device. On the CPU the fit is as exact, and faster.

    Returns:
        Motion (2, h, w) [cells], and the median distance of the background from the camera's motion [cells].
    """
    h, w = flow.shape[-2:]
    fit, device = (_camera_motion_on_device, flow.device) if on_device else (_camera_motion, torch.device("cpu"))
    positions = _positions(h, w, device)
    side = 2 * _EROSION_RADIUS + 1
    near_object = F.max_pool2d(objects.to(flow.dtype)[None], side, 1, _EROSION_RADIUS)[0] > 0
    camera, spread = fit(
        positions[:, ::_CAMERA_STEP, ::_CAMERA_STEP].flatten(1),
        flow[:, ::_CAMERA_STEP, ::_CAMERA_STEP].flatten(1).to(device),
        ~near_object[::_CAMERA_STEP, ::_CAMERA_STEP].flatten().to(device),
    )
    camera_flow = (camera @ positions.flatten(1)).view(2, h, w)
    return flow - camera_flow.to(flow.device), spread


@lru_cache(16)
def _positions(h: int, w: int, device: torch.device) -> Tensor:
    """1, x and y of each cell (3, h, w) float64, x and y in [-1, 1]."""
    axes = [torch.linspace(-1, 1, size, dtype=torch.float64) for size in (h, w)]
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack((torch.ones_like(x), x, y)).to(device)


def _camera_motion(positions: Tensor, flow: Tensor, background: Tensor) -> tuple[Tensor, float]:
    """Fits the camera motion to the background, on the CPU: a GPU is slower at many small steps.

    Args:
        positions: 1, x and y of n cells (3, n) float64.
        flow: Displacement of these cells (2, n) [cells].
        background: Mask of background cells (n,) bool.

    Returns:
        The affine motion (2, 3), and the median distance of the cells from it [cells].
    """
    if background.sum() < _MIN_BACKGROUND_CELLS:
        background = torch.ones_like(background)
    positions, flow = positions[:, background], flow[:, background].double()
    weight = torch.ones_like(positions[0])
    for _ in range(_CAMERA_ITERATIONS):
        weighted = positions * weight
        normal = weighted @ positions.T + 1e-6 * torch.eye(3).to(positions)
        camera = torch.linalg.solve(normal, weighted @ flow.T)  # (3, 2)
        residual = (flow - camera.T @ positions).norm(dim=0)
        spread = residual.median()
        weight = (1 + (residual / (1.5 * spread + FLOW_ERROR / 5)) ** 2) ** -2
    return camera.T, float(spread)


def _camera_motion_on_device(positions: Tensor, flow: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """``_camera_motion`` with shapes that depend on no value, so that no step waits for the device."""
    used = background | (background.sum() < _MIN_BACKGROUND_CELLS)
    unused = ~used
    flow, unit = flow.double(), _ridge(flow.device)
    # One product with the weights gives both sides of the normal equations.
    products = (positions[:, None] * torch.cat((positions, flow))).flatten(0, 1)  # (15, n)
    weight = used = used.double()
    for _ in range(_CAMERA_ITERATIONS):
        sides = (products @ weight).view(3, 5)
        camera = torch.linalg.solve_ex(sides[:, :3] + unit, sides[:, 3:]).result  # (3, 2)
        residual = torch.addmm(flow, camera.T, positions, alpha=-1).norm(dim=0)
        spread = residual.masked_fill(unused, torch.nan).nanmedian(dim=0).values
        distance = residual / (1.5 * spread + FLOW_ERROR / 5)
        weight = torch.addcmul(used, distance, distance).pow(-2).masked_fill(unused, 0)
    return camera.T, spread


@cache
def _ridge(device: torch.device) -> Tensor:
    return 1e-6 * torch.eye(3, dtype=torch.float64, device=device)
