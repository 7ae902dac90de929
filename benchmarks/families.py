"""The families of networks that the engine is held to, with the loss of each as anyone would write it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from zoo import datasets
from zoo.spec import ArchitectureSpecification, DataShape, TrainingSpecification
from zoo.training import Objective, cross_entropy
from zoo.training.convection import PERIOD, convection

_IMAGES, _POINTS = 256, 500
_RATES = (0.25, 0.5, 0.75, 1.0)
"""Share of the family's learning rate that models 0, 1, 2, 3, 4, ... get."""


@dataclass(frozen=True)
class Family:
    """Networks that can be stacked, and what they are trained on.

    Attributes:
        title: How the table names it.
        architecture: Name and options.
        shape: Shape of its inputs, number of its outputs.
        training: Optimiser, batch size, largest learning rate.
        data: Gives inputs `(n_items, ...)` and the targets `(n_items,)` of a model, by its number.
        objective: What the stack minimises.
        loss: The same of one module, as anyone would write it.
    """

    title: str
    architecture: ArchitectureSpecification
    shape: DataShape
    training: TrainingSpecification
    data: Callable[[int], tuple[Tensor, Tensor]]
    objective: Objective
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]

    def trained(self, model: int) -> TrainingSpecification:
        """Say how a model is trained.

        Args:
            model: Its number.

        Returns:
            The family's training at the model's own learning rate.
        """
        rate = self.training.learning_rate * _RATES[model % len(_RATES)]
        return self.training.model_copy(update={"learning_rate": rate})

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of a model in an epoch."""
        return math.ceil(len(self.data(0)[1]) / self.training.batch_size)


# data


def _digits(_model: int) -> tuple[Tensor, Tensor]:
    items = datasets.load("digits").train
    return items.x, items.y


@cache
def _images(_model: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_IMAGES, 1, 28, 28, generator=generator)
    return x, torch.randint(10, (_IMAGES,), generator=generator)


def _points(model: int) -> tuple[Tensor, Tensor]:
    unit = torch.rand(_POINTS, 4, generator=torch.Generator().manual_seed(0))
    return unit * torch.tensor([PERIOD, 1.0, PERIOD, 1.0]), torch.full((_POINTS,), 1.0 + model % 5)


def _classify(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(module(x), y)


def _solve(module: nn.Module, points: Tensor, coefficients: Tensor) -> Tensor:
    """Give the loss of `zoo.training.convection`, its derivatives by autograd."""
    x, t, _, _ = points.unbind(dim=-1)
    initial, boundary = points[: math.ceil(len(points) / 4), 2:].unbind(dim=-1)
    nothing = torch.zeros_like(initial)
    places = torch.stack([x, t], dim=-1).requires_grad_()
    (slopes,) = torch.autograd.grad(module(places).sum(), places, create_graph=True)
    start = module(torch.stack([initial, nothing], dim=-1))[:, 0]
    left = module(torch.stack([nothing, boundary], dim=-1))
    right = module(torch.stack([nothing + PERIOD, boundary], dim=-1))
    residual = slopes[:, 1] + coefficients * slopes[:, 0]
    return residual.square().mean() + (start - initial.sin()).square().mean() + (left - right).square().mean()


# families


def mlp(width: int, batch_size: int) -> Family:
    """Give the perceptrons on digits.

    Args:
        width: Units of both hidden layers.
        batch_size: Items of a step.

    Returns:
        The family.
    """
    return Family(
        f"MLP 64-{width}-{width}-10, batch {batch_size}",
        ArchitectureSpecification.model_validate({"name": "mlp", "width": width}),
        DataShape((64,), 10),
        _sgd(batch_size),
        _digits,
        cross_entropy,
        _classify,
    )


def cnn(width: int, batch_size: int) -> Family:
    """Give the small convolutional networks on grey images of 28 x 28 pixels.

    Args:
        width: Channels.
        batch_size: Items of a step.

    Returns:
        The family.
    """
    return Family(
        f"CNN, {width} channels, 28 x 28, batch {batch_size}",
        ArchitectureSpecification.model_validate({"name": "cnn", "width": width}),
        DataShape((1, 28, 28), 10),
        _sgd(batch_size),
        _images,
        cross_entropy,
        _classify,
    )


def pinn() -> Family:
    """Give the physics-informed networks for convection, 4 x 50 tanh, 100 collocation points a step.

    Returns:
        The family.
    """
    options = {"name": "mlp", "width": 50, "depth": 4, "activation": "tanh"}
    training = {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 100, "epochs": 1}
    return Family(
        "PINN 4 x 50 tanh, convection, batch 100",
        ArchitectureSpecification.model_validate(options),
        DataShape((2,), 1),
        TrainingSpecification.model_validate({**training, "schedule": "cosine"}),
        _points,
        convection,
        _solve,
    )


def _sgd(batch_size: int) -> TrainingSpecification:
    return TrainingSpecification(
        learning_rate=0.02,
        momentum=0.9,
        weight_decay=5e-4,
        batch_size=batch_size,
        epochs=1,
        schedule="cosine",
    )
