"""Stochastic gradient descent with momentum, plain and Nesterov's, as `torch.optim.SGD` defines both."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.training.hyperparameters import Hyperparameters
from zoo.training.optimizers.base import Gradient, Optimizer


class SGD(Optimizer):
    """`v <- m v + g + d w`, `w <- w - r v` for momentum m, weight decay d and rate r."""

    name = "sgd"
    slots = ("velocity",)

    def step(
        self,
        weights: Float[Tensor, "models params"],
        slots: dict[str, Float[Tensor, "models params"]],
        gradient: Gradient,
        hyper: Hyperparameters,
    ) -> None:
        """Update in place.

        Args:
            weights: `(n_models, n_params)`, changed.
            slots: `velocity`, changed.
            gradient: Asked once.
            hyper: One value a network.
        """
        velocity = slots["velocity"]
        velocity.mul_(hyper.momentum).add_(gradient(weights)).addcmul_(weights, hyper.weight_decay)
        weights.addcmul_(velocity, hyper.learning_rate, value=-1)


class Nesterov(Optimizer):
    """`u = g + d w`, `v <- m v + u`, `w <- w - r (u + m v)`."""

    name = "nesterov"
    slots = ("velocity",)

    def step(
        self,
        weights: Float[Tensor, "models params"],
        slots: dict[str, Float[Tensor, "models params"]],
        gradient: Gradient,
        hyper: Hyperparameters,
    ) -> None:
        """Update in place.

        Args:
            weights: `(n_models, n_params)`, changed.
            slots: `velocity`, changed.
            gradient: Asked once.
            hyper: One value a network.
        """
        decayed = gradient(weights).addcmul(weights, hyper.weight_decay)
        velocity = slots["velocity"].mul_(hyper.momentum).add_(decayed)
        weights.addcmul_(decayed.addcmul_(velocity, hyper.momentum), hyper.learning_rate, value=-1)
