"""Logits of a whole stack of networks in one pass."""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.func import functional_call, vmap

from zoo.datasets import as_inputs
from zoo.spec import Layout
from zoo.training.attention import batched_attention
from zoo.training.layers import run_layers, stackable
from zoo.weights import unflatten


def stack_logits(
    module: nn.Module,
    layout: Layout,
    weights: Float[Tensor, "models params"],
    inputs: Num[Tensor, "models items ..."],
) -> Float[Tensor, "models items ..."]:
    """Run every network of a stack, differentiable with respect to the weights; no gradient reaches buffers.

    Args:
        module: Skeleton of the network; its own weights are not used.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`.
        inputs: `(n_models, n_items, ...)`, one batch for each network.

    Returns:
        Logits `(n_models, n_items, ..., n_classes)`.
    """

    def one(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(module, tensors, (x,))
        return logits

    cut = unflatten(weights, layout)
    tensors = {e.name: cut[e.name].detach() if e.kind == "buffer" else cut[e.name] for e in layout.entries}
    layers = stackable(module)
    if layers:
        return run_layers(layers, tensors, inputs)
    with batched_attention():
        return vmap(one)(tensors, inputs)


@torch.no_grad()
def evaluate_logits(
    module: nn.Module,
    layout: Layout,
    weights: Float[Tensor, "models params"],
    inputs: Num[Tensor, "items ..."],
) -> Float[Tensor, "models items ..."]:
    """Run every network of a stack in eval mode on the same inputs.

    Args:
        module: Skeleton of the network.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`.
        inputs: `(n_items, ...)`, shared; bytes are pixels.

    Returns:
        Logits `(n_models, n_items, ..., n_classes)`.
    """
    taken = as_inputs(inputs)
    return stack_logits(module.eval(), layout, weights, taken.expand(len(weights), *taken.shape))
