"""One optimiser step of a whole stack of networks: the step that everything here trains with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.spec import Layout
from zoo.training.forward import stack_logits


@dataclass(frozen=True)
class Hyperparameters:
    """What each network of a stack is trained with, one value a network.

    Attributes:
        learning_rate: Rate of this step `(n_models, 1)`.
        momentum: `(n_models, 1)`.
        weight_decay: `(n_models, 1)`.
    """

    learning_rate: Float[Tensor, "models 1"]
    momentum: Float[Tensor, "models 1"]
    weight_decay: Float[Tensor, "models 1"]


def gradients(
    module: nn.Module,
    layout: Layout,
    weights: Float[Tensor, "models params"],
    x: Float[Tensor, "models batch ..."],
    y: Int[Tensor, "models batch"],
) -> tuple[Float[Tensor, "models params"], Float[Tensor, " models"]]:
    """Differentiate each network's mean cross-entropy on its own batch.

    The networks share no number, so the gradient of the summed loss holds each network's own. Autograd
    around `vmap` is faster here than `vmap` around `torch.func.grad`: its backward pass runs on plain
    batched kernels.

    Args:
        module: Skeleton of the network.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`.
        x: `(n_models, batch, ...)`, one batch for each network.
        y: `(n_models, batch)`, their classes.

    Returns:
        Gradients `(n_models, n_params)` and losses `(n_models,)` in nats.
    """
    leaf = weights.detach().requires_grad_()
    logits = stack_logits(module, layout, leaf, x)
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    losses = losses.view(y.shape).mean(dim=1)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return gradient, losses.detach()


def sgd_step(
    weights: Float[Tensor, "models params"],
    velocity: Float[Tensor, "models params"],
    gradient: Float[Tensor, "models params"],
    hyper: Hyperparameters,
) -> None:
    """Update weights and velocity in place, as `torch.optim.SGD` with momentum and weight decay does.

    Args:
        weights: `(n_models, n_params)`, changed.
        velocity: `(n_models, n_params)`, zero before the first step, changed.
        gradient: `(n_models, n_params)`.
        hyper: One value a network.
    """
    velocity.mul_(hyper.momentum).add_(gradient).addcmul_(weights, hyper.weight_decay)
    weights.addcmul_(velocity, hyper.learning_rate, value=-1)
