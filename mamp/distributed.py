"""Joining the processes that torchrun starts: each takes its share of the work on a device of its own."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=1)  # shares differ in length: the quickest process waits for the slowest


def join(name: str) -> torch.device:
    """Joins the processes that torchrun started, if it did, and picks this one's device.

    Args:
        name: "cpu", "cuda", "cuda:1" or "auto": CUDA where there is one.
    """
    cuda = name.startswith("cuda") or (name == "auto" and torch.cuda.is_available())
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda" if name == "auto" and cuda else "cpu" if name == "auto" else name)


def rank_and_world() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def leave() -> None:
    """Leaves the other processes, if there are any, once all of them are done: gloo may abort where one goes early."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
