"""What every architecture provides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict
from torch import Generator, nn


class ArchitectureOptions(BaseModel):
    """Base of an architecture's options: unknown keys are refused, values are typed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class DataShape:
    """What a network needs to know of its data.

    Attributes:
        inputs: Shape of one input, without the batch.
        classes: Number of classes.
    """

    inputs: tuple[int, ...]
    classes: int


@runtime_checkable
class Architecture(Protocol):
    """A family of networks, registered under a name.

    Attributes:
        name: The name, as recipes spell it.
        options: Class of its options.
    """

    name: str
    options: type[ArchitectureOptions]

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network with weights that no one has set yet."""

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights in place, from this generator alone."""
