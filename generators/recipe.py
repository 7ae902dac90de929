"""Recipes: a population described in one YAML file, checked whole before anything is trained."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    ValidationError,
    model_validator,
)

from generators.parents import parent_of
from zoo import architectures, datasets
from zoo.errors import SpecificationError, UnknownNameError, ZooError, unknown_name
from zoo.spec import (
    ADDED_COLUMNS,
    CORE_COLUMNS,
    MODEL_COLUMNS,
    AxisKind,
    GrowingSpecification,
    ModelSpecification,
    describe,
    digest,
)

Value = Annotated[StrictBool | int | float | str, Field(union_mode="left_to_right")]
_MAX_RECIPE_BYTES = 1 << 20


def _no_boolean(value: Any) -> Any:
    """Refuse true and false where a number is meant: YAML reads `yes` and `no` as these."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Seed = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, lt=2**31)]


class SeedPair(BaseModel):
    """Two seeds of one model, where they differ: pairs of same initial weights and other data order.

    Attributes:
        init: Seed of the initial weights.
        order: Seed of the data order, and of dropout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    init: Seed
    order: Seed


def _seed_kind(value: Any) -> str:
    return "pair" if isinstance(value, dict | SeedPair) else "number"


AnySeed = Annotated[
    Annotated[Seed, Tag("number")] | Annotated[SeedPair, Tag("pair")], Discriminator(_seed_kind)
]
"""One seed or two; told apart first, so that a fault is named once."""


class Axes(GrowingSpecification):
    """The grid: every field of a specification may be an axis.

    Attributes:
        load: Values by field, such as `architecture.width: [8, 16]`.
        temperature: Values by field, such as `training.learning_rate: [0.01, 0.1]`.
        other: Values by field of what is neither, such as `fork.epoch: [1, 5, 20]`.
    """

    added: ClassVar[frozenset[str]] = frozenset({"other"})

    load: dict[str, tuple[Value, ...]] = Field(min_length=1)
    temperature: dict[str, tuple[Value, ...]] = Field(min_length=1)
    other: dict[str, tuple[Value, ...]] = Field(default_factory=dict)

    @property
    def kinds(self) -> dict[AxisKind, dict[str, tuple[Value, ...]]]:
        """Values by field of each kind, load first."""
        return {"load": self.load, "temperature": self.temperature, "other": self.other}

    @property
    def fields(self) -> dict[str, tuple[Value, ...]]:
        """Values by field, load first."""
        return {**self.load, **self.temperature, **self.other}


class Recipe(GrowingSpecification):
    """A population to train: what all models share, the axes on which they differ, the seeds.

    Attributes:
        name: Name of the zoo.
        description: One paragraph for its readers.
        licence: SPDX id of the licence of the weights.
        dataset: Fields of the dataset that are not axes.
        architecture: Fields of the architecture that are not axes.
        training: Fields of the training that are not axes.
        axes: The grid.
        seeds: Seeds of each cell; seed s draws initial weights and data order from streams of s,
            `{init: i, order: o}` from streams of their own.
        checkpoints: Epochs whose weights are kept, beside 0 and the last.
        fork: Where the models of a cell part, and what changes there: fields of `ForkSpecification`, and
            `trunk_seed` (0 if not given). Up to `epoch` they share the weights that this seed gives; then
            seed s draws the data order.
        parent: A checkpoint to begin at: `zoo` (folder or name) and `checkpoint` (its id).
    """

    added: ClassVar[frozenset[str]] = frozenset({"fork", "parent"})

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    description: str = Field(min_length=1)
    licence: str = "CC-BY-4.0"
    dataset: dict[str, Value]
    architecture: dict[str, Value]
    training: dict[str, Value]
    axes: Axes
    seeds: tuple[AnySeed, ...] = Field(min_length=1)
    checkpoints: tuple[Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)], ...] = ()
    fork: dict[str, Value] = Field(default_factory=dict)
    parent: dict[str, Value] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _grid_is_sound(self) -> Recipe:
        for field, values in self.axes.fields.items():
            _check_axis(field, values)
        names = [axis_name(field) for field in self.axes.fields]
        tables = (*MODEL_COLUMNS, *ADDED_COLUMNS["models"], *CORE_COLUMNS["checkpoints"])
        reserved = {column.name for column in tables} & set(names)
        if len(set(names)) < len(names) or reserved:
            raise ValueError(f"axes become columns {names}; they must differ from each other and {reserved}")
        counts = Counter(field for fields in self.axes.kinds.values() for field in fields)
        twice = [field for field, count in counts.items() if count > 1]
        if twice:
            raise ValueError(
                f"{', '.join(twice)} is an axis of one kind, such as load or temperature, not of two"
            )
        pairs = {(s.init, s.order) if isinstance(s, SeedPair) else (s, s) for s in self.seeds}
        if len(pairs) < len(self.seeds):
            raise ValueError(f"a seed stands twice in {list(self.seeds)}")
        forks = self.fork or any(field.startswith("fork.") for field in self.axes.fields)
        if forks and any(isinstance(seed, SeedPair) for seed in self.seeds):
            raise ValueError(
                "in a recipe with a fork a seed is one number: it draws the order after the fork"
            )
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of the recipe, all defaults written out."""
        return digest(self.model_dump(mode="json"))

    def specification(self, values: dict[str, Any], seed: int | SeedPair) -> ModelSpecification:
        """Write out the specification of one model.

        Args:
            values: Value by field of each axis.
            seed: One of the seeds.

        Returns:
            The specification, all defaults written out.

        Raises:
            SpecificationError: A key is unknown or a value out of range.
            UnknownNameError: The parent's zoo or checkpoint is not there.
        """
        parts = {name: dict(getattr(self, name)) for name in _PARTS}
        for field, value in values.items():
            part, _, key = field.partition(".")
            parts[part][key] = value
        for part, found in parts.items():
            for key in (key for key, value in found.items() if isinstance(value, bool)):
                raise SpecificationError(
                    f"recipe {self.name!r}: {part}.{key} is a boolean, expected a number or a text"
                )
        fields: dict[str, Any] = {name: parts[name] for name in ("dataset", "architecture", "training")}
        fields["seeds"] = _seeds(seed, parts["fork"])
        if parts["fork"]:
            fields["fork"] = {key: value for key, value in parts["fork"].items() if key != "trunk_seed"}
        try:
            spec = ModelSpecification.model_validate(fields)
        except ValidationError as error:
            raise SpecificationError(f"recipe {self.name!r}, {values}:\n{describe(error)}") from None
        spec = spec.model_copy(
            update={
                "dataset": datasets.resolve(spec.dataset),
                "architecture": architectures.resolve(spec.architecture),
            }
        )
        return (
            spec.model_copy(update={"parent": parent_of(spec, parts["parent"])}) if parts["parent"] else spec
        )


_PARTS = ("dataset", "architecture", "training", "fork", "parent")


def _seeds(seed: int | SeedPair, fork: dict[str, Value]) -> dict[str, Value]:
    if isinstance(seed, SeedPair):
        return {"init_seed": seed.init, "order_seed": seed.order}
    if not fork:
        return {"init_seed": seed, "order_seed": seed}
    trunk = fork.get("trunk_seed", 0)
    return {"init_seed": trunk, "order_seed": trunk, "fork_seed": seed}


def axis_name(field: str) -> str:
    """Name the column of an axis.

    Args:
        field: Field of the specification.

    Returns:
        Its last part; the whole where the last part alone would be taken for something else.

    Example:
        >>> axis_name("training.learning_rate"), axis_name("fork.epoch")
        ('learning_rate', 'fork_epoch')
    """
    return field.replace(".", "_") if field.startswith(("fork.", "parent.")) else field.rpartition(".")[2]


def _check_axis(field: str, values: tuple[Value, ...]) -> None:
    part, _, key = field.partition(".")
    if part not in _PARTS or not key:
        expected = ", ".join(f"{name}.<key>" for name in _PARTS)
        raise ValueError(f"axis {field!r}: expected one of {expected}")
    if field == "parent.zoo":
        raise ValueError("axis 'parent.zoo': a recipe has one parent zoo; take parent.checkpoint as axis")
    if not values:
        raise ValueError(f"axis {field!r} is empty; give at least one value")
    if len(set(values)) < len(values):
        raise ValueError(f"axis {field!r} has a value twice: {list(values)}")


def list_recipes() -> list[str]:
    """List the recipes that come with the package.

    Returns:
        Their names, sorted.

    Example:
        >>> "digits-mlp-demo" in list_recipes()
        True
    """
    folder = resources.files("generators") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(source: str | Path) -> Recipe:
    """Load a recipe and check every value on its axes.

    Args:
        source: Name of a recipe that comes with the package, or a YAML file.

    Returns:
        The recipe.

    Raises:
        UnknownNameError: No such recipe or file.
        SpecificationError: Broken YAML, an unknown key, a value out of range, an empty axis.

    Example:
        >>> load_recipe("digits-mlp-demo").seeds
        (0, 1, 2)
    """
    text, origin = _read(source)
    try:
        recipe = Recipe.model_validate(_parse(text, origin))
    except ValidationError as error:
        raise SpecificationError(f"{origin} is not a recipe:\n{describe(error)}") from None
    try:
        _check_values(recipe)
    except ZooError as error:
        raise SpecificationError(f"{origin}: {error}") from None
    return recipe


def _read(source: str | Path) -> tuple[str, str]:
    if str(source) in list_recipes():
        file = resources.files("generators") / "recipes" / f"{source}.yaml"
        return file.read_text(encoding="utf-8"), f"recipe {source}"
    path = Path(source)
    if not path.is_file():
        way_out = "(or give the path of a YAML file)"
        if path.suffix in {".yaml", ".yml"}:
            raise UnknownNameError(f"there is no file {path.absolute()}; expected a recipe in YAML there")
        raise unknown_name("recipe", str(source), list_recipes(), way_out=way_out)
    if path.stat().st_size > _MAX_RECIPE_BYTES:
        raise SpecificationError(f"{path} has {path.stat().st_size:,} bytes; a recipe has at most 1 MiB")
    return path.read_text(encoding="utf-8", errors="replace"), str(path)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, which can blow up, and without keys that stand twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("a recipe has no aliases (*name)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"the key {', '.join(sorted(twice))} stands twice")
        return super().construct_mapping(node, deep)


def _parse(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecificationError(f"{origin} is not valid YAML: {error}") from None


def _check_values(recipe: Recipe) -> None:
    """Build a specification with each value of each axis once, so that no bad value waits in the grid."""
    first = {field: values[0] for field, values in recipe.axes.fields.items()}
    for field, values in recipe.axes.fields.items():
        _, _, key = field.partition(".")
        for value in values:
            spec = recipe.specification({**first, field: value}, recipe.seeds[0])
            if field.startswith("training.") and key in spec.training.unused:
                raise SpecificationError(
                    f"the axis {field} would change nothing: {spec.training.optimizer} under the schedule "
                    f"{spec.training.schedule} does not use it, so cells would be copies of each other"
                )
            beyond = [epoch for epoch in recipe.checkpoints if epoch > spec.training.epochs]
            if beyond:
                raise SpecificationError(
                    f"checkpoints {beyond} lie after the last epoch {spec.training.epochs}"
                )
