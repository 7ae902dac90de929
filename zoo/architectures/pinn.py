"""Perceptron of the physics-informed networks of Krishnapriyan et al. 2021 (arXiv 2109.01050)."""

from __future__ import annotations

from pydantic import Field
from torch import Generator, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.mlp import MLP, MLPOptions
from zoo.architectures.shapes import wrong_inputs
from zoo.architectures.symmetries import Symmetry, chain
from zoo.spec import DataShape


class PINNOptions(ArchitectureOptions):
    """Options of the perceptron.

    Attributes:
        width: Units of each hidden layer.
        depth: Hidden layers.
    """

    width: int = Field(default=50, ge=1, le=65536)
    depth: int = Field(default=4, ge=1, le=64)


class PINN(Architecture):
    """Tanh perceptron from coordinates such as (x, t) to values of a solution; the layers are the mlp's.

    Parameters: `w(d + 1) + (depth - 1) w(w + 1) + c(w + 1)` for d coordinates, width w and c values: 7,851
    at the defaults, from (x, t) to one value.
    """

    name = "pinn"
    options = PINNOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `PINNOptions`.
            data: Number of coordinates, number of values.

        Returns:
            `nn.Sequential` from `(batch, n_coordinates)` to `(batch, n_values)`.

        Raises:
            SpecificationError: The inputs are no coordinates.
        """
        if len(data.inputs) != 1 or data.tokens is not None:
            raise wrong_inputs(self.name, "coordinates", data)
        chosen = PINNOptions.model_validate(options.model_dump())
        return MLP().build(MLPOptions(width=chosen.width, depth=chosen.depth, activation="tanh"), data)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights: Xavier-normal (Glorot and Bengio 2010), biases 0.

        This is our choice, the usual one for tanh; the released code of the paper leaves torch's default,
        uniform weights and biases.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how hidden units can be permuted: those of each layer, independently of the others.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            A group for each hidden layer, by the layer's name.
        """
        return chain(module)
