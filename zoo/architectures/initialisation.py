"""What architectures have in common: activations by name, and initial weights drawn from one generator."""

from __future__ import annotations

import math
from typing import Literal

from torch import Generator, nn

Activation = Literal["relu", "tanh", "gelu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def draw_layers(module: nn.Module, generator: Generator) -> None:
    """Draw every layer as torch does by default, but from a generator of its own.

    Weights and biases of linear layers and convolutions come from `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`;
    normalisations begin at gain 1, shift 0 and fresh statistics.

    Args:
        module: The network; changed in place, layers in the order of `modules()`.
        generator: Source of all randomness.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, NORMS):
            layer.reset_parameters()
