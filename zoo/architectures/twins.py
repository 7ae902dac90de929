"""One network three times: fully connected, locally connected and convolutional, each within the one before."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import ACTIVATIONS, Activation, draw_layers
from zoo.architectures.shapes import need_images
from zoo.spec import DataShape

_KERNEL, _STRIDE, _PADDING = 3, 2, 1

ImageShape = tuple[int, int, int]
"""Channels, height and width."""


class TwinsOptions(ArchitectureOptions):
    """Options of the twins.

    Attributes:
        connection: What a hidden unit sees: `full`, all units below; `local`, 3 x 3 positions of them, with
            weights of its own; `convolutional`, the same with weights that all positions share.
        width: Channels of each hidden layer.
        depth: Hidden layers; each halves height and width, rounded up.
        activation: Non-linearity after each of them.
    """

    connection: Literal["full", "local", "convolutional"] = "convolutional"
    width: int = Field(default=8, ge=1, le=4096)
    depth: int = Field(default=2, ge=1, le=8)
    activation: Activation = "relu"


def _above(shape: ImageShape, width: int) -> ImageShape:
    """Give the shape of a hidden layer from that of the layer below."""
    _, height, breadth = shape
    return width, -(-height // _STRIDE), -(-breadth // _STRIDE)


def _unfold(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch seen positions"]:
    """List what each position sees, in the order of a flattened kernel; zeros beyond the border."""
    return functional.unfold(images, _KERNEL, padding=_PADDING, stride=_STRIDE)


class LocallyConnected(nn.Module):
    """A 3 x 3 convolution of stride 2 and padding 1 whose every position has a kernel of its own.

    `weight` is a matrix `(units, 9 * channels)` and `bias` a vector `(units,)`, as those of a linear layer;
    units count channel first, then row, then column. Weights that meet the padding never matter.

    Args:
        below: Shape of its inputs.
        width: Channels of its outputs.
    """

    def __init__(self, below: ImageShape, width: int) -> None:
        super().__init__()
        self.above = _above(below, width)
        units = math.prod(self.above)
        self.weight = nn.Parameter(torch.empty(units, _KERNEL**2 * below[0]))
        self.bias = nn.Parameter(torch.empty(units))

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch more low narrow"]:
        """Apply to every position its own kernel.

        Args:
            x: Images.

        Returns:
            `(batch, width, ceil(height / 2), ceil(width / 2))`.
        """
        width, height, breadth = self.above
        kernels = self.weight.view(width, height * breadth, -1)
        products = torch.einsum("wps,bsp->bwp", kernels, _unfold(x))
        outputs: Tensor = (products + self.bias.view(width, -1)).unflatten(-1, (height, breadth))
        return outputs


def _layer(connection: str, below: ImageShape, width: int) -> nn.Module:
    if connection == "full":
        return nn.Linear(math.prod(below), math.prod(_above(below, width)))
    if connection == "local":
        return LocallyConnected(below, width)
    return nn.Conv2d(below[0], width, _KERNEL, stride=_STRIDE, padding=_PADDING)


class Twins(Architecture):
    """A convolutional network and its twins with fewer constraints (d'Ascoli et al. 2019, arXiv 1906.06766).

    Hidden layer l has w channels of P_l positions, `P_l = ceil(height / 2^l) * ceil(width / 2^l)`, in every
    twin, and a linear layer gives the logits; so whatever the convolutional twin computes, the local one can
    (`local_from_convolutional`), and the full one what the local one can (`full_from_local`). Layers have
    the same names in all of them: `layer1`, `layer2`, ..., `head`.

    Parameters, for k_l channels below layer l (the input's, then w) and c classes; `c (w P_depth + 1)` of
    the last layer and the sum over hidden layers of

    | connection | parameters of hidden layer l |
    |---|---|
    | `convolutional` | `w (9 k_l + 1)` |
    | `local` | `w P_l (9 k_l + 1)` |
    | `full` | `w P_l (k_l P_(l-1) + 1)` |
    """

    name = "twins"
    options = TwinsOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `TwinsOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            `nn.Sequential` from `(batch, channels, height, width)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are no images.
        """  # noqa: DOC502 - need_images raises it
        below = need_images(self.name, data)
        chosen = TwinsOptions.model_validate(options.model_dump())
        hidden: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, chosen.depth + 1):
            hidden[f"layer{number}"] = _layer(chosen.connection, below, chosen.width)
            hidden[f"activation{number}"] = ACTIVATIONS[chosen.activation]()
            below = _above(below, chosen.width)
        hidden["flatten"] = nn.Flatten()
        if chosen.connection == "full":
            hidden.move_to_end("flatten", last=False)
        hidden["head"] = nn.Linear(math.prod(below), data.classes)
        return nn.Sequential(hidden)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights from `U(-1/sqrt(n), 1/sqrt(n))` for units that see n others.

        That is 9 times the channels for local and convolutional layers, padding included, and all units
        below for full ones.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        draw_layers(module, generator)
        for layer in module.modules():
            if isinstance(layer, LocallyConnected):
                bound = 1 / math.sqrt(layer.weight.shape[1])
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


# from one twin to the next


def _hidden(tensors: Mapping[str, Tensor], data: DataShape) -> Iterator[tuple[str, ImageShape, ImageShape]]:
    """Walk over the hidden layers of a network that is not full: name, shape below, shape above."""
    below, number = need_images(Twins.name, data), 1
    while f"layer{number}.weight" in tensors:
        name = f"layer{number}"
        channels = below[0]
        tensor = tensors[f"{name}.weight"]
        positions = math.prod(_above(below, 1))
        width = len(tensor) if tensor.ndim == 4 else len(tensor) // positions
        above = _above(below, width)
        yield name, (channels, *below[1:]), above
        below, number = above, number + 1
