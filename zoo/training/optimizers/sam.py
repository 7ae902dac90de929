"""Sharpness-aware minimisation (Foret et al. 2021, algorithm 1, p = 2) around SGD with momentum."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.training.hyperparameters import Hyperparameters
from zoo.training.optimizers.base import Gradient, Optimizer
from zoo.training.optimizers.sgd import SGD

_TINY = 1e-12
"""Keeps a gradient of zero from dividing by zero."""


class SAM(Optimizer):
    """Climb by the radius along the gradient, take the gradient there, step as SGD from where one stood.

    The radius is a temperature that no other hyper-parameter is: it sets how sharp a minimum may be.
    """

    name = "sam"
    slots = SGD.slots
    gradients_per_step = 2

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
            gradient: Asked twice, on the same batch.
            hyper: One value a network.
        """
        uphill = gradient(weights)
        length = torch.linalg.vector_norm(uphill, dim=1, keepdim=True)
        above = weights + uphill * (hyper.sam_radius / (length + _TINY))
        SGD().step(weights, slots, lambda _weights: gradient(above), hyper)
