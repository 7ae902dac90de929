"""What a recipe asks for beyond its grid: further cells where a metric changes fastest."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from generators.axes import no_boolean
from generators.sampling import shortened

_WIDE = 8.0
"""Ratio of an axis' extremes from which its middle is taken to be geometric, where its values cannot tell."""
_EVEN = 1e-2
"""Largest share by which the steps of evenly spaced values may differ: recipes give rounded numbers."""

Number = int | float
Point = tuple[Any, ...]
Count = Annotated[int, BeforeValidator(no_boolean), Field(ge=1, le=1 << 20)]


class Refinement(BaseModel):
    """Where further cells are put, and how many.

    Attributes:
        metric: Column of the table of checkpoints, of those that `generate` itself measures.
        rounds: How often; each round halves on.
        cells: Further cells of each round, at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    rounds: Annotated[int, BeforeValidator(no_boolean), Field(ge=1, le=32)] = 1
    cells: Count = 16


AnyRefinement = Annotated[
    Refinement, BeforeValidator(lambda given: {"metric": given} if isinstance(given, str) else given)
]
"""A refinement, or the name of its metric alone."""


def check_method(refine: Refinement | None, method: str) -> None:
    """Refuse to refine what is no grid.

    Args:
        refine: What a recipe asks for.
        method: How its cells are chosen.

    Raises:
        ValueError: Cells that were listed or drawn have no neighbours.
    """
    if refine is not None and method != "grid":
        raise ValueError(
            f"refine puts cells between neighbours of a grid, and the sampling {method} has none; leave one "
            "of the two out"
        )


@dataclass(frozen=True)
class Scale:
    """How an axis can be halved.

    Attributes:
        axis: Its place.
        integer: Whether its values are integers.
        geometric: Whether its middle is the geometric mean.
    """

    axis: int
    integer: bool
    geometric: bool

    def middle(self, low: Number, high: Number) -> Number | None:
        """Find the value between two others.

        Args:
            low: One value.
            high: A higher one.

        Returns:
            Geometric or arithmetic mean, rounded to an integer or to four digits; nothing where that is one
            of the two.

        Example:
            >>> Scale(0, integer=True, geometric=True).middle(8, 32), Scale(0, True, False).middle(8, 9)
            (16, None)
        """
        exact = math.sqrt(low * high) if self.geometric else (low + high) / 2
        found = round(exact) if self.integer else shortened(exact)
        return found if low < found < high else None


def scale_of(axis: int, values: Sequence[Number]) -> Scale:
    """Tell from an axis' values how it is to be halved.

    Geometrically where their logarithms are evenly spaced, or where neither these nor the values are (or
    there are but two) and all are positive with extremes of ratio 8 and more; else arithmetically.

    Args:
        axis: Its place.
        values: Its values, at least two.

    Returns:
        Its scale.

    Example:
        >>> [scale_of(0, values).geometric for values in ([1, 2, 4], [1, 2, 3], [1, 9], [1, 2], [1, 8, 9])]
        [True, False, True, False, True]
    """
    ordered = np.sort(np.asarray(values, np.float64))
    positive = bool(ordered[0] > 0)
    integer = all(isinstance(value, int) for value in values)
    if len(ordered) > 2 and positive and _is_even(np.log(ordered)):
        return Scale(axis, integer, geometric=True)
    if len(ordered) > 2 and _is_even(ordered):
        return Scale(axis, integer, geometric=False)
    return Scale(axis, integer, geometric=positive and bool(ordered[-1] >= _WIDE * ordered[0]))


def _is_even(ordered: np.ndarray) -> bool:
    steps = np.diff(ordered)
    return bool(steps.max() - steps.min() <= _EVEN * steps.mean())


@dataclass(frozen=True)
class Step:
    """Two neighbours, the cell between them, and what they differ by.

    Attributes:
        cell: The cell between.
        axis: Place of the axis along which they are neighbours.
        between: Their values there.
        difference: Absolute difference of the metric.
    """

    cell: Point
    axis: int
    between: tuple[Number, Number]
    difference: float


def steepest(measured: Mapping[Point, float], scales: Sequence[Scale]) -> list[Step]:
    """Order the gaps between neighbouring cells by how much the metric changes across them.

    Neighbours lie next to each other along one axis and agree on all others. A cell whose metric is missing
    still separates those on its two sides.

    Args:
        measured: Metric by cell, NaN where it is missing.
        scales: The axes that can be halved.

    Returns:
        The gaps, steepest first, equal ones in the order of axes and cells; without those that are too narrow
        for a cell in between, and each cell once.

    Example:
        >>> scale = Scale(0, integer=True, geometric=False)
        >>> found = steepest({(1, 0): 0.1, (3, 0): 0.9, (5, 0): 0.8}, [scale])
        >>> [(step.cell, round(step.difference, 3)) for step in found]
        [((2, 0), 0.8), ((4, 0), 0.1)]
    """
    steps = [step for scale in scales for step in _steps(measured, scale)]
    distinct: dict[Point, Step] = {}
    for step in sorted(steps, key=lambda step: -step.difference):
        distinct.setdefault(step.cell, step)
    return list(distinct.values())


def _steps(measured: Mapping[Point, float], scale: Scale) -> Iterator[Step]:
    lines: dict[Point, list[Point]] = defaultdict(list)
    place = scale.axis
    for point in measured:
        lines[point[:place] + point[place + 1 :]].append(point)
    for line in lines.values():
        line.sort(key=lambda point: point[place])
        for one, two in itertools.pairwise(line):
            difference = abs(measured[two] - measured[one])
            middle = scale.middle(one[place], two[place])
            if middle is not None and not math.isnan(difference):
                cell = (*one[:place], middle, *one[place + 1 :])
                yield Step(cell, place, (one[place], two[place]), difference)
