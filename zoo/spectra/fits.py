"""Power laws fitted to the tail of eigenvalues: one method to place the tail, or three."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.errors import SpecificationError, unknown_name
from zoo.spectra.scan import EQUAL, best_start

Fit = Literal["median", "xmin_peak", "goodness_of_fit"]
"""Where the tail begins: at the median; near the peak of the histogram; where the law fits best."""
FITS: tuple[Fit, ...] = ("median", "xmin_peak", "goodness_of_fit")
FEWEST = 20
"""Eigenvalues below which a fit says nothing: its standard error is above a fifth of `alpha - 1`."""
_BINS = 100
_BELOW_PEAK, _ABOVE_PEAK = 0.95, 1.5


class PowerLaw(NamedTuple):
    """A density `p(x) ~ x^-alpha` for x of at least `xmin`; NaN where undefined.

    Attributes:
        alpha: Exponent, above 1: the smaller, the heavier the tail.
        standard_error: `(alpha - 1) / sqrt(tail)`, for independent values; those of windows that overlap
            are not, and their error is larger.
        distance: Kolmogorov-Smirnov distance of the fit from the tail, in [0, 1]; small is good.
        xmin: Where the tail begins.
        tail: How many eigenvalues it has.
    """

    alpha: Float[Tensor, "*batch"]
    standard_error: Float[Tensor, "*batch"]
    distance: Float[Tensor, "*batch"]
    xmin: Float[Tensor, "*batch"]
    tail: Float[Tensor, "*batch"]


def fit_power_law(
    eigenvalues: Float[Tensor, "*batch numbers"], fit: Fit = "median", *, fewest: int = FEWEST
) -> PowerLaw:
    """Fit a power law to the tail of eigenvalues by maximum likelihood.

    For the tail that begins at the i-th of n ascending values, Hill's estimator (Clauset et al. 2009, eq.
    3.1) is `alpha = 1 + (n - i) / sum_{j >= i} ln(x_j / x_i)`. `median` begins at `i = n // 2`.
    `goodness_of_fit` tries all i and takes the smallest Kolmogorov-Smirnov distance. `xmin_peak` tries those
    from 0.95 to 1.5 times the left edge of the fullest of 100 bins of the logarithms.

    Undefined where there are fewer than `fewest` values, where one is not finite, where more than half are
    zero, and where all of the tail are equal.

    Args:
        eigenvalues: `(..., n)`, at least 0, ascending.
        fit: Where the tail begins.
        fewest: How many it takes, at least 2.

    Returns:
        The law, float64, one for each leading index.

    Raises:
        UnknownNameError: There is no such fit.
        SpecificationError: `fewest` is below 2.

    Example:
        >>> ranks = torch.arange(999.5, 0, -1, dtype=torch.float64) / 1000
        >>> law = fit_power_law(ranks.pow(-0.5))  # quantiles of a density x^-3
        >>> round(law.alpha.item(), 2), round(law.standard_error.item(), 3), round(law.xmin.item(), 3)
        (3.0, 0.09, 1.415)
    """
    if fit not in FITS:
        raise unknown_name("fit", fit, FITS)
    if fewest < 2:
        raise SpecificationError(f"fewest: a tail has at least 2 values, got {fewest}; {FEWEST} is usual")
    count, shape = eigenvalues.shape[-1], eigenvalues.shape[:-1]
    if count < fewest or not math.prod(shape):
        return PowerLaw(*(eigenvalues.new_full(shape, torch.nan, dtype=torch.float64) for _ in range(5)))
    values = eigenvalues.double().reshape(-1, count)
    found = _fit(values, fit)
    keep = is_defined(values)
    return PowerLaw(*(torch.where(keep & found.alpha.isfinite(), v, torch.nan).reshape(shape) for v in found))


def is_defined(eigenvalues: Float[Tensor, "*batch numbers"]) -> Bool[Tensor, "*batch"]:
    """Say whether there is an upper half to fit: finite, above zero, and not all equal.

    Args:
        eigenvalues: `(..., n)` ascending, at least one.

    Returns:
        `(...)`.
    """
    upper = eigenvalues[..., eigenvalues.shape[-1] // 2 :]
    finite = eigenvalues.isfinite().all(dim=-1)
    return finite & (upper[..., 0] > 0) & (upper[..., -1] > upper[..., 0] * (1 + EQUAL))


def _fit(values: Float[Tensor, "rows numbers"], fit: Fit) -> PowerLaw:
    """Fit rows that may also be undefined; what they give then is left out by the caller."""
    rows, count = values.shape
    logs = torch.where(values > 0, values, 1.0).log()
    if fit == "median":
        start = torch.full((rows,), count // 2)
    else:
        allowed = values > 0
        if fit == "xmin_peak":
            above = logs - peak_edge(logs, allowed)
            allowed &= (above >= math.log(_BELOW_PEAK)) & (above <= math.log(_ABOVE_PEAK))
        start = best_start(logs, allowed)
    return law_from(values, logs, start)


def law_from(
    values: Float[Tensor, "rows numbers"], logs: Float[Tensor, "rows numbers"], start: Tensor
) -> PowerLaw:
    """Fit the tails that begin at given places.

    Args:
        values: `(rows, n)` ascending.
        logs: Their logarithms.
        start: First place of each tail `(rows,)`; negative for none.

    Returns:
        The laws; NaN where there is no tail, or no spread in it.
    """
    count = values.shape[1]
    first = start.clamp(min=0).unsqueeze(1)
    places = torch.arange(count)
    inside = places >= first
    tail = (count - first).double()
    beyond = torch.where(inside, logs - logs.gather(1, first), 0.0)
    mean = beyond.sum(dim=1, keepdim=True) / tail
    alpha = torch.where((mean > EQUAL) & (start >= 0).unsqueeze(1), 1 + 1 / mean, torch.nan)
    gap = (1 - torch.exp((1 - alpha) * beyond) - (places - first) / tail).abs()
    distance = torch.where(inside, gap, 0.0).amax(dim=1)
    xmin = values.gather(1, first)[:, 0]
    return PowerLaw(alpha[:, 0], ((alpha - 1) / tail.sqrt())[:, 0], distance, xmin, tail[:, 0])


def peak_edge(
    logs: Float[Tensor, "rows numbers"], counted: Bool[Tensor, "rows numbers"]
) -> Float[Tensor, "rows 1"]:
    """Find the left edge of the fullest bin of a histogram of logarithms, the first of those equally full.

    Args:
        logs: Logarithms `(rows, n)`.
        counted: Which of them count.

    Returns:
        `(rows, 1)`, on the scale of the logarithms.

    Example:
        >>> peak_edge(torch.tensor([[0.0, 50.5, 50.6, 100.0]]), torch.ones(1, 4, dtype=torch.bool))
        tensor([[50.]])
    """
    low = torch.where(counted, logs, torch.inf).amin(dim=1, keepdim=True)
    high = torch.where(counted, logs, -torch.inf).amax(dim=1, keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    bins = ((logs - low) / span * _BINS).nan_to_num(0, 0, 0).long().clamp(0, _BINS - 1)
    counts = torch.zeros(len(logs), _BINS, dtype=torch.int64).scatter_add_(1, bins, counted.long())
    return low + counts.argmax(dim=1, keepdim=True) * span / _BINS
