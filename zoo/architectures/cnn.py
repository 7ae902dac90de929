"""Small convolutional network of Unterthiner et al. 2020 (arXiv 2002.11448): the one of the Small CNN Zoo."""

from __future__ import annotations

from pydantic import Field
from torch import Generator, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import ACTIVATIONS, Activation, draw_layers
from zoo.architectures.shapes import need_images
from zoo.architectures.symmetries import Symmetry, chain
from zoo.spec import DataShape


class CNNOptions(ArchitectureOptions):
    """Options of the small CNN.

    Attributes:
        width: Channels of each convolution.
        depth: Convolutions.
        activation: Non-linearity after each of them.
    """

    width: int = Field(default=16, ge=1, le=4096)
    depth: int = Field(default=3, ge=1, le=8)
    activation: Activation = "relu"


class CNN(Architecture):
    """3 x 3 convolutions of stride 2 and padding 1, global average, one linear layer.

    Parameters: `w(9 c_in + 1) + (depth - 1) w(9 w + 1) + c(w + 1)` for c_in input channels, width w and c
        classes:
    4,970 at the defaults, on grey images of ten classes.
    """

    name = "cnn"
    options = CNNOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `CNNOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            `nn.Sequential` from `(batch, channels, height, width)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are no images.
        """
        channels, _, _ = need_images("cnn", data)
        chosen = CNNOptions.model_validate(options.model_dump())
        layers: list[nn.Module] = []
        for _ in range(chosen.depth):
            layers += [
                nn.Conv2d(channels, chosen.width, 3, stride=2, padding=1),
                ACTIVATIONS[chosen.activation](),
            ]
            channels = chosen.width
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, data.classes)
        )

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights as torch's layers do by default.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        draw_layers(module, generator)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how channels can be permuted: those of each layer, independently of the others.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            A group for each hidden layer, by the layer's name.
        """
        return chain(module)
