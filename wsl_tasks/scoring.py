"""From a statistic of items to a score with its interval, or to the reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from wsl_tasks.bootstrap import OfItems, interval
from wsl_tasks.result import Score

BANDS = ("cold", "mid", "hot")


@dataclass(frozen=True)
class Statistic:
    """What a score computes.

    Attributes:
        of: Value on the items at given places, NaN where undefined.
        undefined_when: The reason that stands in the result where it is undefined.
    """

    of: OfItems
    undefined_when: str


def mean_of(values: Float[np.ndarray, " items"]) -> Statistic:
    """Make the mean of one value an item a statistic.

    Args:
        values: `(n_items,)`.

    Returns:
        The statistic.
    """
    return Statistic(lambda places: float(values[places].mean()), "there is nothing to average")


def estimate(
    statistics: Mapping[str, Statistic], groups: Shaped[np.ndarray, " items"], *, seed: int
) -> dict[str, Score]:
    """Compute scores and their intervals.

    Args:
        statistics: Statistic by name of the score.
        groups: `(n_items,)` what the bootstrap draws: the cell of each item.
        seed: Seed of the bootstrap.

    Returns:
        Score by name; an undefined one has no value but a reason.
    """
    everything = np.arange(len(groups))
    return {name: _score(statistic, everything, groups, seed) for name, statistic in statistics.items()}


def by_band(
    statistics: Mapping[str, Statistic],
    groups: Shaped[np.ndarray, " items"],
    bands: Sequence[str],
    *,
    seed: int,
) -> dict[str, dict[str, Score]]:
    """Compute scores within each temperature band.

    Args:
        statistics: Statistic by name of the score.
        groups: `(n_items,)` what the bootstrap draws.
        bands: Band of each item.
        seed: Seed of the bootstrap.

    Returns:
        Scores by band, from cold to hot; a band without items has reasons for values.
    """
    of_item = np.asarray(bands, dtype=object)
    table: dict[str, dict[str, Score]] = {}
    for band in BANDS:
        places = np.flatnonzero(of_item == band)
        table[band] = {name: _score(s, places, groups, seed) for name, s in statistics.items()}
    return table


def _score(statistic: Statistic, places: NDArray[np.intp], groups: NDArray[np.generic], seed: int) -> Score:
    if not len(places):
        return Score(reason="no test item falls here")
    value = statistic.of(places)
    if not math.isfinite(value):
        return Score(reason=f"undefined: {statistic.undefined_when}")
    low, high = interval(groups[places], lambda drawn: statistic.of(places[drawn]), seed=seed)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Score(value=value, reason="no interval: one cell only, or undefined on most resamples")
    return Score(value=value, low=low, high=high)


def temperature_bands(levels: Sequence[float], *, colder_when_higher: bool = False) -> Callable[[float], str]:
    """Cut the values of a temperature axis into terciles: cold, mid, hot.

    Args:
        levels: Values on the axis, in any order, repeated or not.
        colder_when_higher: Whether the greater is the colder, as for batch sizes; else it is the hotter.

    Returns:
        From a value on the axis to its band. Of fewer than three values some bands stay empty.

    Example:
        >>> band = temperature_bands([0.1, 0.01, 1.0, 0.001])
        >>> [band(rate) for rate in (0.001, 0.01, 0.1, 1.0)]
        ['cold', 'cold', 'mid', 'hot']
        >>> temperature_bands([16.0, 64.0, 256.0], colder_when_higher=True)(256.0)
        'cold'
    """
    ordered = np.unique(np.asarray(levels, float))
    parts = np.array_split(ordered[::-1] if colder_when_higher else ordered, len(BANDS))
    known = {float(level): band for band, part in zip(BANDS, parts, strict=True) for level in part}
    return known.__getitem__
