"""The small CNN of the model zoos of Schuerholt et al. 2022 (arXiv 2209.14764): 8, 6 and 4 channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field
from torch import Generator, Tensor, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import ACTIVATIONS
from zoo.architectures.shapes import need_images
from zoo.architectures.symmetries import Symmetry, chain
from zoo.errors import SpecificationError
from zoo.spec import DataShape

_ACTIVATIONS: dict[str, type[nn.Module]] = {**ACTIVATIONS, "sigmoid": nn.Sigmoid}
_DRAWS: dict[str, Callable[..., Tensor]] = {
    "uniform": nn.init.uniform_,
    "normal": nn.init.normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "kaiming_normal": nn.init.kaiming_normal_,
}
_FIRST_BIAS = 0.01
_LEAST_SIDE = 20
"""Side of the smallest image of which the last convolution still finds something."""


class ModelZooCNNOptions(ArchitectureOptions):
    """Options of the small CNN of the model zoos; activation, initialisation and dropout are its grid.

    Attributes:
        width: Factor of all channels and hidden units; 1 is the published network.
        activation: Non-linearity after each layer but the last.
        initialisation: Law of the initial weights: `uniform` on [0, 1), `normal` with variance 1, or those
            of He et al. 2015 with `fan_in`, uniform or normal.
        dropout: Share of activations dropped after the first two convolutions and the hidden units, in
            [0, 1).
    """

    width: int = Field(default=1, ge=1, le=1024)
    activation: Literal["tanh", "relu", "gelu", "sigmoid"] = "tanh"
    initialisation: Literal["uniform", "normal", "kaiming_uniform", "kaiming_normal"] = "kaiming_uniform"
    dropout: float = Field(default=0.0, ge=0, lt=1)


def _side(side: int) -> int:
    """Give the side of the last convolution's image."""
    return ((side - 4) // 2 - 4) // 2 - 1


class ModelZooCNN(Architecture):
    """Three convolutions, two of them with a pool, and two linear layers.

    `nn.Sequential`, in the order of the published code, so that its weights fit under their names without
    `module_list.`: 5 x 5 convolution of 8 w channels, pool 2, activation, dropout; the same of 6 w; 2 x 2
    of 4 w, activation; 20 w hidden units, activation, dropout; logits.

    Parameters, for width w, k input channels, c classes and images of `h x v` pixels, with
    `s(n) = ((n - 4) // 2 - 4) // 2 - 1`:
    `8 w (25 k + 1) + 6 w (200 w + 1) + 4 w (24 w + 1) + 20 w (4 w s(h) s(v) + 1) + c (20 w + 1)`:
    2,464 at width 1, on grey images of 28 x 28 and ten classes.
    """

    name = "model-zoo-cnn"
    options = ModelZooCNNOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `ModelZooCNNOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            `nn.Sequential` from `(batch, channels, height, width)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are no images, or smaller than 20 x 20.
        """
        channels, height, width = need_images(self.name, data)
        if min(height, width) < _LEAST_SIDE:
            raise SpecificationError(
                f"the {self.name} takes images of at least {_LEAST_SIDE} x {_LEAST_SIDE} pixels, got "
                f"{height} x {width}; choose another architecture, or a dataset of larger images"
            )
        chosen = ModelZooCNNOptions.model_validate(options.model_dump())
        flat = 4 * chosen.width * _side(height) * _side(width)
        network = nn.Sequential(*_layers(chosen, channels, flat), nn.Linear(20 * chosen.width, data.classes))
        # `initialise` sees the module alone, and the class has to stay nn.Sequential to be trained fast
        network.__dict__["initialisation"] = chosen.initialisation
        return network

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights by the law that the options name; biases begin at 0.01.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        draw = _DRAWS[module.__dict__["initialisation"]]
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                draw(layer.weight, generator=generator)
                nn.init.constant_(layer.get_parameter("bias"), _FIRST_BIAS)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how channels and units can be permuted: those of each layer, independently of the others.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            A group for each hidden layer, by the layer's name.
        """
        return chain(module)


def _layers(options: ModelZooCNNOptions, channels: int, flat: int) -> list[nn.Module]:
    """List all layers but the last."""
    w, activation = options.width, _ACTIVATIONS[options.activation]

    def dropout() -> list[nn.Module]:
        return [nn.Dropout(options.dropout)] if options.dropout else []

    return [
        *(nn.Conv2d(channels, 8 * w, 5), nn.MaxPool2d(2), activation(), *dropout()),
        *(nn.Conv2d(8 * w, 6 * w, 5), nn.MaxPool2d(2), activation(), *dropout()),
        *(nn.Conv2d(6 * w, 4 * w, 2), activation()),
        *(nn.Flatten(), nn.Linear(flat, 20 * w), activation(), *dropout()),
    ]
