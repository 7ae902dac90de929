"""Train a stack of networks together, each on its own data order and with its own hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import SpecificationError
from zoo.spec import Layout, TrainingSpecification
from zoo.training.schedules import factor
from zoo.training.step import Hyperparameters, gradients, sgd_step
from zoo.training.streams import stream

_MAX_GATHERED_BYTES = 64 << 20
"""Inputs that may stand in memory batch by batch, beside the data themselves."""


@dataclass(frozen=True)
class StackData:
    """What a stack is trained on.

    Attributes:
        x: Inputs `(n_items, ...)`, shared by the networks.
        y: Classes `(n_models, n_items)`: label noise differs from network to network.
    """

    x: Float[Tensor, "items ..."]
    y: Int[Tensor, "models items"]


OnEpoch = Callable[[int, Float[Tensor, "models params"], Float[Tensor, " models"]], None]
"""Called after each epoch with its number, the weights, and the mean loss in nats of its batches."""


def train_stack(
    module: nn.Module,
    layout: Layout,
    weights: Float[Tensor, "models params"],
    data: StackData,
    *,
    training: Sequence[TrainingSpecification],
    order_seeds: Sequence[int],
    on_epoch: OnEpoch | None = None,
) -> Float[Tensor, "models params"]:
    """Train every network of a stack from given weights.

    Args:
        module: Skeleton of the network.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`, where training begins; not changed.
        data: What to train on.
        training: How, one for each network; batch size and epochs must be equal.
        order_seeds: Seed of each network's data order.
        on_epoch: Called after each epoch.

    Returns:
        The final weights `(n_models, n_params)`. A network whose loss left the numbers holds NaN; its
        neighbours never notice.

    Raises:
        SpecificationError: Batch sizes or epochs differ within the stack.
    """
    batch_size, epochs = _shared(training)
    items = len(data.x)
    steps_per_epoch = -(-items // batch_size)
    weights = weights.detach().clone()
    velocity = torch.zeros_like(weights)
    schedule = _Schedule(training, steps=epochs * steps_per_epoch, like=weights)
    module.train()
    for epoch in range(1, epochs + 1):
        order = epoch_order(order_seeds, epoch, items).to(weights.device)
        hypers = schedule.steps((epoch - 1) * steps_per_epoch, steps_per_epoch)
        total = torch.zeros(len(weights), device=weights.device)
        for (x, y), hyper in zip(_batches(data, order, batch_size), hypers, strict=True):
            gradient, losses = gradients(module, layout, weights, x, y)
            sgd_step(weights, velocity, gradient, hyper)
            total += losses * y.shape[1]
        if on_epoch is not None:
            on_epoch(epoch, weights, total / items)
    return weights


def epoch_order(order_seeds: Sequence[int], epoch: int, items: int) -> Int[Tensor, "models items"]:
    """Draw the order in which each network sees the data in one epoch.

    Args:
        order_seeds: Seed of each network.
        epoch: The epoch, from 1.
        items: Number of items.

    Returns:
        A permutation of the items for each network, `(n_models, n_items)`.
    """
    return torch.stack(
        [torch.randperm(items, generator=stream(seed, "order", epoch)) for seed in order_seeds]
    )


def _batches(
    data: StackData, order: Int[Tensor, "models items"], batch_size: int
) -> Iterator[tuple[Float[Tensor, "models batch ..."], Int[Tensor, "models batch"]]]:
    """Cut an epoch into batches, gathering as many at once as the memory allows: fewer, larger copies."""
    batch_bytes = order.shape[0] * batch_size * data.x[0].nbytes
    span = batch_size * max(1, _MAX_GATHERED_BYTES // batch_bytes)
    for picked in torch.split(order, span, dim=1):
        x, y = data.x[picked], data.y.gather(1, picked)
        yield from zip(torch.split(x, batch_size, dim=1), torch.split(y, batch_size, dim=1), strict=True)


def _shared(training: Sequence[TrainingSpecification]) -> tuple[int, int]:
    kinds = {(t.batch_size, t.epochs) for t in training}
    if len(kinds) != 1:
        raise SpecificationError(
            "one stack has one batch size and one number of epochs, got (batch_size, epochs) "
            f"{sorted(kinds)}; put them into stacks of their own"
        )
    return kinds.pop()


class _Schedule:
    """The hyper-parameters of every step, as columns that broadcast over the weights."""

    def __init__(self, training: Sequence[TrainingSpecification], *, steps: int, like: Tensor) -> None:
        self._names = sorted({t.schedule for t in training})
        self._places = [self._names.index(t.schedule) for t in training]
        self._total = steps
        self._peak = like.new_tensor([[t.learning_rate] for t in training])
        self._momentum = like.new_tensor([[t.momentum] for t in training])
        self._decay = like.new_tensor([[t.weight_decay] for t in training])

    def steps(self, first: int, count: int) -> Iterator[Hyperparameters]:
        taken = range(first, first + count)
        factors = [[factor(name, step, self._total) for name in self._names] for step in taken]
        scales = self._peak.new_tensor(factors)[:, self._places]
        for rate in self._peak * scales.unsqueeze(-1):
            yield Hyperparameters(rate, self._momentum, self._decay)
