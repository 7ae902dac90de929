"""Networks of one layout, ready to be run side by side."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from zoo.spec import Layout
from zoo.training.forward import evaluate_logits, stack_logits
from zoo.weights import layout_of


@dataclass(frozen=True)
class NetworkStack:
    """Networks of one architecture, in eval mode.

    Attributes:
        module: Skeleton of the network; its own weights are not used.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`.
    """

    module: nn.Module
    layout: Layout
    weights: Float[Tensor, "models params"]

    @classmethod
    def of(cls, model: nn.Module) -> NetworkStack:
        """See one network as a stack of one.

        Args:
            model: The network; it is neither changed nor shared.

        Returns:
            The stack, in the floating-point type of the network.
        """
        layout, tensors = layout_of(model, "network"), model.state_dict()
        dtype = next(model.parameters()).dtype
        pieces = [tensors[entry.name].detach().flatten().to(dtype) for entry in layout.entries]
        return cls(copy.deepcopy(model), layout, torch.cat(pieces)[None])

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.weights)

    def select(self, rows: slice | list[int]) -> NetworkStack:
        """Take some of the networks.

        Args:
            rows: Which.

        Returns:
            Their stack.
        """
        return replace(self, weights=self.weights[rows])

    def logits(
        self, weights: Float[Tensor, "models params"], x: Num[Tensor, "items ..."]
    ) -> Float[Tensor, "models items ..."]:
        """Run networks of this kind in eval mode on shared items, differentiable in the weights.

        Args:
            weights: `(n, n_params)`, of any number of networks.
            x: `(n_items, ...)`, floating point or tokens.

        Returns:
            `(n, n_items, ..., n_classes)`.
        """
        return stack_logits(self.module.eval(), self.layout, weights, x.expand(len(weights), *x.shape))

    def evaluate(self, x: Num[Tensor, "items ..."]) -> Float[Tensor, "models items ..."]:
        """Run the networks in eval mode, without gradients.

        Args:
            x: `(n_items, ...)`; bytes are pixels.

        Returns:
            `(n_models, n_items, ..., n_classes)`.
        """
        return evaluate_logits(self.module, self.layout, self.weights, x)
