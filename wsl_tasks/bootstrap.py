"""Percentile bootstrap over groups: models of one cell are alike, so cells are drawn, not models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95

OfItems = Callable[[NDArray[np.intp]], float]
"""A statistic of the items at these places; a place may stand there several times. NaN where undefined."""


def interval(
    groups: Shaped[np.ndarray, " items"],
    statistic: OfItems,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Give a percentile bootstrap interval (Efron and Tibshirani 1993, eq. 13.5), drawing whole groups.

    Args:
        groups: `(n_items,)` group of each item, such as its cell.
        statistic: Computed on every resample; must not change what it is given.
        seed: Seed of the draws.
        resamples: Number of resamples.
        level: Share of the resamples inside of the interval, in (0, 1).

    Returns:
        Lower and upper end. Resamples on which the statistic is undefined do not count.

    Undefined when:
        The statistic is undefined on more than half of the resamples, or there is one group only: both ends
        are NaN.

    Example:
        >>> values = np.arange(100.0)
        >>> low, high = interval(np.arange(100), lambda places: values[places].mean(), seed=0)
        >>> bool(43 < low < 45), bool(54 < high < 56)
        (True, True)
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    places = [np.flatnonzero(member == number) for number in range(len(names))]
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    values = np.array([statistic(np.concatenate([places[g] for g in row])) for row in drawn])
    defined = values[~np.isnan(values)]
    if len(defined) < resamples / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
