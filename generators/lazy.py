"""The cells of a recipe, kept as a few numbers each; a model is written out when it is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer

from generators.axes import Range, axis_name
from generators.description import Recipe
from generators.points import places, read
from zoo.errors import SpecificationError
from zoo.spec import ModelSpecification, cell_id, model_id


class Cells:
    """All cells of a recipe, or further ones on its axes.

    A cell is its number. Values are read through a specification once each, in the first cell that has them.

    Args:
        recipe: The recipe.
        further: Value by field of each cell, in place of those that the recipe asks for.

    Raises:
        SpecificationError: A value is out of range or stands twice, or there are too few distinct cells.
        UnknownNameError: A dataset, architecture, parent zoo or checkpoint is not there.
    """

    def __init__(self, recipe: Recipe, further: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.recipe = recipe
        self.fields = list(recipe.axes.fields)
        self.names = [axis_name(field) for field in self.fields]
        self._given, self._codes = places(recipe, further)
        self.shape = tuple(len(values) for values in self._given)
        self.count = int(np.prod(self.shape)) if self._codes is None else len(self._codes)
        self.values = [self._read_axis(axis) for axis in range(len(self.fields))]
        self._epochs_axis = next(iter(self.places("training.epochs".__eq__)), None)
        self._kept = self._kept_by_epochs()

    @property
    def models(self) -> int:
        """Number of models."""
        return self.count * len(self.recipe.seeds)

    @property
    def shortest(self) -> int:
        """Epochs of the models that are trained least."""
        return min(epochs for epochs, _ in self._kept)

    def _read_axis(self, axis: int) -> list[Any]:
        field, given, seed = self.fields[axis], self._given[axis], self.recipe.seeds[0]
        if isinstance(self.recipe.axes.fields[field], Range) and self._codes is not None:
            return list(given)  # drawn between bounds that were read
        specs = (self.specification(first, seed) for first in self.firsts(axis))
        # read back from the specification, where YAML's "1e-3" has become a number
        values = [read(spec, field, value) for spec, value in zip(specs, given, strict=True)]
        if len(set(values)) < len(values):
            raise SpecificationError(
                f"axis {field!r} has a value twice: {list(given)} are {values} once they are read; drop one"
            )
        return values

    def firsts(self, axis: int) -> list[int]:
        """Find the first cell that has each value of an axis.

        Args:
            axis: Place of the axis.

        Returns:
            A cell for each value.
        """
        if self._codes is not None:
            return [int(first) for first in np.unique(self._codes[:, axis], return_index=True)[1]]
        inner = int(np.prod(self.shape[axis + 1 :], dtype=int))
        return [code * inner for code in range(self.shape[axis])]

    def codes(self, axis: int) -> Integer[np.ndarray, " cells"]:
        """Say which value each cell has.

        Args:
            axis: Place of the axis.

        Returns:
            `(n_cells,)`, places on the axis.
        """
        if self._codes is not None:
            return self._codes[:, axis]
        inner = int(np.prod(self.shape[axis + 1 :], dtype=int))
        return (np.arange(self.count) // inner % self.shape[axis]).astype(np.int32)

    def combinations(
        self, axes: Sequence[int]
    ) -> tuple[Integer[np.ndarray, " cells"], Integer[np.ndarray, " found"]]:
        """Number the combinations of some axes' values, in the order in which the cells have them.

        Args:
            axes: Places of the axes.

        Returns:
            The combination of each cell, and the first cell of each combination.
        """
        found, firsts = np.zeros(self.count, np.int64), np.zeros(1, np.int64)
        for axis in axes:
            _, firsts, found = np.unique(
                found * self.shape[axis] + self.codes(axis), return_index=True, return_inverse=True
            )
        order = np.argsort(firsts, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return rank[found], firsts[order]

    def places(self, chosen: Callable[[str], bool]) -> list[int]:
        """Say where some axes stand.

        Args:
            chosen: Says of a field whether it is one of them.

        Returns:
            Their places.
        """
        return [place for place, field in enumerate(self.fields) if chosen(field)]

    def point(self, number: int) -> tuple[int, ...]:
        """Say which values a cell has.

        Args:
            number: The cell.

        Returns:
            The place of its value on each axis.
        """
        if self._codes is not None:
            return tuple(self._codes[number].tolist())
        return tuple(int(code) for code in np.unravel_index(number, self.shape))

    def specification(self, number: int, seed: Any) -> ModelSpecification:
        """Write out the specification of one model.

        Args:
            number: The cell.
            seed: One of the recipe's seeds.

        Returns:
            The specification.

        Raises:
            SpecificationError: The values do not go together.
            UnknownNameError: The parent's zoo or checkpoint is not there.
        """
        point = zip(self.fields, self._given, self.point(number), strict=True)
        return self.recipe.specification({field: given[code] for field, given, code in point}, seed)

    def _kept_by_epochs(self) -> list[tuple[int, tuple[int, ...]]]:
        """List epochs and checkpoints by the place on the axis of epochs, or once where there is none."""
        axis = self._epochs_axis
        epochs = (
            [self.specification(0, self.recipe.seeds[0]).training.epochs]
            if axis is None
            else self.values[axis]
        )
        return [(each, self.recipe.kept_epochs(each)) for each in epochs]

    def epochs_places(self) -> Integer[np.ndarray, " cells"] | None:
        """Say which epochs each cell has.

        Returns:
            Places in what `kept` counts, or nothing where all cells have the same.
        """
        return None if self._epochs_axis is None else self.codes(self._epochs_axis)

    def kept(self, place: int = 0) -> tuple[int, tuple[int, ...]]:
        """Say how long a cell is trained and which checkpoints are kept.

        Args:
            place: Place on the axis of epochs, 0 where there is none.

        Returns:
            Epochs, and the epochs that are kept, 0 and the last among them.
        """
        return self._kept[place]

    def model(self, number: int, seed: int) -> PlannedModel:
        """Give one model.

        Args:
            number: The cell.
            seed: Place among the seeds.

        Returns:
            The model.
        """
        return self._model(number, self.point(number), seed)

    def _model(self, number: int, point: Sequence[int], seed: int) -> PlannedModel:
        values = {n: v[code] for n, v, code in zip(self.names, self.values, point, strict=True)}
        epochs, kept = self._kept[0 if self._epochs_axis is None else point[self._epochs_axis]]
        return PlannedModel(values, seed, kept, epochs=epochs, origin=(self, number))

    def __iter__(self) -> Iterator[PlannedModel]:
        """List every model, cell by cell, seeds innermost."""
        points = itertools.product(*map(range, self.shape)) if self._codes is None else self._codes.tolist()
        for number, point in enumerate(points):
            for seed in range(len(self.recipe.seeds)):
                yield self._model(number, point, seed)


class PlannedModel:
    """A model that a recipe asks for.

    Its specification is written out when it is first asked for, and before it is sent to another process.

    Args:
        values: Value by axis.
        seed: Its place among the seeds of its cell.
        checkpoints: Epochs to keep, 0 and its last among them.
        epochs: Epochs that it is trained.
        origin: The cells that it belongs to, and the number of its own.
        spec: Its full specification, if it is written out.

    Attributes:
        values: Value by axis.
        seed: Its place among the seeds of its cell.
        checkpoints: Epochs to keep, 0 and its last among them.
        epochs: Epochs that it is trained.
    """

    __slots__ = ("_origin", "_spec", "checkpoints", "epochs", "seed", "values")

    def __init__(
        self,
        values: dict[str, Any],
        seed: int,
        checkpoints: tuple[int, ...],
        *,
        epochs: int,
        origin: tuple[Cells, int] | None = None,
        spec: ModelSpecification | None = None,
    ) -> None:
        self.values, self.seed, self.checkpoints, self.epochs = values, seed, checkpoints, epochs
        self._origin, self._spec = origin, spec

    @property
    def spec(self) -> ModelSpecification:
        """Its full specification."""
        if self._spec is None:
            assert self._origin is not None
            cells, number = self._origin
            self._spec = cells.specification(number, cells.recipe.seeds[self.seed])
        return self._spec

    @property
    def model_id(self) -> str:
        """Id of the model."""
        return model_id(self.spec, self.values, self.seed)

    @property
    def cell_id(self) -> str:
        """Id of its cell."""
        return cell_id(self.spec, self.values)

    def __eq__(self, other: object) -> bool:
        """Say whether two models are the same."""
        if not isinstance(other, PlannedModel):
            return NotImplemented
        return self._parts() == other._parts()

    __hash__ = None  # type: ignore[assignment]

    def _parts(self) -> tuple[Any, ...]:
        return self.values, self.seed, self.checkpoints, self.epochs, self.spec

    def __reduce__(self) -> tuple[Any, ...]:
        """Write it out whole: another machine may not have its parent's zoo."""
        return _planned, self._parts()


def _planned(
    values: dict[str, Any], seed: int, checkpoints: tuple[int, ...], epochs: int, spec: ModelSpecification
) -> PlannedModel:
    return PlannedModel(values, seed, checkpoints, epochs=epochs, spec=spec)


class PlannedModels(Sequence[PlannedModel]):
    """The models of some cells, made when they are asked for and kept until they are released.

    Args:
        cells: All cells.
        numbers: Which of them.
        places: Place on the axis of epochs of each, or nothing where there is no such axis.
    """

    __slots__ = ("_all", "_cells", "_first", "_numbers", "_places")

    def __init__(
        self,
        cells: Cells,
        numbers: Integer[np.ndarray, " cells"],
        places: Integer[np.ndarray, " cells"] | None,
    ) -> None:
        self._cells, self._numbers, self._places = cells, numbers, places
        self._first: PlannedModel | None = None
        self._all: tuple[PlannedModel, ...] | None = None

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self._numbers) * len(self._cells.recipe.seeds)

    def __getitem__(self, place: Any) -> Any:
        """Return a model, or a tuple of them for a slice; the first alone costs as much as one."""
        if place == 0 and self._all is None:
            self._first = self._first or self._cells.model(int(self._numbers[0]), 0)
            return self._first
        return self._made()[place]

    def __iter__(self) -> Iterator[PlannedModel]:
        """List the models."""
        return iter(self._made())

    def _made(self) -> tuple[PlannedModel, ...]:
        if self._all is None:
            seeds = range(len(self._cells.recipe.seeds))
            made = [self._cells.model(number, seed) for number in self._numbers.tolist() for seed in seeds]
            self._all = (self._first or made[0], *made[1:])
        return self._all

    def __eq__(self, other: object) -> bool:
        """Say whether the models are the same, one by one."""
        if not isinstance(other, PlannedModels | tuple):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Write all models out, as a tuple."""
        return tuple, (list(self),)

    def release(self) -> None:
        """Forget the models that were made, once they are trained: they can be made again."""
        self._first = self._all = None

    def totals(self) -> tuple[int, int]:
        """Count without making a model.

        Returns:
            Checkpoints and epochs of all models together.
        """
        seeds = len(self._cells.recipe.seeds)
        if self._places is None:
            epochs, kept = self._cells.kept()
            return len(self) * len(kept), len(self) * epochs
        found = [self._cells.kept(place) for place in self._places.tolist()]
        return seeds * sum(len(kept) for _, kept in found), seeds * sum(epochs for epochs, _ in found)
