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
    """

    spec: ModelSpecification
    values: dict[str, Any]
    seed: int

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
        checkpoints: Epochs to keep, 0 and the last among them.
    """

    shard: str
    layout: Layout
    models: tuple[PlannedModel, ...]
    checkpoints: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Size of the weights of all checkpoints."""
        return 4 * len(self.models) * len(self.checkpoints) * self.layout.size


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
    for kind, fields in (("load", recipe.axes.load), ("temperature", recipe.axes.temperature)):
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
            spec = recipe.specification(dict(zip(fields, point, strict=True)), seed)
            # read back from the specification, where YAML's "1e-3" has become a number
            values = {axis_name(field): _read(spec, field) for field in fields}
            yield PlannedModel(spec, values, place)


def _read(spec: ModelSpecification, field: str) -> Any:
    return reduce(getattr, field.split("."), spec)


def plan(recipe: Recipe) -> list[Stack]:
    """Group a recipe's models into stacks.

    A stack shares architecture, data, batch size and epochs; cells stay whole, so that what is measured
    on pairs needs one shard. The plan depends on the recipe alone: a run cut off finds its shards again.

    Args:
        recipe: The recipe.

    Returns:
        The stacks, in the order of the grid.
    """
    groups: dict[tuple[Any, ...], dict[str, list[PlannedModel]]] = {}
    for model in expand(recipe):
        spec = model.spec
        key = (
            spec.architecture.model_dump_json(),
            spec.dataset.name,
            spec.training.batch_size,
            spec.training.epochs,
        )
        groups.setdefault(key, {}).setdefault(model.cell_id, []).append(model)
    numbers: dict[str, int] = {}
    stacks = []
    for cells in groups.values():
        first = next(iter(cells.values()))[0].spec
        layout = architectures.layout(first.architecture, datasets.shape(first.dataset.name))
        epochs = tuple(sorted({0, *recipe.checkpoints, first.training.epochs}))
        for models in _chunks(list(cells.values()), 4 * layout.size * len(epochs)):
            number = numbers.get(layout.id, 0)
            numbers[layout.id] = number + 1
            stacks.append(Stack(f"weights/{layout.id}-{number:05d}.h5", layout, models, epochs))
    return stacks


def _chunks(cells: list[list[PlannedModel]], model_bytes: int) -> Iterator[tuple[PlannedModel, ...]]:
    """Fill stacks with whole cells, up to the limits; a cell beyond them gets a stack of its own."""
    limit = max(1, min(MAX_STACK_MODELS, MAX_SHARD_BYTES // model_bytes))
    chunk: list[PlannedModel] = []
    for cell in cells:
        if chunk and len(chunk) + len(cell) > limit:
            yield tuple(chunk)
            chunk = []
        chunk += cell
    yield tuple(chunk)
