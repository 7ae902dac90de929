"""Logits of a whole stack of networks in one pass."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from zoo.spec import Layout
from zoo.weights import unflatten


def stack_logits(
    module: nn.Module,
    layout: Layout,
    weights: Float[Tensor, "models params"],
    inputs: Float[Tensor, "models items ..."],
) -> Float[Tensor, "models items classes"]:
    """Run every network of a stack, differentiable with respect to the weights.

    Args:
        module: Skeleton of the network; its own weights are not used.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`.
        inputs: `(n_models, n_items, ...)`, one batch for each network.

    Returns:
        Logits `(n_models, n_items, n_classes)`.
    """

    def one(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(module, tensors, (x,))
        return logits

    tensors = unflatten(weights, layout)
    if _is_perceptron(module):
        return _perceptron_logits(module, tensors, inputs)
    return vmap(one)(tensors, inputs)


# Layers that treat every number alike, so that a leading dimension of models means nothing to them.
_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.GELU)


def _is_perceptron(module: nn.Module) -> bool:
    if type(module) is not nn.Sequential:
        return False
    return all(
        type(layer) in _ELEMENTWISE or (type(layer) is nn.Linear and layer.bias is not None)
        for layer in module
    )


def _perceptron_logits(
    module: nn.Module, tensors: dict[str, Tensor], inputs: Float[Tensor, "models items features"]
) -> Float[Tensor, "models items classes"]:
    """Run perceptrons by one batched product a layer, as `vmap` does by several calls."""
    # Narrow layers spend their time on dispatch, not on arithmetic: this halves the time of their step.
    hidden = inputs
    for name, layer in module.named_children():
        if type(layer) is nn.Linear:
            weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            hidden = torch.baddbmm(bias.unsqueeze(1), hidden, weight.mT)
        else:
            hidden = layer(hidden)
    return hidden


@torch.no_grad()
def evaluate_logits(
    module: nn.Module,
    layout: Layout,
    weights: Float[Tensor, "models params"],
    inputs: Float[Tensor, "items ..."],
) -> Float[Tensor, "models items classes"]:
    """Run every network of a stack in eval mode on the same inputs.

    Args:
        module: Skeleton of the network.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`.
        inputs: `(n_items, ...)`, shared.

    Returns:
        Logits `(n_models, n_items, n_classes)`.
    """
    return stack_logits(module.eval(), layout, weights, inputs.expand(len(weights), *inputs.shape))
