"""Both ways of training a family: a stack, and single models with the modules and optimisers of torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.families import Family
from zoo import architectures
from zoo.spec import TrainingSpecification
from zoo.training import Row, StackData, StackNetwork, StackTrainer, epoch_order, stream
from zoo.weights import flatten


@dataclass(frozen=True)
class Setting:
    """Where and for how long.

    Attributes:
        epochs: Epochs that the schedule covers.
        dtype: Precision of all arithmetic.
        device: Torch device.
    """

    epochs: int = 1000
    dtype: torch.dtype = torch.float32
    device: str = "cpu"


def _begin(family: Family, model: int) -> nn.Module:
    module = architectures.build(family.architecture, family.shape)
    architectures.initialise(family.architecture, module, stream(model, "init"))
    return module


def _to(tensor: Tensor, setting: Setting) -> Tensor:
    return tensor.to(setting.device, setting.dtype if tensor.is_floating_point() else None)


def initial_weights(family: Family, models: Sequence[int]) -> Tensor:
    """Draw the weights at which models begin.

    Args:
        family: The family.
        models: Their numbers.

    Returns:
        `(n_models, n_params)`.
    """
    layout = architectures.layout(family.architecture, family.shape)
    return torch.stack([flatten(_begin(family, model).state_dict(), layout) for model in models])


def stack_trainer(
    family: Family,
    models: Sequence[int],
    *,
    setting: Setting,
    chunk: int | None = None,
    weights: Tensor | None = None,
) -> StackTrainer:
    """Set models up to train in a stack.

    Args:
        family: The family.
        models: Their numbers, which decide weights, data order and learning rate.
        setting: Where and for how long.
        chunk: How many a step takes at once.
        weights: Where they begin, if it has been drawn already.

    Returns:
        What trains them, from the beginning.
    """
    layout = architectures.layout(family.architecture, family.shape)
    start = initial_weights(family, models) if weights is None else weights
    targets = torch.stack([family.data(model)[1] for model in models])
    longer = [family.trained(model).model_copy(update={"epochs": setting.epochs}) for model in models]
    module = architectures.build(family.architecture, family.shape).to(setting.device)
    return StackTrainer(
        StackNetwork(module, layout),
        _to(start, setting),
        StackData(_to(family.data(0)[0], setting), _to(targets, setting)),
        [Row(training, model) for training, model in zip(longer, models, strict=True)],
        objective=family.objective,
        chunk=chunk,
    )


class PlainModel:
    """One model, trained as anyone would: a module, an optimiser and a schedule of torch.

    Args:
        family: The family.
        model: Its number.
        setting: Where and for how long.
    """

    def __init__(self, family: Family, model: int, setting: Setting) -> None:
        self._family, self._model, self._epoch, self._device = family, model, 0, setting.device
        self._batch_size = family.training.batch_size
        self.module = _begin(family, model).to(setting.device, setting.dtype)
        self._x, self._y = (_to(tensor, setting) for tensor in family.data(model))
        self._optimizer = _torch_optimizer(family.trained(model), self.module)
        total = setting.epochs * family.steps_per_epoch
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: (1 + math.cos(math.pi * step / total)) / 2
        )

    def run_epoch(self) -> None:
        """Train for an epoch."""
        self._epoch += 1
        order = epoch_order([self._model], self._epoch, len(self._x))[0].to(self._device)
        for picked in order.split(self._batch_size):
            self._optimizer.zero_grad()
            self._family.loss(self.module, self._x[picked], self._y[picked]).backward()
            self._optimizer.step()
            self._schedule.step()


def _torch_optimizer(training: TrainingSpecification, module: nn.Module) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), lr=rate, weight_decay=decay)
    return torch.optim.SGD(module.parameters(), lr=rate, momentum=training.momentum, weight_decay=decay)


def differences(
    family: Family,
    models: Sequence[int],
    *,
    epochs: int,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    chunk: int | None = None,
) -> list[float]:
    """Train models both ways on one thread, and compare their final weights.

    Args:
        family: The family.
        models: Their numbers.
        epochs: Epochs.
        dtype: Precision of all arithmetic.
        device: Torch device.
        chunk: How many a step of the stack takes at once.

    Returns:
        Largest absolute difference of any weight of each model; NaN where one diverged.
    """
    setting, threads = Setting(epochs, dtype, device), torch.get_num_threads()
    trainer = stack_trainer(family, models, setting=setting, chunk=chunk)
    singles = [PlainModel(family, model, setting) for model in models]
    torch.set_num_threads(1)
    for one in (trainer, *singles):
        for _ in range(epochs):
            one.run_epoch()
    torch.set_num_threads(threads)
    states = [single.module.state_dict() for single in singles]  # flatten would round them to float32
    names = [entry.name for entry in trainer.network.layout.entries]
    alone = torch.stack([torch.cat([state[name].flatten() for name in names]) for state in states])
    return (trainer.weights - alone).abs().amax(dim=1).tolist()
