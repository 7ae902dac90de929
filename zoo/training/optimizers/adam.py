"""Adam (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019), as torch defines them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.training.hyperparameters import Hyperparameters
from zoo.training.optimizers.base import Gradient, Optimizer


class Adam(Optimizer):
    """Adam; weight decay is added to the gradient."""

    name = "adam"
    slots = ("mean", "square")

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
            slots: `mean` and `square` of the gradients, changed.
            gradient: Asked once.
            hyper: One value a network.
        """
        decayed = gradient(weights).addcmul(weights, hyper.weight_decay)
        move(weights, slots, decayed, hyper)


class AdamW(Optimizer):
    """Adam whose weight decay does not pass through the means: `w <- w (1 - r d)` first."""

    name = "adamw"
    slots = ("mean", "square")

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
            slots: `mean` and `square` of the gradients, changed.
            gradient: Asked once.
            hyper: One value a network.
        """
        found = gradient(weights)
        weights.mul_(1 - hyper.learning_rate * hyper.weight_decay)
        move(weights, slots, found, hyper)


def move(
    weights: Float[Tensor, "models params"],
    slots: dict[str, Float[Tensor, "models params"]],
    gradient: Float[Tensor, "models params"],
    hyper: Hyperparameters,
) -> None:
    """Take Adam's step: `w <- w - r (mean / c1) / (sqrt(square) / sqrt(c2) + epsilon)`.

    Args:
        weights: `(n_models, n_params)`, changed.
        slots: `mean` and `square`, changed.
        gradient: `(n_models, n_params)`.
        hyper: One value a network; `momentum` is beta1.
    """
    mean = slots["mean"].lerp_(gradient, hyper.fresh1)
    square = slots["square"].mul_(hyper.beta2).addcmul_(gradient, gradient * hyper.fresh2)
    root = square.sqrt().div_(hyper.correction2.sqrt()).add_(hyper.epsilon)
    weights.sub_((mean / root).mul_(hyper.learning_rate / hyper.correction1))
