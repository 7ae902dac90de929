"""One checkpoint as a weight-space model sees it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from zoo.spec import Layout
from zoo.weights.vectors import unflatten


@dataclass(frozen=True)
class WeightSample:
    """A weight vector and the layout that gives it meaning; nothing that would tell a model's score.

    Attributes:
        checkpoint_id: The checkpoint.
        layout: Layout of the vector.
        vector: `(n_params,)` float32.
    """

    checkpoint_id: str
    layout: Layout
    vector: Float[Tensor, " params"]

    def tensors(self) -> dict[str, Tensor]:
        """Cut the vector into named tensors.

        Returns:
            Tensor by name, in the layout's order; views of the vector.
        """
        return unflatten(self.vector, self.layout)
