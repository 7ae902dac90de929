"""Multi-layer perceptron: `depth` hidden layers of `width` units; width is the usual load axis."""

from __future__ import annotations

import itertools
import math
from typing import Literal

from pydantic import Field
from torch import Generator, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.errors import SpecificationError
from zoo.spec import DataShape


class MLPOptions(ArchitectureOptions):
    """Options of the MLP.

    Attributes:
        width: Units of each hidden layer.
        depth: Hidden layers.
        activation: Non-linearity after each of them.
    """

    width: int = Field(ge=1, le=65536)
    depth: int = Field(default=2, ge=1, le=64)
    activation: Literal["relu", "tanh", "gelu"] = "relu"


_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class MLP(Architecture):
    """The MLP family; parameter names are those of `nn.Sequential`: `0.weight`, `0.bias`, `2.weight`, ...

    Parameters: `w(d + 1) + (depth - 1) w(w + 1) + c(w + 1)` for d inputs, width w and c classes.
    """

    name = "mlp"
    options = MLPOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: An `MLPOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            `nn.Sequential` from `(batch, n_inputs)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are no vectors.
        """
        if len(data.inputs) != 1:
            raise SpecificationError(
                f"the mlp takes vectors, this dataset has inputs of shape {data.inputs}; choose another "
                "architecture, or a dataset of vectors"
            )
        chosen = MLPOptions.model_validate(options.model_dump())
        sizes = [data.inputs[0]] + [chosen.width] * chosen.depth
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[chosen.activation]()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], data.classes))

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw weights and biases from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as `nn.Linear` does by default.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
