"""The process group of torchrun: each process works on its shard, on its own device."""

from __future__ import annotations

import os
from datetime import timedelta

import cv2
import torch
import torch.distributed as dist

_TIMEOUT = timedelta(days=1)  # shards differ in length: the fastest process waits for the slowest


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", or "auto" for CUDA if available, else the CPU.

    Raises:
        ValueError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be cpu, cuda, cuda:N or auto, not {name}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device on this machine; choose cpu or auto.")
    return device


def join(name: str) -> torch.device:
    """Joins the process group if torchrun started this process.

    Args:
        name: "cpu", "cuda", "cuda:1", or "auto" for CUDA if available.

    Returns:
        The device of this process.
    """
    device = resolve_device(name)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def use_share_of_machine(name: str, processes: int = 1) -> torch.device:
    """Shares a machine among the processes that torchrun started on it, without a process group.

    Each process gets its share of the cores, and one of the GPUs.

    Args:
        name: As for ``resolve_device``.
        processes: Number of processes that share the machine, unless ``LOCAL_WORLD_SIZE`` says it.

    Returns:
        The device of this process.
    """
    device = resolve_device(name)
    rank, processes = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if processes > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // processes)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    if str(device) == "cuda":
        return torch.device("cuda", rank % torch.cuda.device_count())
    return device


def rank_and_world() -> tuple[int, int]:
    """Rank of this process, and number of processes; (0, 1) outside a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def leave() -> None:
    """Leaves the process group, if any, once all processes are done: gloo may abort if one leaves early."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
