"""What landscape metrics look at: networks of one layout, and the items on which their loss is taken."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from zoo.datasets import Items
from zoo.errors import UndefinedMetricError
from zoo.metrics.base import Subject
from zoo.spec import Layout
from zoo.training import evaluate_logits, stack_logits, stream
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


def networks(subject: Subject) -> NetworkStack:
    """Give the networks of a subject.

    Args:
        subject: The subject.

    Returns:
        All of its rows, float32.
    """
    return NetworkStack(subject.skeleton(), subject.layout, torch.tensor(subject.weights))


def landscape_items(subject: Subject, side: Literal["train", "test"], count: int | None = None) -> Items:
    """Give the items on which a loss landscape is looked at: fixed, un-augmented, in the order of the data.

    Of `train` the items that the networks saw, under the labels that they were trained on: the landscape is
    that of what training minimised. Of `test` the items that they are judged on, under true labels.

    Args:
        subject: Networks that saw the same items and labels.
        side: Which side of the split.
        count: How many, drawn once and for all by the stream `landscape:<side>`; nothing for all.

    Returns:
        The items; inputs as the data has them.

    Raises:
        UndefinedMetricError: There are fewer than that.
    """
    items = _seen(subject) if side == "train" else subject.judged.test
    if count is None:
        return items
    if len(items) < count:
        raise UndefinedMetricError(f"the protocol looks at {count} {side} items, there are {len(items)}")
    drawn = torch.randperm(len(items), generator=stream(0, f"landscape:{side}"))[:count].sort().values
    return Items(items.x[drawn], items.y[drawn])


def _seen(subject: Subject) -> Items:
    spec, data = subject.dataset_specification, subject.dataset
    seen = data.training_items(spec)
    return Items(data.train.x[seen], data.training_labels(spec)[seen])
