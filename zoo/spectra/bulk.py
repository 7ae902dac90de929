"""The bulk of a spectrum: what random entries alone would give, and what stands out of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Bulk(NamedTuple):
    """The Marchenko-Pastur bulk of a spectrum; NaN where the eigenvalues are.

    Attributes:
        variance: Variance of the entries that make up the bulk.
        edge: Where it ends, in the unit of eigenvalues.
        spikes: How many eigenvalues are above the edge.
    """

    variance: Float[Tensor, "*batch"]
    edge: Float[Tensor, "*batch"]
    spikes: Float[Tensor, "*batch"]


def fit_bulk(eigenvalues: Float[Tensor, "*batch numbers"], rows: int, columns: int) -> Bulk:
    """Fit the bulk of `W^T W` (Marchenko and Pastur 1967) and count the spikes above it.

    Entries of variance v give eigenvalues up to `v (sqrt(m) + sqrt(n))^2`. Spikes would count as variance,
    so they are taken out: k spikes leave the sum of the other eigenvalues over `(m - k)(n - k)`, and k is the
    smallest number that no longer grows by this. Of a random matrix the largest eigenvalue is above the edge
    in about one of six (Tracy and Widom); compare with the null.

    Args:
        eigenvalues: `(..., numbers)` ascending: of one matrix, or of several of the same shape together.
        rows: Rows of a matrix.
        columns: Its columns.

    Returns:
        The bulk.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> noise = torch.randn(200, 100, generator=generator, dtype=torch.float64)
        >>> noise[0, :3] += 60  # one direction that is no noise
        >>> found = fit_bulk(torch.linalg.svdvals(noise).square().flip(0), 200, 100)
        >>> found.spikes.item(), round(found.variance.item(), 2), round((10 + 200**0.5) ** 2)
        (1.0, 1.02, 583)
    """
    count = eigenvalues.shape[-1]
    matrices = count / min(rows, columns)
    spikes = torch.arange(count + 1, device=eigenvalues.device)
    sums = torch.nn.functional.pad(eigenvalues.cumsum(dim=-1), (1, 0)).flip(-1)  # of all but the k largest
    each = spikes / matrices
    variance = sums / (matrices * ((rows - each) * (columns - each)).clamp(min=1))
    edge = variance * (math.sqrt(rows) + math.sqrt(columns)) ** 2
    above = count - torch.searchsorted(eigenvalues.contiguous(), edge.contiguous(), right=True)
    first = (above <= spikes).int().argmax(dim=-1, keepdim=True)
    finite = eigenvalues.isfinite().all(dim=-1)
    found = (variance.gather(-1, first), edge.gather(-1, first), first.double())
    return Bulk(*(torch.where(finite, part.squeeze(-1), torch.nan) for part in found))


def marchenko_pastur(
    at: Float[Tensor, " points"], rows: int, columns: int, variance: float
) -> Float[Tensor, " points"]:
    """Give the density of the eigenvalues of `W^T W` for independent entries, of those that are not 0.

    Args:
        at: Eigenvalues.
        rows: Rows of W.
        columns: Its columns.
        variance: Variance of the entries, above 0.

    Returns:
        The density; its integral is 1.

    Example:
        >>> grid = torch.linspace(1e-6, 4, 400001, dtype=torch.float64)
        >>> round(torch.trapezoid(marchenko_pastur(grid * 50, 50, 50, 1.0), grid * 50).item(), 2)
        1.0
    """
    long, short = max(rows, columns), min(rows, columns)
    low = variance * (math.sqrt(long) - math.sqrt(short)) ** 2
    high = variance * (math.sqrt(long) + math.sqrt(short)) ** 2
    root = ((high - at) * (at - low)).clamp(min=0).sqrt()
    return torch.where(root > 0, root / (2 * math.pi * variance * short * at), 0.0)


def effective_rank(eigenvalues: Float[Tensor, "*batch numbers"]) -> Float[Tensor, "*batch"]:
    """Measure the effective rank: `exp(-sum_i p_i ln p_i)`, p the singular values over their sum.

    Roy and Vetterli 2007, definition 2.

    Args:
        eigenvalues: Squared singular values `(..., n)`, at least 0.

    Returns:
        From 1 to the rank; NaN where all are zero, or one is not finite.

    Example:
        >>> effective_rank(torch.tensor([0.0, 4.0, 4.0, 4.0])).round(decimals=4)
        tensor(3.)
    """
    values = eigenvalues.sqrt()
    shares = values / values.sum(dim=-1, keepdim=True)
    rank: Tensor = torch.special.entr(shares).sum(dim=-1).exp()
    return rank
