"""What every architecture provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Generator, nn

from zoo.spec import DataShape


class ArchitectureOptions(BaseModel):
    """Base of an architecture's options: unknown keys are refused, values are typed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(ABC):
    """A family of networks, registered under a name.

    Attributes:
        name: The name, as recipes spell it.
        options: Class of its options.
    """

    name: ClassVar[str]
    options: ClassVar[type[ArchitectureOptions]]

    @abstractmethod
    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network with weights that no one has set yet."""

    @abstractmethod
    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights in place, from this generator alone."""
