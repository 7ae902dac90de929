"""Where the cells of a recipe lie: the values of each axis, and which of them a cell has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Integer

from generators.axes import Range
from generators.description import Recipe
from generators.sampling import ListSampling, SobolSampling, sobol_cells
from zoo import architectures
from zoo.spec import ModelSpecification


def places(
    recipe: Recipe, further: Sequence[Mapping[str, Any]] | None = None
) -> tuple[list[tuple[Any, ...]], Integer[np.ndarray, "cells axes"] | None]:
    """List the values of each axis as given, and where on the axes each cell lies.

    Args:
        recipe: The recipe.
        further: Value by field of cells in place of those that the recipe asks for.

    Returns:
        Values of each axis, and `(n_cells, n_axes)` places on them; nothing for these where the cells are the
        whole grid, the last axis innermost.

    Raises:
        SpecificationError: A bound is out of range, or there are too few distinct cells.
    """
    fields = list(recipe.axes.fields)
    if further is None and isinstance(recipe.sampling, ListSampling):
        further = recipe.sampling.cells
    if further is not None:
        points = [tuple(cell[field] for field in fields) for cell in further]
    elif isinstance(recipe.sampling, SobolSampling):
        points = _drawn(recipe, recipe.sampling)
    else:
        return [values for values in recipe.axes.fields.values() if isinstance(values, tuple)], None
    given = [tuple(dict.fromkeys(column)) for column in zip(*points, strict=True)]
    of_axes = [{value: place for place, value in enumerate(values)} for values in given]
    codes = [[of[value] for of, value in zip(of_axes, point, strict=True)] for point in points]
    return given, np.array(codes, np.int32)


def _drawn(recipe: Recipe, sampling: SobolSampling) -> list[tuple[Any, ...]]:
    """Draw cells, once both bounds of each range are known to be good and whether they are integers."""
    axes = recipe.axes.fields
    first = {field: v.low if isinstance(v, Range) else v[0] for field, v in axes.items()}
    integer = []
    for field, values in axes.items():
        ends = (values.low, values.high) if isinstance(values, Range) else ()
        specs = [recipe.specification({**first, field: end}, recipe.seeds[0]) for end in ends]
        integer.append(any(isinstance(read(spec, field, None), int) for spec in specs))
    return sobol_cells(list(axes.values()), integer, cells=sampling.cells, seed=sampling.seed)


def read(spec: ModelSpecification, field: str, given: Any) -> Any:
    """Read the value of a field from a specification.

    Args:
        spec: The specification.
        field: The field.
        given: What the recipe gives, for what a specification does not hold.

    Returns:
        The value, with its own type.
    """
    part, _, key = field.partition(".")
    if field == "fork.trunk_seed":
        return given
    if part == "architecture" and key != "name":  # an option added later is left out at its default
        return getattr(architectures.options(spec.architecture), key)
    return reduce(getattr, field.split("."), spec)
