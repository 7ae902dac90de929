"""Which cells a recipe has: all of the grid, those of a list, or points of a Sobol sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from scipy.stats import qmc

from generators.axes import Axes, Range, Value, no_boolean
from zoo.errors import SpecificationError

_DIGITS = 4
"""Digits of a number that is drawn, so that ids can be read."""
_MOST_DRAWN = 16
"""Points that are drawn for each cell asked for, before duplicates are taken to be all there is."""


class _Sampling(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GridSampling(_Sampling):
    """Every value of each axis with every value of the others.

    Attributes:
        method: Always `grid`.
    """

    method: Literal["grid"] = "grid"


class ListSampling(_Sampling):
    """The cells one by one.

    Attributes:
        method: Always `list`.
        cells: Value of every axis, by field.
    """

    method: Literal["list"]
    cells: tuple[dict[str, Value], ...] = Field(min_length=1)


class SobolSampling(_Sampling):
    """Points of a scrambled Sobol sequence, which fill the space between the axes' bounds evenly.

    Attributes:
        method: Always `sobol`.
        cells: How many cells.
        seed: Seed of the scrambling; the same cells on any machine.
    """

    method: Literal["sobol"]
    cells: Annotated[int, BeforeValidator(no_boolean), Field(ge=1, le=1 << 20)]
    seed: Annotated[int, BeforeValidator(no_boolean), Field(ge=0, lt=2**31)] = 0


def _method(value: Any) -> Any:
    return value.get("method") if isinstance(value, Mapping) else getattr(value, "method", None)


AnySampling = Annotated[
    Annotated[GridSampling, Tag("grid")]
    | Annotated[ListSampling, Tag("list")]
    | Annotated[SobolSampling, Tag("sobol")],
    Discriminator(
        _method,
        custom_error_type="sampling_method",
        custom_error_message="expected a method among grid, list and sobol",
    ),
]
"""One way of choosing cells."""


def with_listed_values(raw: Any) -> Any:
    """Write out the values of axes that a list of cells leaves to its cells, as `load: [architecture.width]`.

    Args:
        raw: A recipe as YAML gives it, whatever that is.

    Returns:
        The same, where the axes need it with each field's values in the order of the cells.
    """
    sampling = raw.get("sampling") if isinstance(raw, Mapping) else None
    if _method(sampling) != "list" or not isinstance(raw.get("axes"), Mapping):
        return raw
    cells = sampling.get("cells") if isinstance(sampling, Mapping) else None
    if not isinstance(cells, Sequence) or not all(isinstance(cell, Mapping) for cell in cells):
        return raw
    axes = {kind: _listed(fields, cells) for kind, fields in raw["axes"].items()}
    return {**raw, "axes": axes}


def _listed(fields: Any, cells: Sequence[Mapping[str, Any]]) -> Any:
    if not isinstance(fields, list | tuple) or not all(isinstance(field, str) for field in fields):
        return fields
    return {
        field: tuple(dict.fromkeys(c[field] for c in cells if _is_value(c.get(field)))) for field in fields
    }


def _is_value(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def check_sampling(sampling: GridSampling | ListSampling | SobolSampling, axes: Axes) -> None:
    """Refuse axes that do not fit the way in which the cells are chosen.

    Args:
        sampling: How they are chosen.
        axes: The axes.

    Raises:
        ValueError: A range without a draw, a draw without a range, or cells that are no cells of these axes.
    """
    ranges = [field for field, values in axes.fields.items() if isinstance(values, Range)]
    if isinstance(sampling, SobolSampling):
        if not ranges:
            raise ValueError(
                "sampling sobol draws from ranges, and no axis is one; give one, such as "
                "architecture.width: {low: 4, high: 128, scale: log}"
            )
        return
    if ranges:
        raise ValueError(
            f"axis {ranges[0]!r} is a range, from which the sampling {sampling.method} cannot draw; give its "
            "values, or sampling: {method: sobol, cells: 64}"
        )
    if isinstance(sampling, ListSampling):
        _check_cells(sampling.cells, axes)


def _check_cells(cells: Sequence[Mapping[str, Value]], axes: Axes) -> None:
    known = axes.fields
    seen: dict[tuple[Value, ...], int] = {}
    for number, cell in enumerate(cells):
        missing, unknown = known.keys() - cell.keys(), cell.keys() - known.keys()
        if missing or unknown:
            raise ValueError(
                f"sampling.cells.{number} lacks {_text(missing)} and has {_text(unknown)}, which is no axis; "
                f"each cell names every axis: {', '.join(known)}"
            )
        point = tuple(cell[field] for field in known)
        if (first := seen.setdefault(point, number)) != number:
            raise ValueError(f"sampling.cells.{number} is the cell {first} again: {dict(cell)}; drop one")
    for place, (field, values) in enumerate(known.items()):
        used = {point[place] for point in seen}
        if isinstance(values, tuple) and used != set(values):
            raise ValueError(
                f"axis {field!r} lists {list(values)}, its cells have {sorted(used, key=str)}; leave the "
                f"values to the cells, such as load: [{field}]"
            )


def _text(fields: set[str]) -> str:
    return ", ".join(sorted(fields)) or "nothing"


def sobol_cells(
    axes: Sequence[tuple[Value, ...] | Range], integer: Sequence[bool], *, cells: int, seed: int
) -> list[tuple[Any, ...]]:
    """Draw distinct cells from a scrambled Sobol sequence.

    A coordinate u in [0, 1) becomes `low + u (high - low)`, on a logarithmic scale the same of logarithms; of
    an axis with values it picks the value at `floor(u n)`. Integers are rounded, other numbers cut to four
    digits. A point that gives a cell anew is replaced by the next of the sequence. The sequence: Sobol 1967,
    with the direction numbers and the scrambling (a random linear matrix and a digital shift) of scipy.

    Args:
        axes: Values or range of each axis.
        integer: Which ranges are of integers.
        cells: How many cells.
        seed: Seed of the scrambling.

    Returns:
        The values of each cell, in the order of the sequence.

    Raises:
        SpecificationError: There are not so many distinct cells.

    Example:
        >>> sobol_cells([Range(low=1, high=4), ("sgd", "adam")], [True, False], cells=3, seed=0)
        [(2, 'adam'), (3, 'sgd'), (4, 'adam')]
    """
    engine = qmc.Sobol(len(axes), scramble=True, seed=np.random.default_rng(seed))
    size = 1 << (cells - 1).bit_length()
    found: dict[tuple[Any, ...], None] = {}
    for _ in range(_MOST_DRAWN):
        for point in _values(engine.random(size), axes, integer):
            found.setdefault(point)
            if len(found) == cells:
                return list(found)
    raise SpecificationError(
        f"{cells} cells were asked for, and {_MOST_DRAWN * size} points gave {len(found)} distinct ones: the "
        "ranges are too narrow once numbers are rounded; widen them, or ask for fewer cells"
    )


def _values(
    points: Float[np.ndarray, "points axes"],
    axes: Sequence[tuple[Value, ...] | Range],
    integer: Sequence[bool],
) -> zip[tuple[Any, ...]]:
    columns = (
        _column(points[:, place], values, whole)
        for place, (values, whole) in enumerate(zip(axes, integer, strict=True))
    )
    return zip(*columns, strict=True)


def _column(u: Float[np.ndarray, " points"], values: tuple[Value, ...] | Range, whole: bool) -> list[Any]:
    if not isinstance(values, Range):
        return [values[place] for place in np.floor(u * len(values)).astype(int)]
    low, high = values.low, values.high
    if values.scale == "log":
        numbers = np.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    else:
        numbers = low + u * (high - low)
    if whole:
        return [int(number) for number in np.clip(np.rint(numbers), math.ceil(low), math.floor(high))]
    return [min(max(shortened(number), low), high) for number in numbers.tolist()]


def shortened(number: float) -> float:
    """Cut a number to as many digits as an id shows.

    Args:
        number: The number.

    Returns:
        The nearest number of four significant digits.

    Example:
        >>> shortened(0.0123456)
        0.01235
    """
    return float(f"{number:.{_DIGITS}g}")
