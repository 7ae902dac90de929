"""One network three times, each within the one before: fully connected, locally connected, convolutional."""

from __future__ import annotations

import itertools
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
from zoo.architectures.symmetries import Symmetry, chain
from zoo.errors import FormatError
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
        self.above, self.out_channels = _above(below, width), width
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
        return (products + self.bias.view(width, -1)).view(-1, width, height, breadth)


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
        """
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

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how hidden units can be permuted: those of each layer, independently of the others.

        Units of the full twin are permuted one by one, those of the others by whole channels. The local twin
        would allow another order of the channels at each position.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            A group for each hidden layer, by the layer's name.
        """
        return chain(module)


# from one twin to the next


def local_from_convolutional(tensors: Mapping[str, Tensor], data: DataShape) -> dict[str, Tensor]:
    """Write a convolutional network as a locally connected one: every position gets the shared kernel.

    Args:
        tensors: State dict of a convolutional twin.
        data: Shape of its inputs.

    Returns:
        State dict of the local twin that computes the same function.

    Raises:
        SpecificationError: The inputs are no images.
        FormatError: The state dict is none of a convolutional twin for these inputs.
    """
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, _, above in _hidden(tensors, data, "convolutional"):
        positions = math.prod(above[1:])
        kernels = tensors[f"{name}.weight"].flatten(1)
        found[f"{name}.weight"] = kernels.repeat_interleave(positions, dim=0)
        found[f"{name}.bias"] = tensors[f"{name}.bias"].repeat_interleave(positions)
    return found


def full_from_local(tensors: Mapping[str, Tensor], data: DataShape) -> dict[str, Tensor]:
    """Write a locally connected network as a fully connected one: weights between units out of sight are 0.

    Args:
        tensors: State dict of a local twin.
        data: Shape of its inputs.

    Returns:
        State dict of the full twin that computes the same function.

    Raises:
        SpecificationError: The inputs are no images.
        FormatError: The state dict is none of a local twin for these inputs.
    """
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, below, above in _hidden(tensors, data, "local"):
        weight, units = tensors[f"{name}.weight"], math.prod(below)
        # the number of each unit that is seen, from 1: what lies beyond the border is 0
        numbers = torch.arange(1.0, units + 1, dtype=torch.float64, device=weight.device)
        seen = _unfold(numbers.view(1, *below))[0].T.long().repeat(above[0], 1)
        found[f"{name}.weight"] = weight.new_zeros(len(weight), units + 1).scatter(1, seen, weight)[:, 1:]
    return found


def _hidden(
    tensors: Mapping[str, Tensor], data: DataShape, connection: str
) -> Iterator[tuple[str, ImageShape, ImageShape]]:
    """Walk over the hidden layers: name, shape below, shape above."""
    below = need_images(Twins.name, data)
    for number in itertools.count(1):
        weight = tensors.get(f"layer{number}.weight")
        if weight is None and number > 1:
            return
        sight = (below[0], _KERNEL, _KERNEL) if connection == "convolutional" else (_KERNEL**2 * below[0],)
        if weight is None or weight.shape[1:] != sight:
            raise FormatError(
                f"layer{number}.weight of a {connection} twin has the shape (..., "
                f"{', '.join(map(str, sight))}), got {None if weight is None else tuple(weight.shape)}; give "
                "the state dict of such a twin, and the shape of its inputs"
            )
        width = len(weight) if len(sight) > 1 else len(weight) // math.prod(_above(below, 1))
        above = _above(below, width)
        yield f"layer{number}", below, above
        below = above
