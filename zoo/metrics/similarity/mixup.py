"""Inputs between training items, where networks that agree on all items may still differ."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

ALPHA = 16
"""Both parameters of the Beta distribution (Yang et al. 2021): most points lie near the middle."""


def mix(
    x: Float[Tensor, "items ..."], partners: Int[Tensor, " items"], shares: Float[Tensor, " items"]
) -> Float[Tensor, "items ..."]:
    """Mix items with others: `share x_i + (1 - share) x_partner(i)` (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        x: `(n_items, ...)`, numbers; tokens cannot be mixed.
        partners: Place of each item's partner.
        shares: Share of each item itself, in [0, 1].

    Returns:
        `(n_items, ...)`.

    Example:
        >>> mix(torch.tensor([0.0, 8.0]), torch.tensor([1, 0]), torch.tensor([0.25, 0.5]))
        tensor([6., 4.])
    """
    share = shares.view(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[partners]


def draw_shares(count: int, generator: Generator) -> Float[Tensor, " count"]:
    """Draw shares from Beta(16, 16).

    The middle one of 2 a - 1 uniform numbers has the law Beta(a, a) (David and Nagaraja 2003, section 2.3),
    which torch cannot draw from a generator.

    Args:
        count: How many.
        generator: Source of all randomness.

    Returns:
        `(count,)` in (0, 1), mean 0.5, variance 1/132.
    """
    uniform = torch.rand(count, 2 * ALPHA - 1, generator=generator)
    return uniform.sort(dim=1).values[:, ALPHA - 1]


def draw_partners(count: int, generator: Generator) -> Int[Tensor, " count"]:
    """Give each item another one as its partner: a random permutation that is one cycle.

    Args:
        count: Number of items.
        generator: Source of all randomness.

    Returns:
        `(count,)`; no item is its own partner where there are two or more.
    """
    order = torch.randperm(count, generator=generator)
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    return partners
