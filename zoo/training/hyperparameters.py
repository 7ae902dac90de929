"""What each network of a stack is trained with, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.spec import TrainingSpecification
from zoo.training.schedules import learning_rates, momenta


@dataclass(frozen=True)
class Hyperparameters:
    """The hyper-parameters of one step, one value a network: every attribute is `(n_models, 1)`.

    Attributes:
        learning_rate: Rate of this step; `(n_models, n_trained)` where each parameter has its own.
        momentum: Momentum of this step; beta1 of adam and adamw.
        fresh1: `1 - momentum`, rounded once: float32 would lose digits of it.
        correction1: `1 - beta1^t` for the t-th step, counted from 1.
        correction2: `1 - beta2^t`.
        weight_decay: Weight decay.
        beta2: Decay of the mean of squares.
        fresh2: `1 - beta2`.
        epsilon: Added to its root.
        sam_radius: How far sam climbs.
    """

    learning_rate: Float[Tensor, "models 1"] | Float[Tensor, "models trained"]
    momentum: Float[Tensor, "models 1"]
    fresh1: Float[Tensor, "models 1"]
    correction1: Float[Tensor, "models 1"]
    correction2: Float[Tensor, "models 1"]
    weight_decay: Float[Tensor, "models 1"]
    beta2: Float[Tensor, "models 1"]
    fresh2: Float[Tensor, "models 1"]
    epsilon: Float[Tensor, "models 1"]
    sam_radius: Float[Tensor, "models 1"]

    def balanced(self, factors: Float[Tensor, "models trained"] | None) -> Hyperparameters:
        """Give each parameter a learning rate of its own.

        Args:
            factors: What the rate is multiplied by; nothing for one rate.

        Returns:
            The same but for the rate.
        """
        return self if factors is None else replace(self, learning_rate=self.learning_rate * factors)


class EpochTable:
    """The hyper-parameters of every step of an epoch, computed in float64 and moved to the device once.

    Args:
        training: How each network is trained.
        epoch: The epoch, from 1.
        steps_per_epoch: Optimiser steps in an epoch.
        like: Tensor whose type and device the values get.
    """

    def __init__(
        self, training: Sequence[TrainingSpecification], epoch: int, *, steps_per_epoch: int, like: Tensor
    ) -> None:
        steps = np.arange((epoch - 1) * steps_per_epoch, epoch * steps_per_epoch, dtype=np.float64)
        kinds = list(dict.fromkeys(training))
        columns = [_columns(kind, steps, steps_per_epoch) for kind in kinds]
        place = {kind: number for number, kind in enumerate(kinds)}
        chosen = np.stack(columns, axis=-1)[..., [place[kind] for kind in training]]
        fixed = np.array(
            [[t.weight_decay, t.beta2, 1 - t.beta2, t.epsilon, t.sam_radius] for t in training]
        ).T
        self._scheduled = _moved(chosen, like)
        self._fixed = _moved(np.ascontiguousarray(fixed), like)

    def at(self, step: int, rows: slice) -> Hyperparameters:
        """Give the hyper-parameters of a step.

        Args:
            step: The step within the epoch, from 0.
            rows: Which networks.

        Returns:
            One value a network.
        """
        return Hyperparameters(*self._scheduled[:, step, rows], *self._fixed[:, rows])


def _columns(
    training: TrainingSpecification, steps: Float[np.ndarray, " steps"], steps_per_epoch: int
) -> Float[np.ndarray, "5 steps"]:
    momentum = momenta(training, steps, steps_per_epoch=steps_per_epoch)
    return np.stack(
        [
            learning_rates(training, steps, steps_per_epoch=steps_per_epoch),
            momentum,
            1 - momentum,
            1 - momentum ** (steps + 1),
            1 - training.beta2 ** (steps + 1),
        ]
    )


def _moved(values: Float[np.ndarray, "*shape"], like: Tensor) -> Float[Tensor, "*shape 1"]:
    return torch.from_numpy(values).to(dtype=like.dtype, device=like.device).unsqueeze(-1)
