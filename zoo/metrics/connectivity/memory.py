"""How many pairs, and how many items, to look at together."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Num
from torch import Tensor, nn

from zoo.datasets import as_inputs
from zoo.spec import Layout

MAX_BYTES = 32 << 20
"""What the activations of one pass may take; more would leave the processor's caches, not gain speed."""
_COPIES = 8
"""Vectors of weights that a pair needs: ends, bend, velocity, point, gradient, and two in between."""


class Footprint(NamedTuple):
    """What one network writes for one item.

    Attributes:
        total: Numbers in the outputs of all its layers: what training keeps for the backward pass.
        widest: Numbers in the largest of them.
    """

    total: int
    widest: int


def footprint(module: nn.Module, x: Num[Tensor, "items ..."]) -> Footprint:
    """Count what a network writes for one item, by running it once.

    Args:
        module: The network.
        x: At least one item; bytes are pixels.

    Returns:
        The counts.
    """
    counts = [as_inputs(x[:1]).numel()]

    def count(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        counts.append(output.numel() if isinstance(output, Tensor) else 0)

    leaves = [layer for layer in module.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(count) for layer in leaves]
    try:
        with torch.no_grad():
            module.eval()(as_inputs(x[:1]))
    finally:
        for hook in hooks:
            hook.remove()
    return Footprint(sum(counts), max(counts))


def pairs_at_once(layout: Layout, numbers: int) -> int:
    """Say how many pairs may stand in memory together.

    Args:
        layout: Layout of their networks.
        numbers: What each pair's activations take.

    Returns:
        At least 1.
    """
    return max(1, MAX_BYTES // (4 * (_COPIES * layout.size + numbers)))


def items_at_once(networks: int, widest: int) -> int:
    """Say how many items some networks may see in one pass.

    Args:
        networks: How many networks.
        widest: Numbers in the largest activation of one network for one item.

    Returns:
        At least 1.
    """
    return max(1, MAX_BYTES // (4 * networks * widest))
