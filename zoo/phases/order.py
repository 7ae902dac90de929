"""Transitions: where along an axis an order parameter changes fastest, over which width, how surely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer

from zoo.errors import unknown_name
from zoo.phases.curve import chance_of_range, steepest
from zoo.phases.values import numbers
from zoo.spec import digest

RESAMPLES = 200
LEVEL = 0.95
FLAT_CHANCE = 0.01
_FEWEST_POINTS = 3
_DECADE = 10.0
_NUMBERS = ("place", "place_low", "place_high", "extent", "extent_low", "extent_high", "log_extent", "change")

Groups = list[Float[np.ndarray, " _"]]
"""Values of the seeds at each point."""


class _Axis(NamedTuple):
    """The axis of the lines.

    Attributes:
        values: How many different values it has.
        log: Whether it is logarithmic.
    """

    values: int
    log: bool

    def scaled(self, values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Put values of the axis on its scale."""
        return np.log(values) if self.log else values

    def unscaled(self, values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Go back from its scale."""
        return np.exp(values) if self.log else values


def transitions(
    values: pd.DataFrame,
    axis: str,
    *,
    order_parameter: str,
    others: Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Find the transition of an order parameter along each line of one axis, the other axes being fixed.

    The means over seeds are joined by a monotone curve (`zoo.phases.curve.steepest`). Its place is where it
    changes fastest; its width is the change between the plateaus over the slope there (4 s for a logistic
    curve of scale s). The axis is logarithmic where all of its values are positive and span more than a
    decade. Plateaus are extremes, which noise drives apart: widths are a little too large on noisy lines.

    Intervals are percentiles (95 %) of 200 bootstrap samples that draw, at each point, as many seeds as there
    are, with replacement. They say how seeds move the curve, not how far it is from the truth between two
    points. Few seeds make them too narrow, by `sqrt((n - 1) / n)` for n at each point; pairs of networks are
    drawn as if they shared none.

    Args:
        values: A row a seed (or pair of seeds), with columns of the axes and of the order parameter.
        axis: Column of the axis, numbers.
        order_parameter: Column of the order parameter, numbers; missing values do not count.
        others: Columns of the axes that are fixed on a line.
        seed: Seed of the bootstrap; a line's samples depend on it and on the line alone.

    Returns:
        A row a line: the columns `others`; `place`, `extent` (the width) and `change` (signed, in the unit
        of the order parameter) with `place_low`, `place_high`, `extent_low`, `extent_high`; `log_extent`, the
        width in decades (missing on a linear axis); `points`, those with a value; `seeds`, the fewest at any
        of them; `reason`. Places and widths are in the unit of the axis.

    Raises:
        UnknownNameError: There is no such column.
        SpecificationError: Axis or order parameter are no numbers.

    Undefined when:
        The axis has one value, a line has fewer than 3 points with a value, it is steepest at an end of the
        axis, or it is flat: seeds alone would spread the means as far in more than 1 % of cases
        (`zoo.phases.curve.chance_of_range`). All numbers are missing then. With one seed at each point, the
        intervals are, and noise passes for a transition.

    Example:
        >>> widths = [2, 4, 8, 16, 32, 64] * 2
        >>> table = pd.DataFrame({"width": widths, "accuracy": [0.1, 0.1, 0.2, 0.8, 0.9, 0.9] * 2})
        >>> transitions(table, "width", order_parameter="accuracy")[["place", "log_extent"]].round(1)
           place  log_extent
        0   11.3         0.3
    """
    for name in others:
        if name not in values:
            raise unknown_name("column", name, map(str, values.columns))
    across, heights = numbers(values, axis), numbers(values, order_parameter)
    known = np.unique(across[np.isfinite(across)])
    scale = _Axis(len(known), bool(len(known)) and known[0] > 0 and bool(known[-1] > _DECADE * known[0]))
    fixed, member = _lines(values, others)
    rows = []
    for line, held in enumerate(fixed.to_dict("records")):
        key = digest({"seed": seed, "line": {str(name): str(value) for name, value in held.items()}})
        defined = (member == line) & np.isfinite(across) & np.isfinite(heights)
        points, groups = _points(across[defined], heights[defined])
        rows.append(_line(points, groups, scale, np.random.default_rng(int(key[:16], 16))))
    found = pd.DataFrame(rows, columns=[*_NUMBERS, "points", "seeds", "reason"])
    return pd.concat([fixed, found.astype({"reason": "str"})], axis=1)


def _lines(values: pd.DataFrame, others: Sequence[str]) -> tuple[pd.DataFrame, Integer[np.ndarray, " rows"]]:
    """Number the lines: the values that are held on each, and the line of each row."""
    member = np.zeros(len(values), np.int64)
    if others:
        member = values.groupby(list(others), dropna=False).ngroup().to_numpy().astype(np.int64)
    _, first = np.unique(member, return_index=True)
    return values[list(others)].iloc[first].reset_index(drop=True), member


def _points(
    across: Float[np.ndarray, " rows"], heights: Float[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, " points"], Groups]:
    """Collect the seeds of each point, sorted, so that the order of rows decides nothing."""
    points, member = np.unique(across, return_inverse=True)
    return points, [np.sort(heights[member == number]) for number in range(len(points))]


def _line(
    points: Float[np.ndarray, " points"], groups: Groups, axis: _Axis, generator: np.random.Generator
) -> dict[str, object]:
    counts = [len(group) for group in groups]
    row: dict[str, object] = dict.fromkeys(_NUMBERS, float("nan"))
    row |= {"points": len(points), "seeds": min(counts, default=0)}
    chance = chance_of_range(groups) if len(groups) >= _FEWEST_POINTS else float("nan")
    reason = _why_undefined(len(points), axis, chance)
    if reason is not None:
        return {**row, "reason": reason}
    found = _transition(points, groups, axis, generator)
    if np.isclose(found["place"], points[[0, -1]], rtol=1e-9).any():
        return {**row, "reason": "steepest at an end of the axis: the transition may lie beyond, add values"}
    row |= found
    if max(counts) > 1:
        return {**row, "reason": None}
    row |= {name: float("nan") for name in _NUMBERS if name.endswith(("_low", "_high"))}
    return {**row, "reason": "no point has two seeds: no interval"}


def _why_undefined(points: int, axis: _Axis, chance: float) -> str | None:
    if axis.values < 2:
        return "the axis has fewer than two values"
    if points == 0:
        return "no seed has a value"
    if points < _FEWEST_POINTS:
        return f"{points} points with a value, expected at least {_FEWEST_POINTS}"
    if chance > FLAT_CHANCE:
        return f"flat: seeds alone would spread the means as far in {chance:.0%} of cases"
    return None


def _transition(
    points: Float[np.ndarray, " points"], groups: Groups, axis: _Axis, generator: np.random.Generator
) -> dict[str, float]:
    """Measure the curve of the means, and those of the bootstrap samples."""
    heights = np.stack([_means(group, generator) for group in groups])
    place, width, change = steepest(axis.scaled(points), heights)
    places = axis.unscaled(place)
    widths = axis.unscaled(place + width / 2) - axis.unscaled(place - width / 2)
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    # a sample may be constant: it has no width
    low, high = np.quantile(places[1:], ends), np.nanquantile(widths[1:], ends)
    found = (places[0], *low, widths[0], *high, width[0] / np.log(_DECADE) if axis.log else np.nan, change[0])
    return dict(zip(_NUMBERS, map(float, found), strict=True))


def _means(
    group: Float[np.ndarray, " seeds"], generator: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Average the seeds of a point, and then those of each bootstrap sample."""
    drawn = generator.integers(len(group), size=(RESAMPLES, len(group)))
    return np.concatenate([[group.mean()], group[drawn].mean(axis=1)])
