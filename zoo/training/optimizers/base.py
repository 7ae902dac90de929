"""What every optimiser provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from zoo.training.hyperparameters import Hyperparameters

Gradient = Callable[[Float[Tensor, "models params"]], Float[Tensor, "models params"]]
"""From weights to the gradient of each network's loss on the batch of this step, clipped where asked for."""


class Optimizer(ABC):
    """One update rule, on flat weights, one network a row; it holds no state of its own.

    Attributes:
        name: The name, as recipes spell it.
        slots: Names of the tensors that it keeps between steps, each of the weights' shape, zero at first.
        gradients_per_step: How often a step asks for a gradient.
    """

    name: ClassVar[str]
    slots: ClassVar[tuple[str, ...]]
    gradients_per_step: ClassVar[int] = 1

    @abstractmethod
    def step(
        self,
        weights: Float[Tensor, "models params"],
        slots: dict[str, Float[Tensor, "models params"]],
        gradient: Gradient,
        hyper: Hyperparameters,
    ) -> None:
        """Update weights and slots in place, with operations that treat each row by itself."""
