"""Train a stack of networks together, each on its own data order and with its own hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from zoo.datasets import as_inputs
from zoo.errors import SpecificationError
from zoo.spec import Layout, TrainingSpecification
from zoo.training import optimizers
from zoo.training.adversarial import Attack, attack_keys, input_range
from zoo.training.augmentation import Augmentation, augment
from zoo.training.balance import learning_rate_factors
from zoo.training.graphs import GraphedStep
from zoo.training.hyperparameters import EpochTable, Hyperparameters
from zoo.training.network import StackNetwork
from zoo.training.objectives import Objective, cross_entropy
from zoo.training.step import Batch, Rule, take_step
from zoo.training.streams import stream, stream_key

_MAX_GATHERED_BYTES = 64 << 20
"""Inputs that may stand in memory batch by batch, beside the data themselves."""


@dataclass(frozen=True)
class StackData:
    """What a stack is trained on.

    Attributes:
        x: Items `(n_items, ...)`, shared by the networks; bytes are pixels.
        y: Targets `(n_models, n_items, ...)`: label noise differs from network to network.
        items: Which items each network sees `(n_models, n_used)`; nothing for all.
        augmentation: How images are changed each time, the same for all networks; or nothing.
    """

    x: Num[Tensor, "items ..."]
    y: Tensor
    items: Int[Tensor, "models used"] | None = None
    augmentation: Augmentation | None = None

    @property
    def used(self) -> int:
        """Number of items that each network sees in an epoch."""
        return len(self.x) if self.items is None else self.items.shape[1]

    def select(self, sources: Tensor) -> StackData:
        """Take some networks' data.

        Args:
            sources: Places of the networks; one may stand twice.

        Returns:
            Their data; the inputs are shared.
        """
        same = self.y.stride(0) == 0  # one row seen by all: it stays one row
        y = self.y[:1].expand(len(sources), *self.y.shape[1:]) if same else self.y[sources]
        return replace(self, y=y, items=None if self.items is None else self.items[sources])


class _Epoch(NamedTuple):
    """What the steps of an epoch need, for all networks.

    Attributes:
        order: Items in the order in which each network sees them `(n_models, n_used)`.
        table: Hyper-parameters of each step.
        keys: Keys of the random numbers inside of a step `(n_steps, n_layers, n_models)`.
        images: Key of each network's augmentation.
    """

    order: Int[Tensor, "models used"]
    table: EpochTable
    keys: Int[Tensor, "steps layers models"]
    images: Int[Tensor, " models"]


class Row(NamedTuple):
    """How one network of a stack is trained.

    Attributes:
        training: Its hyper-parameters.
        order_seed: Seed of its data order, of its dropout and of attacks on it.
    """

    training: TrainingSpecification
    order_seed: int


OnEpoch = Callable[[int, Float[Tensor, "models params"], Float[Tensor, " models"]], None]
"""Called after each epoch with its number, the weights, and the mean loss of its batches."""


class StackTrainer:
    """A stack of networks in training, one epoch at a time; between epochs rows may be dropped or doubled.

    Args:
        network: The networks.
        weights: `(n_models, n_params)`, where training begins; not changed.
        data: What to train on, on the device of the weights.
        rows: How each network is trained; batch size, optimiser, precision and the steps of attacks must be
            equal.
        objective: What training minimises.
        chunk: How many networks a step takes at once; nothing for all. One by one is the plain loop.
    """

    def __init__(
        self,
        network: StackNetwork,
        weights: Float[Tensor, "models params"],
        data: StackData,
        rows: Sequence[Row],
        *,
        objective: Objective = cross_entropy,
        chunk: int | None = None,
    ) -> None:
        self.network, self.data, self.rows, self.epoch = network, data, list(rows), 0
        self._objective, self._chunk = objective, chunk
        self.parameters, self.buffers = network.split(weights.detach())
        self._rule, self.batch_size = self._make_rule()
        self.slots = self._rule.first_slots(self.parameters)
        self._graphs: dict[tuple[int, torch.Size], GraphedStep] = {}
        self._probed: list[Tensor | None] = []

    def _make_rule(self) -> tuple[Rule, int]:
        name, precision, batch_size = shared_settings([row.training for row in self.rows])
        bounds = [row.training.gradient_clip for row in self.rows]
        clip = None
        if any(bound is not None for bound in bounds):
            clip = self.parameters.new_tensor([[bound or float("inf")] for bound in bounds])
        optimizer, attack = optimizers.get(name), self._make_attack()
        return Rule(self.network, self._objective, optimizer, precision, clip, attack), batch_size

    def _make_attack(self) -> Attack | None:
        steps = self.rows[0].training.adversarial_steps
        if steps is None:
            return None
        radii = self.parameters.new_tensor([[row.training.adversarial_epsilon] for row in self.rows])
        return Attack(steps, radii, *self._input_range)

    @cached_property
    def _input_range(self) -> tuple[Tensor, Tensor]:
        return input_range(self.data.x, self._objective)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return -(-self.data.used // self.batch_size)

    @property
    def weights(self) -> Float[Tensor, "models params"]:
        """Full weight vectors `(n_models, n_params)`, a copy."""
        return self.network.join(self.parameters, self.buffers)

    # between epochs

    def select(self, sources: Sequence[int], rows: Sequence[Row]) -> None:
        """Go on with some of the rows, or with one more than once: a finished network leaves, a trunk forks.

        Args:
            sources: Place of the row that each new row continues.
            rows: How each new row is trained.
        """
        picked = torch.tensor(sources, dtype=torch.int64, device=self.parameters.device)
        self.rows = list(rows)
        self.data = self.data.select(picked)
        self._rule, self.batch_size = self._make_rule()
        self.parameters = self.parameters[picked]
        self.buffers = {name: tensor[picked] for name, tensor in self.buffers.items()}
        self.slots = {name: tensor[picked] for name, tensor in self.slots.items()}
        self._graphs.clear()
        self._probed.clear()

    def state(self) -> dict[str, Tensor]:
        """Give everything that the next epoch depends on, beside the specification.

        Returns:
            `weights` and the slots of the optimiser, copies on the CPU, a row a network.
        """
        return {name: t.detach().cpu().clone() for name, t in {"weights": self.weights, **self.slots}.items()}

    def load(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Go on from a state that `state` gave.

        Args:
            state: The state.
            epoch: Epochs done.
        """
        like = self.parameters
        self.parameters, self.buffers = self.network.split(state["weights"].to(like))
        self.slots = {name: state[name].to(like, copy=True) for name in self.slots}
        self.epoch = epoch
        self._graphs.clear()  # they change the tensors that were there before
        self._probed.clear()

    # an epoch

    def run_epoch(self) -> Float[Tensor, " models"]:
        """Train every network for one epoch.

        Returns:
            The mean loss of each network's items, each before the step that it took part in.
        """
        self.epoch += 1
        seeds = [row.order_seed for row in self.rows]
        order = epoch_order(seeds, self.epoch, self.data.used)
        order = order.to(self.parameters.device, non_blocking=True)
        if self.data.items is not None:
            order = self.data.items.gather(1, order)
        prepared = self._prepare(self.epoch, order, self.steps_per_epoch)
        sums = [self._run_rows(rows, prepared, self._factors(rows)) for rows in self._chunks()]
        return torch.cat(sums) / self.data.used

    def _chunks(self) -> list[slice]:
        count = len(self.rows)
        size = self._chunk or count
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def _prepare(self, epoch: int, order: Int[Tensor, "models used"], steps: int) -> _Epoch:
        training = [row.training for row in self.rows]
        table = EpochTable(training, epoch, steps_per_epoch=self.steps_per_epoch, like=self.parameters)
        images = torch.tensor([stream_key(row.order_seed, "augmentation", epoch) for row in self.rows])
        return _Epoch(order, table, self._keys(epoch, steps), images.to(order.device))

    def run_steps(self, steps: int) -> None:
        """Take the first steps of an epoch, to see how long they take; further calls balance no rates anew.

        Args:
            steps: How many, at most an epoch's.
        """
        items = min(steps * self.batch_size, self.data.used)
        order = torch.arange(items, device=self.parameters.device).expand(len(self.rows), items)
        prepared = self._prepare(1, order, steps)
        self._probed = self._probed or self.factors()
        for rows, factors in zip(self._chunks(), self._probed, strict=True):
            self._run_rows(rows, prepared, factors)

    def factors(self) -> list[Float[Tensor, "some trained"] | None]:
        """Balance the learning rates of each chunk by the weights as they are; nothing where no row asks."""
        return [self._factors(rows) for rows in self._chunks()]

    def _factors(self, rows: slice) -> Float[Tensor, "some trained"] | None:
        training = [row.training for row in self.rows[rows]]
        if all(one.temp_balance == "none" for one in training):
            return None
        buffers = {name: tensor[rows] for name, tensor in self.buffers.items()}
        weights = self.network.join(self.parameters[rows], buffers)
        return learning_rate_factors(weights, self.network.layout, training)

    def _keys(self, epoch: int, steps: int) -> Int[Tensor, "steps layers models"]:
        seeds, device = [row.order_seed for row in self.rows], self.parameters.device
        keys = self.network.dropout_keys(seeds, epoch, steps=steps, device=device)
        if self._rule.attack is None:
            return keys
        return torch.cat([keys, attack_keys(seeds, epoch, steps=steps, device=device)], dim=1)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.parameters.device.type == "cuda":
            torch.cuda.synchronize(self.parameters.device)

    def _run_rows(self, rows: slice, epoch: _Epoch, factors: Tensor | None) -> Float[Tensor, " some"]:
        """Train some rows for one epoch; give the sum of their losses over the items."""
        total = torch.zeros_like(self.parameters[rows, 0])
        for step, (x, y) in enumerate(_batches(self.data, epoch.order[rows], rows, self.batch_size)):
            shown = as_inputs(self._augmented(x, epoch.images[rows], step))
            hyper = epoch.table.at(step, rows).balanced(factors)
            losses = self._step(rows, Batch(shown, y, epoch.keys[step, :, rows]), hyper)
            total += losses * x.shape[1]
        return total

    def _augmented(self, x: Num[Tensor, "models batch ..."], keys: Tensor, step: int) -> Tensor:
        if self.data.augmentation is None:
            return x
        places = torch.arange(x.shape[1], device=x.device) + step * self.batch_size
        return augment(x, keys, places, **self.data.augmentation._asdict())

    def _step(self, rows: slice, batch: Batch, hyper: Hyperparameters) -> Float[Tensor, " models"]:
        rule = self._rule.of_rows(rows)
        state = (
            {name: tensor[rows] for name, tensor in self.buffers.items()},
            {name: tensor[rows] for name, tensor in self.slots.items()},
        )
        parameters = self.parameters[rows]
        if parameters.device.type != "cuda":
            return take_step(rule, parameters, state, batch, hyper)
        inputs = (batch.x, batch.y, batch.keys, *(getattr(hyper, field.name) for field in fields(hyper)))
        key = (rows.start, batch.x.shape)
        if key not in self._graphs:

            def step(x: Tensor, y: Tensor, keys: Tensor, *values: Tensor) -> Tensor:
                return take_step(rule, parameters, state, Batch(x, y, keys), Hyperparameters(*values))

            changed = [parameters, *state[0].values(), *state[1].values()]
            self._graphs[key] = GraphedStep(step, inputs, changed)
        return self._graphs[key](*inputs)


def shared_settings(training: Sequence[TrainingSpecification]) -> tuple[str, str, int]:
    """Give what the networks of one stack have in common.

    Args:
        training: How each is trained.

    Returns:
        Optimiser, precision, batch size.

    Raises:
        SpecificationError: They differ in one of them, or in the steps of attacks.
    """
    kinds = {(t.optimizer, t.precision, t.batch_size) for t in training}
    if len(kinds) != 1:
        raise SpecificationError(
            "one stack has one optimiser, one precision and one batch size, got (optimizer, precision, "
            f"batch_size) {sorted(kinds)}; put them into stacks of their own"
        )
    steps = {t.adversarial_steps or 0 for t in training}
    if len(steps) != 1:
        raise SpecificationError(
            f"one stack takes as many steps in every attack, got adversarial_steps {sorted(steps)} (0 for no "
            "attack); put them into stacks of their own, or give the others adversarial_epsilon 0"
        )
    return kinds.pop()


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
    """Train every network of a stack from given weights, all for equally long.

    Args:
        module: Skeleton of the network.
        layout: Layout of the weights.
        weights: `(n_models, n_params)`, where training begins; not changed.
        data: What to train on.
        training: How, one for each network; optimiser, precision, batch size and epochs must be equal.
        order_seeds: Seed of each network's data order.
        on_epoch: Called after each epoch.

    Returns:
        The final weights `(n_models, n_params)`. A network whose loss left the numbers holds NaN; its
        neighbours never notice.

    Raises:
        SpecificationError: Optimisers, precisions, batch sizes or epochs differ within the stack.
    """
    epochs = {one.epochs for one in training}
    if len(epochs) != 1:
        raise SpecificationError(
            f"train_stack trains all networks equally long, got epochs {sorted(epochs)}; call it for each"
        )
    rows = [Row(one, seed) for one, seed in zip(training, order_seeds, strict=True)]
    trainer = StackTrainer(StackNetwork(module, layout), weights, data, rows)
    for epoch in range(1, epochs.pop() + 1):
        losses = trainer.run_epoch()
        if on_epoch is not None:
            on_epoch(epoch, trainer.weights, losses)
    return trainer.weights


def epoch_order(order_seeds: Sequence[int], epoch: int, items: int) -> Int[Tensor, "models items"]:
    """Draw the order in which each network sees the data in one epoch.

    Args:
        order_seeds: Seed of each network.
        epoch: The epoch, from 1.
        items: Number of items.

    Returns:
        A permutation of the items for each network, `(n_models, n_items)`.
    """
    orders = [torch.randperm(items, generator=stream(seed, "order", epoch)) for seed in order_seeds]
    return torch.stack(orders)


def _batches(
    data: StackData, order: Int[Tensor, "models used"], rows: slice, batch_size: int
) -> Iterator[tuple[Num[Tensor, "models batch ..."], Tensor]]:
    """Cut an epoch into batches, gathering as many at once as the memory allows: fewer, larger copies."""
    batch_bytes = order.shape[0] * batch_size * data.x[0].nbytes
    span = batch_size * max(1, _MAX_GATHERED_BYTES // batch_bytes)
    targets = data.y[rows]
    numbers = torch.arange(len(order), device=order.device).unsqueeze(1)
    for picked in torch.split(order, span, dim=1):
        x = data.x[picked]
        y = targets.gather(1, picked) if targets.ndim == 2 else targets[numbers, picked]
        yield from zip(torch.split(x, batch_size, dim=1), torch.split(y, batch_size, dim=1), strict=True)
