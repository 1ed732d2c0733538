"""Peak memory of the process, and throughput of the encoder compared with a matrix product."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mamp.model.encoder import Encoder, device_of, has_bfloat16
from mamp.propagation.alignment import pad_to_stride

_MATRIX_SIDE_CPU, _MATRIX_SIDE_GPU = 2048, 8192  # large enough to reach the peak of the device


def encoder_throughput(encoder: object, size: tuple[int, int], seconds: float) -> dict[str, float | str]:
    """Prints and returns FLOP/s of the encoder, and their ratio to a large matrix product of the same precision.

    The operations are those of its architecture, even where fewer are computed (``mamp/model/winograd.py``).

    Args:
        encoder: The encoder; nothing is measured unless it is a network.
        size: (H, W) of the frames.
        seconds: Time per frame [s].
    """
    if not isinstance(encoder, Encoder):
        return {}
    device = device_of(encoder)
    dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        Encoder(width=encoder.width, depth=encoder.depth)(pad_to_stride(torch.zeros(3, *size))[None])
    measured = counter.get_total_flops() / seconds
    side = _MATRIX_SIDE_CPU if device.type == "cpu" else _MATRIX_SIDE_GPU
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    peak = 2 * side**3 / median_seconds(lambda: (matrix @ matrix).sum().item())
    name = str(dtype).removeprefix("torch.")
    print(f"encoder {measured / 1e9:.0f} GFLOP/s, {measured / peak:.0%} of a {name} matrix product of {side}")
    return {"encoder_gflops": round(measured / 1e9, 1), "of_matrix_product": round(measured / peak, 3), "type": name}


def median_seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median run time of a function, after one unmeasured call [s]."""
    function()
    seconds = []
    for _ in range(repeats):
        began = time.monotonic()
        function()
        seconds.append(time.monotonic() - began)
    return float(np.median(seconds))


def peak_memory() -> int:
    """Peak memory of this process [bytes]: of the GPU if it is used, else resident memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
