"""From a recipe to the list of models, and from models to the stacks that train together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from generators.recipe import Recipe, axis_name
from zoo import architectures, datasets
from zoo.spec import Axis, Layout, ModelSpecification, cell_id, model_id

MAX_STACK_MODELS = 64
MAX_SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class PlannedModel:
    """A model that a recipe asks for.

    Attributes:
        spec: Its full specification.
        values: Value by axis.
        seed: Its place among the seeds of its cell.
        checkpoints: Epochs to keep, 0 and its last among them.
    """

    spec: ModelSpecification
    values: dict[str, Any]
    seed: int
    checkpoints: tuple[int, ...]

    @property
    def model_id(self) -> str:
        """Id of the model."""
        return model_id(self.spec, self.values, self.seed)

    @property
    def cell_id(self) -> str:
        """Id of its cell."""
        return cell_id(self.spec, self.values)


@dataclass(frozen=True)
class Stack:
    """Models that train together and land in one shard; which ones follows from the recipe alone.

    Attributes:
        shard: Path of the shard in the zoo.
        layout: Layout of all of its models.
        models: The models, whole cells at a time.
    """

    shard: str
    layout: Layout
    models: tuple[PlannedModel, ...]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What all of its models share, and what models must share to be stepped together."""
        return _kind(self.models[0].spec)

    @property
    def n_checkpoints(self) -> int:
        """Number of checkpoints, if none diverges."""
        return sum(len(model.checkpoints) for model in self.models)

    @property
    def n_bytes(self) -> int:
        """Size of the weights of all checkpoints."""
        return 4 * self.n_checkpoints * self.layout.size

    @property
    def model_epochs(self) -> int:
        """Epochs of all models together."""
        return sum(model.spec.training.epochs for model in self.models)

    @property
    def items(self) -> int:
        """Training items that each model sees in an epoch."""
        return datasets.used(self.models[0].spec.dataset)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of each model in an epoch."""
        return -(-self.items // self.models[0].spec.training.batch_size)

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
    model = next(expand(recipe))
    types = {bool: "string", int: "int64", float: "float64", str: "string"}
    found = []
    for kind, fields in recipe.axes.kinds.items():
        for field in fields:
            name = axis_name(field)
            dtype = types[type(model.values[name])]
            found.append(Axis.model_validate({"name": name, "field": field, "kind": kind, "dtype": dtype}))
    return tuple(found)


def expand(recipe: Recipe) -> Iterator[PlannedModel]:
    """List every model of a recipe, cell by cell.

    Args:
        recipe: The recipe.

    Yields:
        The models, seeds innermost.
    """
    fields = recipe.axes.fields
    for point in itertools.product(*fields.values()):
        for place, seed in enumerate(recipe.seeds):
            named = dict(zip(fields, point, strict=True))
            spec = recipe.specification(named, seed)
            # read back from the specification, where YAML's "1e-3" has become a number
            values = {axis_name(field): _read(spec, field, given) for field, given in named.items()}
            kept = tuple(sorted({0, *recipe.checkpoints, spec.training.epochs}))
            yield PlannedModel(spec, values, place, kept)


def _read(spec: ModelSpecification, field: str, given: Any) -> Any:
    part, _, key = field.partition(".")
    if field == "fork.trunk_seed":
        return given
    if part == "architecture" and key != "name":  # an option added later is left out at its default
        return getattr(architectures.options(spec.architecture), key)
    return reduce(getattr, field.split("."), spec)


def plan(recipe: Recipe) -> list[Stack]:
    """Group a recipe's models into stacks.

    A stack shares architecture, data, share of the items, batch size, optimiser, precision and the steps of
    attacks; cells stay whole, so that what is measured on pairs needs one shard. The plan depends on the
    recipe alone: a run cut off finds its shards again.

    Args:
        recipe: The recipe.

    Returns:
        The stacks, in the order of the grid.
    """
    groups: dict[tuple[Any, ...], dict[str, list[PlannedModel]]] = {}
    for model in expand(recipe):
        groups.setdefault(_kind(model.spec), {}).setdefault(model.cell_id, []).append(model)
    numbers: dict[str, int] = {}
    stacks = []
    for cells in groups.values():
        first = next(iter(cells.values()))[0].spec
        layout = architectures.layout(first.architecture, datasets.shape(first.dataset))
        for models in _chunks(list(cells.values()), 4 * layout.size):
            number = numbers.get(layout.id, 0)
            numbers[layout.id] = number + 1
            stacks.append(Stack(f"weights/{layout.id}-{number:05d}.h5", layout, models))
    return stacks


def _kind(spec: ModelSpecification) -> tuple[Any, ...]:
    return (
        spec.architecture.model_dump_json(),
        datasets.residence(spec.dataset),
        datasets.used(spec.dataset),
        spec.training.batch_size,
        spec.training.optimizer,
        spec.training.precision,
        spec.training.adversarial_steps,
    )


def _chunks(cells: list[list[PlannedModel]], checkpoint_bytes: int) -> Iterator[tuple[PlannedModel, ...]]:
    """Fill stacks with whole cells, up to the limits; a cell beyond them gets a stack of its own."""
    chunk: list[PlannedModel] = []
    for cell in cells:
        filled = checkpoint_bytes * sum(len(model.checkpoints) for model in chunk + cell)
        if chunk and (len(chunk) + len(cell) > MAX_STACK_MODELS or filled > MAX_SHARD_BYTES):
            yield tuple(chunk)
            chunk = []
        chunk += cell
    yield tuple(chunk)
