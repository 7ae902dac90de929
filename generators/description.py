"""What a recipe says: what all models share, on which axes they differ, how their cells are chosen."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from generators.axes import PARTS, Axes, Value, axis_name, check_axis, no_boolean
from generators.parents import parent_of
from generators.refinement import AnyRefinement, check_method
from generators.sampling import AnySampling, GridSampling, check_sampling, with_listed_values
from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import (
    ADDED_COLUMNS,
    CORE_COLUMNS,
    MODEL_COLUMNS,
    GrowingSpecification,
    ModelSpecification,
    describe,
    digest,
)

Seed = Annotated[int, BeforeValidator(no_boolean), Field(ge=0, lt=2**31)]


Epoch = Annotated[int, BeforeValidator(no_boolean), Field(ge=0)]


def _epochs(value: Any) -> Any:
    if value == "every":
        return value
    if not isinstance(value, list | tuple) or any(isinstance(epoch, str) for epoch in value):
        raise ValueError("expected a list of epochs, or `every`")
    return value


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


class Recipe(GrowingSpecification):
    """A population to train: what all models share, the axes on which they differ, the seeds.

    Attributes:
        name: Name of the zoo.
        description: One paragraph for its readers.
        licence: SPDX id of the licence of the weights.
        dataset: Fields of the dataset that are not axes.
        architecture: Fields of the architecture that are not axes.
        training: Fields of the training that are not axes.
        axes: The axes.
        seeds: Seeds of each cell; seed s draws initial weights and data order from streams of s,
            `{init: i, order: o}` from streams of their own.
        checkpoints: Epochs whose weights are kept, beside 0 and the last; `every` for all of them.
        fork: Where the models of a cell part, and what changes there: fields of `ForkSpecification`, and
            `trunk_seed` (0 if not given). Up to `epoch` they share the weights that this seed gives; then
            seed s draws the data order.
        parent: A checkpoint to begin at: `zoo` (folder or name) and `checkpoint` (its id).
        sampling: Which cells: all of the grid, a list, or points of a Sobol sequence.
        refine: Further cells of a grid, put where a metric changes fastest.
        source: Where the population comes from, such as a paper.
        notes: What is ours where the source leaves a value open.
    """

    added: ClassVar[frozenset[str]] = frozenset({"fork", "parent", "sampling", "refine", "source", "notes"})

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    description: str = Field(min_length=1)
    licence: str = "CC-BY-4.0"
    dataset: dict[str, Value]
    architecture: dict[str, Value]
    training: dict[str, Value]
    axes: Axes
    seeds: tuple[AnySeed, ...] = Field(min_length=1)
    checkpoints: Annotated[
        Annotated[Literal["every"], Tag("every")] | Annotated[tuple[Epoch, ...], Tag("epochs")],
        Discriminator(lambda value: "every" if value == "every" else "epochs"),
        BeforeValidator(_epochs),
    ] = ()
    fork: dict[str, Value] = Field(default_factory=dict)
    parent: dict[str, Value] = Field(default_factory=dict)
    sampling: AnySampling = GridSampling()
    refine: AnyRefinement | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _cells_give_the_values(cls, raw: Any) -> Any:
        return with_listed_values(raw)

    @model_validator(mode="after")
    def _axes_are_sound(self) -> Recipe:
        check_sampling(self.sampling, self.axes)
        check_method(self.refine, self.sampling.method)
        for field, values in self.axes.fields.items():
            check_axis(field, values)
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
        return self

    @model_validator(mode="after")
    def _seeds_are_sound(self) -> Recipe:
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

    def kept_epochs(self, last: int) -> tuple[int, ...]:
        """Say which checkpoints of a model are kept.

        Args:
            last: Its last epoch.

        Returns:
            Their epochs, ascending, 0 and the last among them.
        """
        wanted = range(last) if self.checkpoints == "every" else self.checkpoints
        return tuple(sorted({0, *wanted, last}))

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
        parts = {name: dict(getattr(self, name)) for name in PARTS}
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
            raise SpecificationError(
                f"recipe {self.name!r}, {values}:\n{describe(error, ModelSpecification)}"
            ) from None
        spec = spec.model_copy(
            update={
                "dataset": datasets.resolve(spec.dataset),
                "architecture": architectures.resolve(spec.architecture),
            }
        )
        return (
            spec.model_copy(update={"parent": parent_of(spec, parts["parent"])}) if parts["parent"] else spec
        )


def _seeds(seed: int | SeedPair, fork: dict[str, Value]) -> dict[str, Value]:
    if isinstance(seed, SeedPair):
        return {"init_seed": seed.init, "order_seed": seed.order}
    if not fork:
        return {"init_seed": seed, "order_seed": seed}
    trunk = fork.get("trunk_seed", 0)
    return {"init_seed": trunk, "order_seed": trunk, "fork_seed": seed}
