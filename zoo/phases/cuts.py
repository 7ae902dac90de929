"""Where a distribution falls apart in two, how it looks, and how far seeds scatter near the cut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped

NEAREST_SHARE, NEAREST_AT_LEAST = 4, 8
MOST_BINS = 40


class Cut(NamedTuple):
    """Where a distribution is cut in two.

    Attributes:
        place: The cut.
        explained: Share of the variance that lies between the two sides, in [0, 1]. One hump has about 0.64
            (normal) or 0.75 (uniform); two clear ones have more.
    """

    place: float
    explained: float


def otsu(values: Float[np.ndarray, " cells"]) -> Cut:
    """Cut a distribution in two such that the variance between both sides is largest.

    Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man and
    Cybernetics 9 (1979), on the values themselves in place of a histogram, so that no bin decides: of all
    ways to divide the sorted values, the one of the largest `n0 n1 (mean0 - mean1)^2`; of equals, the lowest.

    Args:
        values: `(n,)`, finite.

    Returns:
        The cut, midway between the two values that it divides.

    Undefined when:
        There are not two different values: both are NaN.

    Example:
        >>> otsu(np.array([0.0, 1.0, 1.0, 0.0]))
        Cut(place=0.5, explained=1.0)
    """
    ordered = np.sort(values)
    if len(ordered) == 0 or ordered[0] == ordered[-1]:
        return Cut(float("nan"), float("nan"))
    below = np.arange(1, len(ordered))
    above = len(ordered) - below
    sums = np.cumsum(ordered - ordered.mean())[:-1]  # centred: the two sides' sums cancel
    between = sums**2 / (below * above)
    first = int(between.argmax())  # never between equal values: they are better off together
    # n0 n1 (mean0 - mean1)^2 / n^2 = sums^2 / (n0 n1)
    return Cut(float(ordered[first : first + 2].mean()), float(between[first] / ordered.var()))


def histogram(
    values: Float[np.ndarray, " cells"],
) -> tuple[Float[np.ndarray, " edges"], Integer[np.ndarray, " bins"]]:
    """Count values in equal bins: twice the root of their number, at most 40.

    Args:
        values: `(n,)`, finite.

    Returns:
        Edges `(bins + 1,)` and counts `(bins,)`; both empty where there is no value.
    """
    if not len(values):
        return np.empty(0), np.empty(0, np.int64)
    bins = min(MOST_BINS, int(np.ceil(2 * np.sqrt(len(values)))))
    counts, edges = np.histogram(values, bins)
    return edges, counts


def typical_spread(
    values: Float[np.ndarray, " seeds"], cells: Shaped[np.ndarray, " seeds"], near: float
) -> float:
    """Take the typical standard deviation across the seeds of the cells that are nearest to a cut.

    The median over the quarter of the cells, and at least eight, whose means are nearest to the cut. Not the
    pooled one, which a few cells at a transition decide: there seeds end on either side. Only cells with two
    different values or more count.

    Args:
        values: `(n,)`, one a seed (or pair of seeds), finite.
        cells: `(n,)` the cell of each.
        near: The cut.

    Returns:
        The spread in the unit of the values, above 0; NaN where no cell has two different values.

    Example:
        >>> typical_spread(np.array([1.0, 3.0, 5.0]), np.array(["a", "a", "b"]), near=0.0)
        1.4142135623730951
    """
    _, member, counts = np.unique(cells, return_inverse=True, return_counts=True)
    means = np.bincount(member, values) / counts
    squares = np.bincount(member, (values - means[member]) ** 2)
    several = np.flatnonzero(squares > 0)
    if not len(several):
        return float("nan")
    wanted = max(len(several) // NEAREST_SHARE, NEAREST_AT_LEAST)
    nearest = several[np.argsort(np.abs(means[several] - near), kind="stable")[:wanted]]
    return float(np.median(np.sqrt(squares[nearest] / (counts[nearest] - 1))))
