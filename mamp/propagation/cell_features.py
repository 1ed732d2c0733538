"""What else than its feature a cell may be told apart by: the colours on it and around it, and motion of its own.

Features were taught to find the same place again; whether a place is red or green, they may forget. A clip's object is
often the only thing of its colour, and more often still the only thing that moves. Background that it hid until now
resembles nothing in memory; but it stands still.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.model.encoder import STRIDE

_AROUND = (1, 2, 4, 8)  # radii of the surroundings [cells]
_USUAL = (2.5, 8.0, 8.0)  # one over how far lightness and colour usually are from grey
_EVERY = 3  # [cells]: the camera's motion has few numbers, so few cells will do
_ROUNDS = 8  # of weighing cells by how well the camera's motion explains them
_FEWEST = 30  # cells of background that the camera's motion is found by; where there are fewer, by all
_SLOW = 0.125  # [cells]: half a pixel, by which flow errs where nothing moves
_RIM = 2  # [cells]: as far as flow carries the motion of an object beyond its edge


def color_features(lab: Tensor) -> Tensor:
    """The mean colour of each cell and of its surroundings.

    Args:
        lab: Normalised Lab (3, H, W); H and W multiples of 4.

    Returns:
        (21, h, w): the colour of the cell, those within 1, 2, 4 and 8 cells, and the six products of the first with
        itself; each about as large as 1 in usual frames.
    """
    margin = STRIDE // 2  # cell i is centred on pixel 4 i
    padded = F.pad(lab[None], (margin, margin, margin, margin), mode="replicate")
    colour = F.avg_pool2d(padded, 2 * margin + 1, STRIDE)
    means = [_mean_around(colour, radius) for radius in _AROUND]
    scaled = torch.cat([colour, *means])[:, :3] * colour.new_tensor(_USUAL)[:, None, None]
    own = scaled[0]
    products = torch.stack([own[a] * own[b] for a in range(3) for b in range(a, 3)])
    return torch.cat((scaled.flatten(0, 1), products))


def _mean_around(cells: Tensor, radius: int) -> Tensor:
    """Means over the cells within a radius (N, C, h, w): over columns, then over rows, a fraction of the sums."""
    side = 2 * radius + 1
    columns = F.avg_pool2d(cells, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, side), 1, (0, radius), count_include_pad=False)


def independent_motion(flow: Tensor, objects: Tensor) -> Tensor:
    """How much each cell moves beside the camera's motion, which is an affine one, fitted to the background.

    Args:
        flow: Displacement of a frame to the one before (2, h, w) [cells], x then y.
        objects: Where objects are supposed (h, w) bool.

    Returns:
        (1, h, w) in [0, 3): 0 where a cell, or one within 2 cells, goes with the camera.
    """
    h, w = flow.shape[-2:]
    axes = [torch.linspace(-1, 1, side, dtype=torch.float64) for side in (h, w)]
    y, x = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack((torch.ones_like(x), x, y))  # (3, h, w)
    near = F.max_pool2d(objects.to(flow.dtype)[None], 5, 1, 2)[0] > 0
    camera, spread = _motion_of_camera(
        places[:, ::_EVERY, ::_EVERY].flatten(1),
        flow[:, ::_EVERY, ::_EVERY].flatten(1).cpu(),
        ~near[::_EVERY, ::_EVERY].flatten().cpu(),
    )
    of_camera = (camera @ places.flatten(1)).view(2, h, w)
    own = (flow - of_camera.to(flow.device)).norm(dim=0, keepdim=True).to(flow.dtype)
    own = 3 * own / (spread + _SLOW)
    return -3 * F.max_pool2d(-own / (1 + own), 2 * _RIM + 1, 1, _RIM)


def _motion_of_camera(places: Tensor, flow: Tensor, background: Tensor) -> tuple[Tensor, float]:
    """Fits the camera's motion to the background, on the CPU: many small steps, which a GPU is slower at.

    Args:
        places: 1, x and y of cells (3, n) float64.
        flow: Displacement of these cells (2, n) [cells].
        background: Which of them are background (n,) bool.

    Returns:
        The affine motion (2, 3), and how far cells are from it in the median [cells].
    """
    if background.sum() < _FEWEST:
        background = torch.ones_like(background)
    at, moved = places[:, background], flow[:, background].double()
    weight = torch.ones_like(at[0])
    for _ in range(_ROUNDS):
        weighed = at * weight
        camera = torch.linalg.solve(weighed @ at.T + 1e-6 * torch.eye(3).to(at), weighed @ moved.T)  # (3, 2)
        missed = (moved - camera.T @ at).norm(dim=0)
        spread = missed.median()
        weight = (1 + (missed / (1.5 * spread + _SLOW / 5)) ** 2) ** -2
    return camera.T, float(spread)
