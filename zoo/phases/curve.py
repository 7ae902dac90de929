"""A curve through points: where it is steepest, and how wide its transition is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.stats import studentized_range

Curves = Float[np.ndarray, "points curves"]


class Steepest(NamedTuple):
    """The steepest place of each of some curves, on the scale of their points.

    Attributes:
        place: `(n_curves,)`.
        width: `(n_curves,)` change between the plateaus over the slope there; NaN where a curve is constant.
        change: `(n_curves,)` signed change between the plateaus, rising to the right where positive.
    """

    place: Float[np.ndarray, " curves"]
    width: Float[np.ndarray, " curves"]
    change: Float[np.ndarray, " curves"]


def steepest(points: Float[np.ndarray, " points"], heights: Curves) -> Steepest:
    """Find where curves through given points change fastest.

    Each curve is PCHIP (Fritsch and Butland, "A method for constructing local monotone piecewise cubic
    interpolants", SIAM Journal on Scientific and Statistical Computing 5, 1984): it never leaves the range of
    two neighbours. Its slope is a parabola between two points, so the steepest place is exact: an end or a
    vertex, the lowest of equals. The plateaus are the lowest height on the lower side of the place and the
    highest on the upper side, so that one flank of a peak counts whole.

    Args:
        points: `(n_points,)`, at least 3, ascending.
        heights: `(n_points, n_curves)`.

    Returns:
        Place, width and change. A logistic curve `a / (1 + exp(-(x - m) / s))` has place m, change a, width
        4 s.

    Example:
        >>> x = np.linspace(-8, 8, 161)
        >>> found = steepest(x, 1 / (1 + np.exp(-x[:, None])))
        >>> round(abs(float(found.place[0])), 1), round(float(found.width[0]), 2)
        (0.0, 4.0)
    """
    slopes = PchipInterpolator(points, heights, axis=0).derivative().c
    lengths = np.broadcast_to(np.diff(points)[:, None], slopes[0].shape)
    square, linear = slopes[0], slopes[1]
    vertex = np.divide(-linear, 2 * square, out=np.zeros_like(linear), where=square != 0)
    steps = np.stack([np.zeros_like(lengths), np.clip(vertex, 0, lengths), lengths], axis=1)
    slope = (square[:, None] * steps + linear[:, None]) * steps + slopes[2][:, None]
    places = (points[:-1, None, None] + steps).reshape(-1, heights.shape[1])
    slope = slope.reshape(places.shape)
    best = np.abs(slope).argmax(axis=0), np.arange(heights.shape[1])
    change = _plateaus(points, heights, places[best], np.sign(slope[best]))
    width = np.divide(change, slope[best], out=np.full(len(change), np.nan), where=slope[best] != 0)
    return Steepest(places[best], width, change)


def _plateaus(
    points: Float[np.ndarray, " points"],
    heights: Curves,
    places: Float[np.ndarray, " curves"],
    signs: Float[np.ndarray, " curves"],
) -> Float[np.ndarray, " curves"]:
    """Measure the change from the plateau on the left of each place to the one on its right."""
    rising = heights * signs
    left = np.where(points[:, None] <= places, rising, np.inf).min(axis=0)
    right = np.where(points[:, None] >= places, rising, -np.inf).max(axis=0)
    change: Float[np.ndarray, " curves"] = (right - left) * signs
    return change


def chance_of_range(groups: list[Float[np.ndarray, " _"]]) -> float:
    """Give the chance that seeds alone spread the means of points as far apart as they are.

    The range of k means of n seeds over their standard error is distributed as the studentised range (Tukey
    1953) if nothing but normal noise, equal at all points, tells them apart. The error is that of the pooled
    standard deviation; n is the harmonic mean where points have different numbers of seeds.

    Args:
        groups: Values of the seeds at each point, at least two points.

    Returns:
        In [0, 1], 1 where all means are equal; NaN where they are not and no point has two seeds.
    """
    counts = np.array([len(group) for group in groups])
    means = np.array([group.mean() for group in groups])
    freedom = int((counts - 1).sum())
    if np.ptp(means) == 0:
        return 1.0
    if freedom == 0:
        return float("nan")
    spread = np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom)
    error = spread * np.sqrt((1 / counts).mean())
    if error == 0:
        return 0.0
    return float(studentized_range.sf(np.ptp(means) / error, len(groups), freedom))
