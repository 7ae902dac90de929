"""How much memory there is, and how many networks fit into it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from generators.engine.cost import resting_bytes, row_bytes
from generators.grid import Stack
from zoo.errors import SpecificationError

MEMORY_SHARE = 0.8
"""Share of the free memory that a stack may plan with."""


def free_bytes(device: str) -> int:
    """Say how much memory a device has free.

    Args:
        device: Torch device.

    Returns:
        Bytes; on a CPU what the system has available, or all of it where it does not say, and no more than
        the limit of this process's control group leaves.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_system_bytes(), _group_bytes())


def _system_bytes() -> int:
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _group_bytes(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Read what a container may still take; without a limit that is without end."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except OSError:
        return sys.maxsize
    return sys.maxsize if limit == "max" else max(0, int(limit) - used)


def capacity(stack: Stack, free: int) -> int:
    """Say how many networks of a stack's kind can be stepped at once.

    Args:
        stack: The stack.
        free: Free memory in bytes.

    Returns:
        At least 1.

    Raises:
        SpecificationError: Not even one fits.
    """
    room = int(MEMORY_SHARE * free) - resting_bytes(stack)
    fitting = room // row_bytes(stack)
    if fitting < 1:
        spec = stack.models[0].spec
        needed = resting_bytes(stack) + row_bytes(stack)
        raise SpecificationError(
            f"{stack.models[0].model_id} does not fit into memory: training one network of "
            f"{stack.layout.size:,} parameters at batch size {spec.training.batch_size} needs about "
            f"{needed / 1e9:.1f} GB, {MEMORY_SHARE:.0%} of the free {free / 1e9:.1f} GB may be used; make it "
            "narrower, take a smaller batch, or use a device with more memory"
        )
    return int(fitting)
