"""Random streams that are functions of (seed, purpose, epoch), never of who shares a stack."""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

# SplitMix64 (Steele, Lea and Flood 2014): the golden ratio as increment, and the two factors of its mixer,
# as the signed 64-bit integers that torch has
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def stream_key(seed: int, purpose: str, epoch: int = 0) -> int:
    """Give the number that a random stream begins at.

    Args:
        seed: A model's seed for this purpose.
        purpose: What the numbers are for, such as `init`, `order` or `dropout`.
        epoch: The epoch that they are for.

    Returns:
        In [0, 2**63).
    """
    key = hashlib.sha256(f"{purpose}:{seed}:{epoch}".encode()).digest()
    return int.from_bytes(key[:8], "little") >> 1


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
    return torch.Generator().manual_seed(stream_key(seed, purpose, epoch))


def substreams(keys: Int[Tensor, "*#shape"], places: Int[Tensor, "*#shape"]) -> Int[Tensor, "*#shape"]:
    """Derive the key of each of many streams: SplitMix64 of key and place, the same on any device.

    Args:
        keys: int64, any shape that broadcasts with the places.
        places: int64, which number or stream below each key.

    Returns:
        int64, well mixed.
    """
    mixed = keys + places * _GOLDEN
    mixed = (mixed ^ _shift(mixed, 30)) * _FIRST
    mixed = (mixed ^ _shift(mixed, 27)) * _SECOND
    return mixed ^ _shift(mixed, 31)


def _shift(value: Int[Tensor, "*shape"], by: int) -> Int[Tensor, "*shape"]:
    """Shift to the right without the sign, which torch would keep."""
    return (value >> by) & ((1 << (64 - by)) - 1)


def uniform(keys: Int[Tensor, "*#shape"], places: Int[Tensor, "*#shape"]) -> Float[Tensor, "*#shape"]:
    """Draw numbers without a generator: a whole stack at once, each network from its own stream.

    Args:
        keys: int64, one for each stream.
        places: int64, which number of the stream; broadcasts with the keys.

    Returns:
        float32 in [0, 1), 24 random bits each.

    Example:
        >>> uniform(torch.tensor(7), torch.tensor([0, 1])).tolist()
        [0.07297039031982422, 0.38982969522476196]
    """
    return (_shift(substreams(keys, places), 40)).to(torch.float32) * 2.0**-24
