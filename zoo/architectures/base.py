"""What every architecture provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Generator, nn

from zoo.architectures.symmetries import Symmetry
from zoo.spec import DataShape, GrowingSpecification


class ArchitectureOptions(GrowingSpecification):
    """Base of an architecture's options: unknown keys are refused, values are typed."""


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

    @abstractmethod
    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say which relabellings of hidden units leave a network that `build` made as it is."""
