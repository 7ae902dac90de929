"""Random streams that are functions of (seed, purpose, epoch), never of who shares a stack."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Open a random stream.

    Args:
        seed: A model's seed for this purpose.
        purpose: What the numbers are for, such as `init` or `order`.
        epoch: The epoch that they are for.

    Returns:
        A fresh CPU generator; equal arguments give equal numbers, others independent ones.

    Example:
        >>> bool(torch.equal(torch.rand(3, generator=stream(0, "order", 2)),
        ...                  torch.rand(3, generator=stream(0, "order", 2))))
        True
    """
    key = hashlib.sha256(f"{purpose}:{seed}:{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
