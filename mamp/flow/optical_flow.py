"""Motion (Sec. 3.2): optical flow from the query to a reference.

The flow is the displacement of every pixel of the query to the reference, (2, H, W), x then y, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mamp.model.checkpoint import resolve_weights

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
