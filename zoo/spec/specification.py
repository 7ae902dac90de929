"""The full specification of one trained network: what it becomes depends on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoo.spec.hashing import digest

Scalar = str | bool | int | float
"""A value on an axis or an option of an architecture."""


@dataclass(frozen=True)
class DataShape:
    """What a network needs to know of its data.

    Attributes:
        inputs: Shape of one input, without the batch.
        classes: Number of classes.
    """

    inputs: tuple[int, ...]
    classes: int


class DatasetSpecification(BaseModel):
    """Which data a network was trained on.

    Attributes:
        name: Registered dataset.
        label_noise: Share of training labels replaced by a wrong class, in [0, 1].
        noise_seed: Seed of the mask that picks these labels; the same for all models of a zoo.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label_noise: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    noise_seed: int = Field(default=0, ge=0, lt=2**31)


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


class TrainingSpecification(BaseModel):
    """How a network was trained.

    Attributes:
        optimizer: Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.
        learning_rate: Peak learning rate.
        momentum: Momentum, in [0, 1).
        weight_decay: L2 coefficient added to the gradient of every parameter.
        batch_size: Items that one optimiser step sees.
        epochs: Passes over the training data.
        schedule: `constant`, or `cosine` from the peak to zero over all steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["sgd"] = "sgd"
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    schedule: Literal["constant", "cosine"] = "constant"


class SeedSpecification(BaseModel):
    """The seeds of a network; they are separate, so that same-init/other-order pairs can exist.

    Attributes:
        init_seed: Seed of the initial weights.
        order_seed: Seed of the order in which the data are seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    init_seed: int = Field(ge=0, lt=2**31)
    order_seed: int = Field(ge=0, lt=2**31)


class ModelSpecification(BaseModel):
    """Everything that decides what a network becomes.

    Attributes:
        dataset: The data.
        architecture: The network.
        training: The training.
        seeds: The seeds.

    Example:
        >>> spec = ModelSpecification.model_validate({
        ...     "dataset": {"name": "digits"}, "architecture": {"name": "mlp", "width": 8},
        ...     "training": {"learning_rate": 0.1, "batch_size": 32, "epochs": 2},
        ...     "seeds": {"init_seed": 0, "order_seed": 0}})
        >>> len(spec.hash)
        64
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: DatasetSpecification
    architecture: ArchitectureSpecification
    training: TrainingSpecification
    seeds: SeedSpecification

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
