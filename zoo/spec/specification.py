"""The full specification of one trained network: what it becomes depends on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo.spec.growing import GrowingSpecification
from zoo.spec.hashing import digest
from zoo.spec.training import ForkSpecification, TrainingSpecification

Scalar = str | bool | int | float
"""A value on an axis or an option of an architecture."""


@dataclass(frozen=True)
class DataShape:
    """What a network needs to know of its data.

    Attributes:
        inputs: Shape of one input, without the batch.
        classes: Number of classes, or of other outputs; for text they are predicted at each place.
        tokens: Number of different tokens where inputs are tokens (integers), nothing where they are numbers.
    """

    inputs: tuple[int, ...]
    classes: int
    tokens: int | None = None


class DatasetSpecification(GrowingSpecification):
    """Which data a network was trained on, and how they were shown; a dataset may have options of its own.

    Attributes:
        name: Registered dataset.
        label_noise: Share of training labels replaced by a wrong class, in [0, 1].
        noise_seed: Seed of the mask that picks these labels; the same for all models of a zoo.
        fraction: Share of the training items that the network sees, in (0, 1].
        subset_seed: Seed of the choice of these items; a smaller share is a subset of a larger one.
        classes: The classes that are kept, ascending, such as `0-3-7`; the network numbers them from 0. Each
            gives as many training items as the smallest class of the dataset has.
        class_count: In place of `classes`: the first so many.
        crop: Largest shift of a training image in pixels, each way; what comes in is black.
        flip: Probability that a training image is mirrored left to right, in [0, 1].
        rotation: Largest turn of a training image in degrees, each way.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)
    added: ClassVar[frozenset[str]] = frozenset(
        {"fraction", "subset_seed", "classes", "class_count", "crop", "flip", "rotation"}
    )

    name: str
    label_noise: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    noise_seed: int = Field(default=0, ge=0, lt=2**31)
    fraction: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    subset_seed: int = Field(default=0, ge=0, lt=2**31)
    classes: str | None = Field(default=None, pattern=r"^\d{1,6}(-\d{1,6})+$")
    class_count: int | None = Field(default=None, ge=2)
    crop: int = Field(default=0, ge=0, le=1024)
    flip: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    rotation: float = Field(default=0.0, ge=0, le=180, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Scalar]:
        """Options of this dataset alone."""
        return dict(self.__pydantic_extra__)

    @property
    def kept_classes(self) -> tuple[int, ...] | None:
        """The classes that are kept; nothing for all."""
        if self.class_count is not None:
            return tuple(range(self.class_count))
        return None if self.classes is None else tuple(map(int, self.classes.split("-")))

    @property
    def labels_key(self) -> str:
        """First 16 digits of the SHA-256 of all that decides the labels: equal where they are."""
        exclude = {"fraction", "subset_seed", "crop", "flip", "rotation"}
        return digest(self.model_dump(mode="json", exclude=exclude))[:16]

    @property
    def augmented(self) -> bool:
        """Whether training images are shifted, mirrored or turned."""
        return bool(self.crop or self.flip or self.rotation)

    @model_validator(mode="after")
    def _classes_are_told_once(self) -> DatasetSpecification:
        if self.classes is not None and self.class_count is not None:
            raise ValueError("classes and class_count say the same thing; give one of them")
        kept = self.kept_classes
        if kept is not None and list(kept) != sorted(set(kept)):
            raise ValueError(f"classes {self.classes} must be distinct and ascend, such as 0-3-7")
        return self


class ArchitectureSpecification(BaseModel):
    """Which network: a registered name and its options, which the architecture itself validates.

    Attributes:
        name: Registered architecture.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    name: str

    @property
    def options(self) -> dict[str, Scalar]:
        """Everything but the name."""
        return dict(self.__pydantic_extra__)


class SeedSpecification(GrowingSpecification):
    """The seeds of a network; they are separate, so that same-init/other-order pairs can exist.

    Attributes:
        init_seed: Seed of the initial weights.
        order_seed: Seed of the order in which the data are seen, and of dropout.
        fork_seed: Seed of both after the fork, where there is one.
    """

    added: ClassVar[frozenset[str]] = frozenset({"fork_seed"})

    init_seed: int = Field(ge=0, lt=2**31)
    order_seed: int = Field(ge=0, lt=2**31)
    fork_seed: int | None = Field(default=None, ge=0, lt=2**31)


class ParentSpecification(BaseModel):
    """The checkpoint that a network was fine-tuned from, in place of initial weights.

    Attributes:
        zoo: Name of the zoo that it lies in.
        checkpoint: Id of the checkpoint.
        sha256: Digest of its weight vector, little-endian float32: the same id of another run does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoo: str
    checkpoint: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelSpecification(GrowingSpecification):
    """Everything that decides what a network becomes.

    Attributes:
        dataset: The data.
        architecture: The network.
        training: The training.
        seeds: The seeds.
        fork: Where it leaves its siblings, if it has any.
        parent: The checkpoint that it begins at, if it does not begin at initial weights.

    Example:
        >>> spec = ModelSpecification.model_validate({
        ...     "dataset": {"name": "digits"}, "architecture": {"name": "mlp", "width": 8},
        ...     "training": {"learning_rate": 0.1, "batch_size": 32, "epochs": 2},
        ...     "seeds": {"init_seed": 0, "order_seed": 0}})
        >>> len(spec.hash)
        64
    """

    added: ClassVar[frozenset[str]] = frozenset({"fork", "parent"})

    dataset: DatasetSpecification
    architecture: ArchitectureSpecification
    training: TrainingSpecification
    seeds: SeedSpecification
    fork: ForkSpecification | None = None
    parent: ParentSpecification | None = None

    @model_validator(mode="after")
    def _fork_is_whole(self) -> ModelSpecification:
        if (self.fork is None) != (self.seeds.fork_seed is None):
            raise ValueError("a fork and seeds.fork_seed need each other")
        if self.fork is not None and self.fork.epoch >= self.training.epochs:
            raise ValueError(
                f"fork.epoch {self.fork.epoch} must be below training.epochs {self.training.epochs}"
            )
        if self.fork is not None:
            try:
                self.fork.apply(self.training)
            except ValidationError as error:
                raise ValueError(f"after the fork: {error.errors()[0]['msg']}") from None
        return self

    def trained_as(self, epoch: int) -> tuple[TrainingSpecification, int]:
        """Say how an epoch is trained.

        Args:
            epoch: The epoch, from 1.

        Returns:
            Its training and the seed of its data order: those of the trunk up to the fork, then the branch's.
        """
        if self.fork is None or self.seeds.fork_seed is None or epoch <= self.fork.epoch:
            return self.training, self.seeds.order_seed
        return self.fork.apply(self.training), self.seeds.fork_seed

    @property
    def hash(self) -> str:
        """SHA-256 of the specification, all defaults written out."""
        return digest(self.model_dump(mode="json"))

    @property
    def cell_hash(self) -> str:
        """SHA-256 of the specification without its seeds: equal within a cell."""
        return digest(self.model_dump(mode="json", exclude={"seeds"}))


def axis_text(values: dict[str, Any]) -> str:
    """Write the values on the axes as the readable part of an id.

    Args:
        values: Value by axis, in the order of the recipe.

    Returns:
        Such as `width8-learning_rate0.05`.

    Example:
        >>> axis_text({"width": 8, "learning_rate": 0.05})
        'width8-learning_rate0.05'
    """
    return "-".join(f"{name}{_value_text(value)}" for name, value in values.items())


def _value_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell_id(spec: ModelSpecification, values: dict[str, Any]) -> str:
    """Name a cell: its axis values and a short hash of what its models share.

    Args:
        spec: Specification of any model of the cell.
        values: Value by axis.

    Returns:
        Such as `width8-learning_rate0.05-1a2b3c4d`.
    """
    return f"{axis_text(values)}-{spec.cell_hash[:8]}"


def model_id(spec: ModelSpecification, values: dict[str, Any], seed: int) -> str:
    """Name a model: its axis values, its seed and a short hash of its full specification.

    Args:
        spec: The specification.
        values: Value by axis.
        seed: Its place among the seeds of its cell.

    Returns:
        Such as `width8-learning_rate0.05-seed0-1a2b3c4d`, the same on any machine.
    """
    return f"{axis_text(values)}-seed{seed}-{spec.hash[:8]}"


def checkpoint_id(model: str, epoch: int) -> str:
    """Name a checkpoint.

    Args:
        model: The model's id.
        epoch: Epochs trained; 0 is the initial weights.

    Returns:
        `<model>@<epoch>`.

    Example:
        >>> checkpoint_id("width8-seed0-1a2b3c4d", 5)
        'width8-seed0-1a2b3c4d@5'
    """
    return f"{model}@{epoch}"
