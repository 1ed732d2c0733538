"""Optical flow (Sec. 3.2): the displacement of every pixel of the query to the reference, (2, H, W) [pixels], x then y."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mamp.distributed import resolve_device
from mamp.files import file_stamp
from mamp.flow.parallel_dis import FINE_LEVEL, gray_pyramid, inverse_search
from mamp.flow.raft import RAFT, load_raft
from mamp.model.checkpoint import needs_download, resolve_weights
from mamp.model.encoder import STRIDE
from mamp.settings import Settings

Frame = NDArray[np.uint8]
Flow = NDArray[np.float32]
FlowFunction = Callable[[Frame, Frame], Flow]  # (query, reference) -> flow; every FlowEstimator is one

RAFT_WEIGHTS = Settings().raft_weights
RAFT_FILENAME = "LibreRAFTl-flow-sintel.pt"
NEAR_ITERATIONS, FAR_ITERATIONS, FAR_GAP = 2, 5, 15  # Sec. 4: more iterations for a distant reference
_MIN_SIDE = 16  # [pixels]


@runtime_checkable
class FlowEstimator(Protocol):
    """A flow function with keywords for what the tracker knows about the two frames.

    It is recognized by its attribute ``accepts_initial_flow``. A plain function of two frames lacks the attribute and
    is called without keywords.

    Attributes:
        accepts_initial_flow: Whether ``initial_flow`` improves the flow. If not, it is never passed.
    """

    accepts_initial_flow: bool

    def __call__(
        self,
        query: Frame,
        reference: Frame,
        *,
        fast: bool = False,
        initial_flow: Flow | None = None,
        frame_gap: int = 1,
    ) -> Flow:
        """Estimates the flow from the query to the reference.

        Args:
            query: RGB (H, W, 3) uint8.
            reference: RGB (H, W, 3) uint8, the same size.
            fast: Prefer speed to accuracy: the flow is one of several candidates. Frames are as small as the grid of cells
                then, see ``frame_at_cells``, if ``accepts_initial_flow``.
            initial_flow: Starting point of the estimation (2, H, W) [pixels].
            frame_gap: Distance between the two [frames].

        Returns:
            Flow (2, H, W) float32 [pixels], x then y.
        """


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016): no weights, tens of milliseconds a pair on a CPU.

    ``fast`` takes a seventh of the time for frames of a quarter of the size. ``initial_flow`` is tested beside the
    candidates of the search; without it, zero motion is. ``frame_gap`` is ignored. See ``FlowEstimator`` for the arguments.
    """

    accepts_initial_flow = True

    def __call__(
        self,
        query: Frame,
        reference: Frame,
        *,
        fast: bool = False,
        initial_flow: Flow | None = None,
        frame_gap: int = 1,
    ) -> Flow:
        height, width = query.shape[:2]
        if min(height, width) < _MIN_SIDE:
            # The coarsest level of the search would be empty: OpenCV aborts the process there.
            return np.zeros((2, height, width), np.float32)
        preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST if fast else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        search = cv2.DISOpticalFlow.create(preset)
        if fast:
            search.setFinestScale(0)  # the preset's is a quarter of the frame's size
        gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (query, reference)]
        # Zeros differ from no initial flow: OpenCV then tests zero motion at each scale, which fast clips need.
        start = np.zeros((height, width, 2), np.float32)
        if initial_flow is not None:
            start[:] = initial_flow.transpose(1, 2, 0)
        return np.asarray(search.calc(gray[0], gray[1], start), np.float32).transpose(2, 0, 1)


dis_flow = DisFlow()


def frame_at_cells(frame: Frame) -> Frame:
    """A frame with one pixel for each cell: the mean color of the 4 x 4 pixels around its center.

    Args:
        frame: RGB (H, W, 3) uint8.

    Returns:
        RGB (ceil(H / 4), ceil(W / 4), 3) uint8.
    """
    height, width = (-(-side // STRIDE) for side in frame.shape[:2])
    margin = STRIDE // 2  # cell i is centered on pixel 4 i
    after = [max(0, STRIDE * cells - margin - side) for cells, side in zip((height, width), frame.shape, strict=False)]
    padded = cv2.copyMakeBorder(frame, margin, after[0], margin, after[1], cv2.BORDER_REPLICATE)
    blocks = padded[: STRIDE * height, : STRIDE * width]
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class ParallelDisFlow:
    """``DisFlow`` in tensors, on any device: see ``inverse_search``. For GPUs; a CPU takes five times as long with it.

    ``fast`` and ``initial_flow`` mean the same as for ``DisFlow``; ``frame_gap`` is ignored. See ``FlowEstimator``.

    Args:
        device: Device of the computation.
    """

    accepts_initial_flow = True

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)

    @torch.inference_mode()
    def __call__(
        self,
        query: Frame,
        reference: Frame,
        *,
        fast: bool = False,
        initial_flow: Flow | None = None,
        frame_gap: int = 1,
    ) -> Flow:
        pyramids = [gray_pyramid(torch.from_numpy(frame)[None].to(self.device)) for frame in (query, reference)]
        initial = None if initial_flow is None else torch.from_numpy(initial_flow)[None].to(self.device)
        flow = inverse_search(*pyramids, initial=initial, finest=0 if fast else FINE_LEVEL)
        pixels: Any = F.interpolate(flow, query.shape[:2], mode="bilinear")[0].cpu().numpy()
        return np.asarray(pixels, dtype=np.float32)


class RaftFlow:
    """RAFT (Teed and Deng, ECCV 2020), the paper's flow (Sec. 4); see ``raft_flow``.

    ``fast`` and ``initial_flow`` are ignored. See ``FlowEstimator`` for the arguments.

    Args:
        model: RAFT on its device, in evaluation mode.
        iterations: Refinement steps [>= 1]; ``None`` for the paper's.
    """

    accepts_initial_flow = False

    def __init__(self, model: RAFT, *, iterations: int | None = None) -> None:
        if iterations is not None and iterations < 1:
            raise ValueError(f"RAFT needs at least one iteration, not {iterations}")
        self._model, self._iterations = model, iterations
        self._lock = Lock()  # one pair at a time fills the device, in time and in memory

    @torch.inference_mode()
    def __call__(
        self,
        query: Frame,
        reference: Frame,
        *,
        fast: bool = False,
        initial_flow: Flow | None = None,
        frame_gap: int = 1,
    ) -> Flow:
        device = next(self._model.parameters()).device
        pair = [torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() for frame in (query, reference)]
        iterations = self._iterations or (FAR_ITERATIONS if frame_gap > FAR_GAP else NEAR_ITERATIONS)
        with self._lock:
            flow: Any = self._model(*pair, iterations=iterations)[0].float().cpu().numpy()
        return np.asarray(flow, dtype=np.float32)


def load_flow(settings: Settings) -> FlowEstimator | None:
    """The optical flow that settings name, on their device; ``None`` for matching without motion.

    RAFT is loaded once per process, file and device.

    Raises:
        RaftError: The file is not RAFT's weights.
        WeightsError: The file cannot be found or fetched.
    """
    if settings.flow == "none":
        return None
    if settings.flow == "dis":
        return ParallelDisFlow(resolve_device(settings.device)) if settings.execution == "asynchronous" else dis_flow
    return _shared_raft(file_stamp(fetch_raft(settings.raft_weights)), resolve_device(settings.device))


def raft_needs_download(settings: Settings) -> bool:
    """Whether ``load_flow`` would download weights."""
    return settings.flow == "raft" and needs_download(settings.raft_weights, default_filename=RAFT_FILENAME)


def fetch_raft(weights: str | Path) -> Path:
    """RAFT's weights on disk; for the argument and the errors see ``resolve_weights``."""
    # A run asks for them several times, also without a network; that a branch has newer ones is not noticed.
    return resolve_weights(weights, default_filename=RAFT_FILENAME, cached_first=True)


@lru_cache(maxsize=2)
def _shared_raft(weights: tuple[Path, int, int], device: torch.device) -> RaftFlow:
    return raft_flow(weights[0], device=device)


def raft_flow(
    weights: str | Path = RAFT_WEIGHTS, *, iterations: int | None = None, device: str | torch.device = "cpu"
) -> RaftFlow:
    """Loads RAFT with its published weights.

    Args:
        weights: A file, or a Hugging Face Hub id; ``id:filename`` names the file in it.
        iterations: Refinement steps [>= 1]; ``None`` for the paper's: 2, and 5 for a reference more than 15 frames away.
        device: Device of the network.

    Returns:
        A flow function; see ``FlowEstimator``.

    Raises:
        RaftError: The file does not contain RAFT's weights.
        WeightsError: The file cannot be found or downloaded.
        ValueError: ``iterations`` is less than 1.
    """
    model = load_raft(fetch_raft(weights)).to(device)
    return RaftFlow(model, iterations=iterations)
