"""Motion (Sec. 3.2): optical flow from the query to a reference, and warping by it.

The flow is the displacement of every pixel of the query to the reference, (2, H, W), x then y, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mamp.model.encoder import STRIDE, resolve_weights

Frame = NDArray[np.uint8]
Flow = NDArray[np.float32]
FlowFunction = Callable[..., Flow]

RAFT_WEIGHTS = "LibreYOLO/LibreRAFTl-flow-sintel"
RAFT_FILENAME = "LibreRAFTl-flow-sintel.pt"
NEAR_ITERATIONS, FAR_ITERATIONS, FAR_AGE = 2, 5, 15  # Sec. 4: more iterations for a reference further away


def dis_flow(query: Frame, reference: Frame, *, quick: bool = False, start: Flow | None = None) -> Flow:
    """Dense inverse search (Kroeger et al., ECCV 2016): no weights, tens of milliseconds a pair on a CPU.

    Args:
        query: RGB (H, W, 3) uint8.
        reference: RGB (H, W, 3) uint8, the same size.
        quick: In a seventh of the time, on a coarser grid.
        start: Flow (2, H, W) [pixels] that is tried beside what the search finds by itself; no motion if not given.

    Returns:
        Flow (2, H, W) float32 [pixels], x then y, from the query to the reference.
    """
    height, width = query.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        # The coarsest level of the search would be empty: OpenCV stops the process there.
        return np.zeros((2, height, width), np.float32)
    may_be_quick = quick and min(height, width) >= _SMALLEST_QUICK
    preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST if may_be_quick else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (query, reference)]
    # Zeros are not the same as nothing: with them no motion is tried at each scale, which fast clips need.
    tried = np.zeros((height, width, 2), np.float32) if start is None else start.transpose(1, 2, 0).copy()
    flow = cv2.DISOpticalFlow.create(preset).calc(grey[0], grey[1], tried)
    return np.ascontiguousarray(flow.transpose(2, 0, 1), dtype=np.float32)


_SMALLEST_SIDE, _SMALLEST_QUICK = 16, 32  # [pixels]


def raft_flow(
    weights: str | Path = RAFT_WEIGHTS, *, iterations: int | None = None, device: str | torch.device = "cpu"
) -> FlowFunction:
    """The paper's flow: RAFT with its published weights (Sec. 4).

    Args:
        weights: A file, or a Hugging Face Hub id; ``id:filename`` names the file in it.
        iterations: Refinement steps [>= 1]; ``None`` for the paper's 2, and 5 for a reference more than 15 frames away.
        device: Where it runs.

    Returns:
        A function of (query, reference, age = 1) -> flow, in the form of ``dis_flow``. ``age`` is the distance of the two
        frames [frames].

    Raises:
        RaftError: The file is not RAFT's weights.
        WeightsError: The file cannot be found or fetched.
        ValueError: There are no iterations.
    """
    if iterations is not None and iterations < 1:
        raise ValueError(f"RAFT refines its flow at least once, not {iterations} times")
    from mamp.flow.raft import load_raft

    model = load_raft(resolve_weights(weights, default_filename=RAFT_FILENAME)).to(device).eval()
    alone = Lock()  # it fills the device by itself, in time and in memory

    @torch.inference_mode()
    def flow(query: Frame, reference: Frame, age: int = 1) -> Flow:
        pair = [torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() for frame in (query, reference)]
        steps = iterations or (FAR_ITERATIONS if age > FAR_AGE else NEAR_ITERATIONS)
        with alone:
            displacement: Any = model(*pair, iterations=steps)[0].float().cpu().numpy()
        return np.asarray(displacement, dtype=np.float32)

    return flow


def to_cell_units(flow: Tensor) -> Tensor:
    """Takes flow (..., 2, H, W) [pixels] at the pixel of each cell: (..., 2, h, w) [cells]."""
    return flow[..., ::STRIDE, ::STRIDE] / STRIDE


def warp(reference: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Lays references over the query: each cell fetches what its flow points at, linearly interpolated (Sec. 3.2).

    Args:
        reference: Keys or Values (N, C, h, w) float.
        flow: Displacement from the query to each reference (N, 2, h, w) [cells], x then y.

    Returns:
        The warped references (N, C, h, w), and where they came from inside the frame (N, h, w) bool; only there they
        mean anything.
    """
    x, y = _ends(flow)
    inside = _is_inside(x, y, reference.shape[-2:])
    return _sampled(reference, x, y, "zeros"), inside


def gather_by_flow(flow: Tensor, *references: Tensor) -> tuple[list[Tensor], Tensor]:
    """As ``warp`` for flow in whole cells: cells are taken as they are, in a quarter of the time.

    Args:
        flow: Displacement from the query (2, h, w) [cells], x then y, whole numbers.
        references: Keys or Values (C, h, w) of one frame.

    Returns:
        The cells fetched (C, h, w), and which of them came from inside the frame (h, w) bool.
    """
    place, inside = sources(flow)
    return [gather_cells(reference, place) for reference in references], inside


def sources(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Which cell flow in whole cells (2, h, w) fetches for each of the query, and which lie inside the frame: (h, w), both.

    Cells are counted row by row; where flow leads out of the frame, it is the nearest one inside.
    """
    h, w = flow.shape[-2:]
    x, y = (end[0] for end in _ends(flow[None]))
    return (y.clamp(0, h - 1) * w + x.clamp(0, w - 1)).long(), _is_inside(x, y, (h, w))


def gather_cells(cells: Tensor, place: Tensor) -> Tensor:
    """Those of (C, h, w) at some places, counted row by row, of any shape (...): (C, ...)."""
    flat = place.flatten()
    if cells.stride(0) == 1:  # as the encoder lays them: a cell in one piece
        found = cells.permute(1, 2, 0).flatten(0, 1).index_select(0, flat).T
    else:
        found = cells.flatten(1).index_select(1, flat)
    return found.view(len(cells), *place.shape)


def compose_flow(first: Tensor, then: Tensor) -> Tensor:
    """Follows motion on: the displacement (2, h, w) [cells] of frame a to c, from that of a to b and that of b to c.

    Where the motion leaves b, that of b's edge goes on.
    """
    x, y = _ends(first[None])
    return first + _sampled(then[None], x, y, "border")[0]


def select_motion(query: Tensor, key: Tensor, *motions: Tensor) -> Tensor:
    """Of motions (2, h, w) [cells] to a reference, the one that leads to what looks alike, cell by cell.

    Motion that was followed over many frames and motion that was looked for at once fail in different places.

    Args:
        query: Features (C, h, w).
        key: Features of the reference (C, h, w).
        motions: At least one; the first is taken where others are only as good.
    """
    every = torch.stack(motions)
    x, y = (end[:, ::_COARSE, ::_COARSE] for end in _ends(every))
    h, w = key.shape[-2:]
    found = _sampled(key[None].expand(len(every), *key.shape), x, y, "zeros")
    alike = (query[:, ::_COARSE, ::_COARSE] * found).sum(dim=1).masked_fill(~_is_inside(x, y, (h, w)), _FAR_OUT)
    around = F.avg_pool2d(alike[:, None], _AROUND, 1, _AROUND // 2, count_include_pad=False)[:, 0]
    best = around.argmax(dim=0).repeat_interleave(_COARSE, 0).repeat_interleave(_COARSE, 1)[:h, :w]
    return every.gather(0, best.expand(1, 2, h, w))[0]


_COARSE = 2  # [cells]: every second cell and row is asked, at a quarter of the cost
_AROUND = 3  # of those cells over which likeness is averaged: motion is smooth, features are not
_FAR_OUT = -1e3  # likeness of what lies outside the frame


def _ends(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where flow (N, 2, h, w) [cells] leads: x and y (N, h, w) [cells]."""
    h, w = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    return x + flow[:, 0], y + flow[:, 1]


def _is_inside(x: Tensor, y: Tensor, size: Sequence[int]) -> Tensor:
    return (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)


def _sampled(source: Tensor, x: Tensor, y: Tensor, outside: str) -> Tensor:
    """Values of (N, C, h, w) at x and y (N, h, w) [cells], linearly interpolated."""
    h, w = source.shape[-2:]
    grid = torch.stack((2 * x / max(w - 1, 1) - 1, 2 * y / max(h - 1, 1) - 1), dim=-1)
    return F.grid_sample(source, grid.to(source.dtype), padding_mode=outside, align_corners=True)
