"""What training minimises: one loss for each network, from whatever its network and its batch are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, Num
from torch import Tensor, nn


@runtime_checkable
class Network(Protocol):
    """The networks of a stack with the weights of this step, each for its own batch."""

    def __call__(self, x: Num[Tensor, "models batch ..."]) -> Float[Tensor, "models batch ..."]:
        """Run them."""
        ...

    def along(
        self, x: Float[Tensor, "models items features"], directions: Float[Tensor, "models some features"]
    ) -> tuple[Float[Tensor, "models items outputs"], Float[Tensor, "models some outputs"]]:
        """Run them, and differentiate the first items along directions of the inputs."""
        ...


Objective = Callable[[Network, Tensor, Tensor], Float[Tensor, " models"]]
"""From the networks, their inputs and their targets `(n_models, batch, ...)` to a loss each."""


def cross_entropy(
    network: Network, x: Num[Tensor, "models batch ..."], y: Int[Tensor, "models batch ..."]
) -> Float[Tensor, " models"]:
    """Average the cross-entropy of each network's batch.

    Args:
        network: Gives logits `(n_models, batch, ..., n_classes)`.
        x: Inputs.
        y: Classes `(n_models, batch, ...)`, one an item or one at each place of it.

    Returns:
        `(n_models,)` in nats, at least 0, lower is better.
    """
    logits = network(x)
    logits = (
        logits.float() if logits.dtype.itemsize < 4 else logits
    )  # half precision is for the network alone
    losses = nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none")
    return losses.view(len(y), -1).mean(dim=1)
