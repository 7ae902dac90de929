"""Learning rate and momentum of every step, functions of the step alone: a resumed run continues."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from zoo.spec import TrainingSpecification

# torch's OneCycleLR by default
_RISE, _START, _END = 0.3, 25.0, 1e4
_LOW_MOMENTUM, _HIGH_MOMENTUM = 0.85, 0.95


def learning_rates(
    training: TrainingSpecification, steps: Float[np.ndarray, " steps"], *, steps_per_epoch: int
) -> Float[np.ndarray, " steps"]:
    """Give the learning rate of some steps.

    `constant`; `step` as torch's `StepLR`; `cosine` as `CosineAnnealingLR` (Loshchilov and Hutter 2017, eq.
    5, no restart, minimum 0); `one-cycle` as `OneCycleLR` (Smith and Topin 2018). A warm-up of W steps goes
    before, as `LinearLR` with start factor 1/W; the schedule then covers the steps after it.

    Args:
        training: Names the schedule, its settings and the peak.
        steps: Steps taken before each, from 0.
        steps_per_epoch: Optimiser steps in an epoch.

    Returns:
        `(steps,)` float64.

    Example:
        >>> half = TrainingSpecification(learning_rate=1, batch_size=1, epochs=10, schedule="cosine")
        >>> learning_rates(half, np.array([0.0, 5.0]), steps_per_epoch=1).round(12).tolist()
        [1.0, 0.5]
    """
    total = training.epochs * steps_per_epoch
    if training.schedule == "one-cycle":
        low, high = training.learning_rate / _START, training.learning_rate
        return _cycle(steps, total, (low, high, low / _END))
    warmup = training.warmup_epochs * steps_per_epoch
    after = steps - warmup
    if training.schedule == "cosine":
        factors = (1 + np.cos(math.pi * after / (total - warmup))) / 2
    elif training.schedule == "step" and training.decay_epochs is not None:
        factors = training.decay_factor ** np.floor(after / (training.decay_epochs * steps_per_epoch))
    else:
        factors = np.ones_like(steps)
    if warmup:
        rise = (1 + (warmup - 1) * steps / warmup) / warmup
        factors = np.where(steps < warmup, rise, factors)
    return training.learning_rate * factors


def momenta(
    training: TrainingSpecification, steps: Float[np.ndarray, " steps"], *, steps_per_epoch: int
) -> Float[np.ndarray, " steps"]:
    """Give the momentum of some steps: `beta1` for adam and adamw, `momentum` for the others.

    Args:
        training: Names the optimiser and the schedule; `one-cycle` cycles the momentum against the rate.
        steps: Steps taken before each, from 0.
        steps_per_epoch: Optimiser steps in an epoch.

    Returns:
        `(steps,)` float64.
    """
    if training.schedule == "one-cycle":
        total = training.epochs * steps_per_epoch
        return _cycle(steps, total, (_HIGH_MOMENTUM, _LOW_MOMENTUM, _HIGH_MOMENTUM))
    adaptive = training.optimizer in {"adam", "adamw"}
    return np.full_like(steps, training.beta1 if adaptive else training.momentum)


def _cycle(
    steps: Float[np.ndarray, " steps"], total: int, values: tuple[float, float, float]
) -> Float[np.ndarray, " steps"]:
    """Go from the first value to the second and on to the third, along half cosines."""
    first, turn, last = values
    turning, end = _RISE * total - 1, total - 1
    with np.errstate(divide="ignore", invalid="ignore"):  # one of both is not used
        up = _half_cosine(first, turn, steps / turning)
        down = _half_cosine(turn, last, (steps - turning) / (end - turning))
    return np.where(steps <= turning, up, down)


def _half_cosine(begin: float, end: float, share: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    return end + (begin - end) / 2 * (1 + np.cos(math.pi * share))
