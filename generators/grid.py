"""From a recipe to the list of models, and from models to the stacks that train together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer

from generators.checks import check_combinations, check_mixtures
from generators.description import Recipe
from generators.lazy import Cells, PlannedModel, PlannedModels
from zoo import architectures, datasets
from zoo.spec import Axis, Layout, ModelSpecification

__all__ = [
    "Kind",
    "PlannedModel",
    "Stack",
    "alike",
    "count_models",
    "examples",
    "expand",
    "plan",
    "plan_rounds",
    "recipe_axes",
]
MAX_STACK_MODELS = 64
MAX_SHARD_BYTES = 64 << 20
STACKED_TRAINING = ("batch_size", "optimizer", "precision", "adversarial_steps")
"""Fields of the training that models share if they are stepped together."""

_RESIDENT_ALIKE = frozenset({"label_noise", "noise_seed", "subset_seed"})
"""Fields of the dataset that change neither its inputs nor how many items an epoch has."""


class Kind(NamedTuple):
    """What all models of a stack share, and what models must share to be stepped together.

    Attributes:
        architecture: The network, JSON.
        residence: Name of the inputs that they see.
        classes: Classes that each knows, which size its last layer.
        items: Training items that each sees in an epoch.
        training: Values of `STACKED_TRAINING`.
    """

    architecture: str
    residence: str
    classes: int
    items: int
    training: tuple[Any, ...]


@dataclass(frozen=True)
class Stack:
    """Models that train together and land in one shard; which ones follows from the recipe alone.

    Attributes:
        shard: Path of the shard in the zoo.
        layout: Layout of all of its models.
        models: The models, whole cells at a time; in a plan they are made when they are asked for.
        kind: What all of its models share, and what models must share to be stepped together.
    """

    shard: str
    layout: Layout
    models: PlannedModels | tuple[PlannedModel, ...]
    kind: Kind

    @property
    def n_checkpoints(self) -> int:
        """Number of checkpoints, if none diverges."""
        return self._totals()[0]

    @property
    def n_bytes(self) -> int:
        """Size of the weights of all checkpoints."""
        return 4 * self.n_checkpoints * self.layout.size

    @property
    def model_epochs(self) -> int:
        """Epochs of all models together."""
        return self._totals()[1]

    def _totals(self) -> tuple[int, int]:
        """Count checkpoints and epochs of all models together."""
        if isinstance(self.models, PlannedModels):
            return self.models.totals()
        return sum(len(m.checkpoints) for m in self.models), sum(m.epochs for m in self.models)

    def release(self) -> None:
        """Forget its models, once they are trained: a plan can make them again."""
        if isinstance(self.models, PlannedModels):
            self.models.release()

    @property
    def items(self) -> int:
        """Training items that each model sees in an epoch."""
        return self.kind.items

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of each model in an epoch."""
        return -(-self.items // int(self.kind.training[0]))

    @property
    def model_steps(self) -> int:
        """Optimiser steps of all models together."""
        return self.model_epochs * self.steps_per_epoch


def recipe_axes(recipe: Recipe) -> tuple[Axis, ...]:
    """List a recipe's axes, load first, each with the type of its values.

    Args:
        recipe: The recipe.

    Returns:
        The axes as the manifest lists them.
    """
    cells = Cells(recipe)
    types = {bool: "string", int: "int64", float: "float64", str: "string"}
    kinds = {field: kind for kind, fields in recipe.axes.kinds.items() for field in fields}
    return tuple(
        Axis.model_validate(
            {"name": name, "field": field, "kind": kinds[field], "dtype": types[type(values[0])]}
        )
        for name, field, values in zip(cells.names, cells.fields, cells.values, strict=True)
    )


def expand(recipe: Recipe) -> Iterator[PlannedModel]:
    """List every model of a recipe, cell by cell; its specification is written out when it is asked for.

    Args:
        recipe: The recipe.

    Yields:
        The models, seeds innermost.

    Raises:
        SpecificationError: A value of an axis is out of range.
        UnknownNameError: A dataset, architecture, parent zoo or checkpoint is not there.
    """
    yield from Cells(recipe)


def count_models(recipe: Recipe, rounds: Sequence[Sequence[Mapping[str, Any]]] = ()) -> int:
    """Count the models of a recipe.

    Args:
        recipe: The recipe.
        rounds: Value by field of the further cells of each round of refinement.

    Returns:
        Their number.
    """
    return Cells(recipe).models + len(recipe.seeds) * sum(map(len, rounds))


def examples(
    recipe: Recipe, part: str, rounds: Sequence[Sequence[Mapping[str, Any]]] = ()
) -> Iterator[ModelSpecification]:
    """Give a specification for each combination of values that one part of it takes.

    Args:
        recipe: The recipe.
        part: Such as `dataset` or `parent`.
        rounds: Value by field of the further cells of each round of refinement.

    Yields:
        A specification a combination, in the order of the cells.
    """
    for cells in (Cells(recipe), *(Cells(recipe, each) for each in rounds)):
        _, firsts = cells.combinations(cells.places(lambda field: field.startswith(f"{part}.")))
        for first in firsts.tolist():
            yield cells.specification(first, recipe.seeds[0])


def plan(recipe: Recipe) -> list[Stack]:
    """Group a recipe's models into stacks.

    A stack shares architecture, data, share of the items, batch size, optimiser, precision and the steps of
    attacks; cells stay whole, so that what is measured on pairs needs one shard. The plan depends on the
    recipe alone: a run cut off finds its shards again.

    Args:
        recipe: The recipe.

    Returns:
        The stacks, in the order of the cells; their models are made when they are asked for.

    Raises:
        SpecificationError: Values do not go together, or are out of range.
        UnknownNameError: A dataset, architecture, parent zoo or checkpoint is not there.
    """
    check_mixtures(recipe)
    return _stacks(Cells(recipe), "")


def plan_rounds(recipe: Recipe, rounds: Sequence[Sequence[Mapping[str, Any]]]) -> list[Stack]:
    """Group the further models of a refinement into stacks, each round for itself.

    Args:
        recipe: The recipe.
        rounds: Value by field of the cells of each round.

    Returns:
        The stacks; their shards are named by the round, as `weights/<layout>-r1-00000.h5`.

    Raises:
        SpecificationError: Values do not go together, or are out of range.
    """
    numbered = enumerate(rounds, start=1)
    return [stack for number, cells in numbered for stack in _stacks(Cells(recipe, cells), f"r{number}-")]


def _stacks(cells: Cells, prefix: str) -> list[Stack]:
    check_combinations(cells)
    found, firsts = cells.combinations(cells.places(_decides_kind))
    groups: dict[Kind, list[int]] = {}
    specs = [cells.specification(first, cells.recipe.seeds[0]) for first in firsts.tolist()]
    for number, spec in enumerate(specs):
        groups.setdefault(_kind(spec), []).append(number)
    numbers: dict[str, int] = {}
    stacks = []
    for kind, members in _with_cells(groups, found):
        spec = specs[groups[kind][0]]
        layout = architectures.layout(spec.architecture, datasets.shape(spec.dataset))
        for models in _chunks(cells, members, 4 * layout.size):
            number = numbers.get(layout.id, 0)
            numbers[layout.id] = number + 1
            stacks.append(Stack(f"weights/{layout.id}-{prefix}{number:05d}.h5", layout, models, kind))
    return stacks


def _decides_kind(field: str) -> bool:
    part, _, key = field.partition(".")
    if part == "dataset":
        return key not in _RESIDENT_ALIKE
    return part == "architecture" or (part == "training" and key in STACKED_TRAINING)


def _kind(spec: ModelSpecification) -> Kind:
    return Kind(
        spec.architecture.model_dump_json(),
        datasets.residence(spec.dataset),
        datasets.shape(spec.dataset).classes,
        datasets.used(spec.dataset),
        tuple(getattr(spec.training, field) for field in STACKED_TRAINING),
    )


def _with_cells(
    groups: Mapping[Kind, Sequence[int]], found: Integer[np.ndarray, " cells"]
) -> Iterator[tuple[Kind, Integer[np.ndarray, " some"]]]:
    """Give each group its cells, in order: `found` says which combination each cell has."""
    group_of = np.empty(sum(map(len, groups.values())), np.int64)
    for place, numbers in enumerate(groups.values()):
        group_of[list(numbers)] = place
    order = np.argsort(group_of[found], kind="stable")
    counts = np.bincount(group_of[found], minlength=len(groups))
    yield from zip(groups, np.split(order, np.cumsum(counts)[:-1]), strict=True)


def _chunks(
    cells: Cells, members: Integer[np.ndarray, " some"], checkpoint_bytes: int
) -> Iterator[PlannedModels]:
    """Fill stacks with whole cells, up to the limits; a cell beyond them gets a stack of its own."""
    places, seeds = cells.epochs_places(), len(cells.recipe.seeds)
    of = np.zeros(len(members), np.int32) if places is None else places[members]
    sizes = {place: seeds * len(cells.kept(place)[1]) * checkpoint_bytes for place in np.unique(of).tolist()}
    start, filled = 0, 0
    for end, place in enumerate(of.tolist()):
        filled += sizes[place]
        if end > start and ((end - start + 1) * seeds > MAX_STACK_MODELS or filled > MAX_SHARD_BYTES):
            yield PlannedModels(cells, members[start:end], None if places is None else of[start:end])
            start, filled = end, sizes[place]
    yield PlannedModels(cells, members[start:], None if places is None else of[start:])


def alike(stacks: Sequence[Stack]) -> list[tuple[Stack, int]]:
    """Find the stacks that cost the same, so that a cost is asked for once.

    Args:
        stacks: Many stacks.

    Returns:
        The first stack of each sort, and how many there are.
    """
    found: dict[tuple[Any, ...], tuple[Stack, int]] = {}
    for stack in stacks:
        sort = (stack.kind, len(stack.models), stack.n_checkpoints, stack.model_epochs)
        first, count = found.get(sort, (stack, 0))
        found[sort] = (first, count + 1)
    return list(found.values())
