"""Multi-layer perceptron: `depth` hidden layers of `width` units; width is the usual load axis."""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

from pydantic import Field
from torch import Generator, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import ACTIVATIONS, Activation, draw_layers
from zoo.architectures.shapes import wrong_inputs
from zoo.architectures.symmetries import Symmetry, chain
from zoo.spec import DataShape


class MLPOptions(ArchitectureOptions):
    """Options of the MLP.

    Attributes:
        width: Units of each hidden layer.
        depth: Hidden layers.
        activation: Non-linearity after each of them.
        normalisation: `batch` or `layer` before each non-linearity, or `none`.
        dropout: Share of activations dropped after each non-linearity, in [0, 1).
    """

    added: ClassVar[frozenset[str]] = frozenset({"normalisation", "dropout"})

    width: int = Field(ge=1, le=65536)
    depth: int = Field(default=2, ge=1, le=64)
    activation: Activation = "relu"
    normalisation: Literal["none", "batch", "layer"] = "none"
    dropout: float = Field(default=0.0, ge=0, lt=1)


_NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(Architecture):
    """The MLP family; parameter names are those of `nn.Sequential`: `0.weight`, `0.bias`, `2.weight`, ...

    Parameters: `w(d + 1) + (depth - 1) w(w + 1) + c(w + 1)` for d inputs, width w and c classes; a
        normalisation adds
    `2 w depth`, and `batch` keeps `(2 w + 1) depth` numbers of statistics beside.
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
        if len(data.inputs) != 1 or data.tokens is not None:
            raise wrong_inputs("mlp", "vectors", data)
        chosen = MLPOptions.model_validate(options.model_dump())
        sizes = [data.inputs[0]] + [chosen.width] * chosen.depth
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers.append(nn.Linear(fan_in, fan_out))
            if chosen.normalisation != "none":
                layers.append(_NORMS[chosen.normalisation](fan_out))
            layers.append(ACTIVATIONS[chosen.activation]())
            if chosen.dropout:
                layers.append(nn.Dropout(chosen.dropout))
        return nn.Sequential(*layers, nn.Linear(sizes[-1], data.classes))

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights as torch's layers do by default.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        draw_layers(module, generator)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how hidden units can be permuted: those of each layer, independently of the others.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            A group for each hidden layer, by the layer's name.
        """
        return chain(module)
