"""How the bend of a Bezier curve is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.datasets import Items, as_inputs
from zoo.errors import SpecificationError
from zoo.metrics.connectivity.path import bezier_point
from zoo.training import NetworkStack, StackNetwork, cross_entropy, optimizers, stream
from zoo.training.step import Batch, Rule, StepGradient
from zoo.training.streams import stream_key, uniform

_SEED = 0
"""Every pair sees the same batches at the same places: what differs between pairs is not the draw."""


@dataclass(frozen=True)
class Fit:
    """Settings of the training of a bend: SGD with momentum on the mean loss over t ~ U(0, 1).

    Attributes:
        learning_rate: Its peak.
        momentum: Momentum.
        weight_decay: d of the term `d / 2 |w|^2` of the point on the curve, part of the loss.
        batch_size: Items in a batch, at most; those of an epoch are as equal as can be.
        steps: Optimiser steps; nothing where epochs count.
        epochs: Passes over the items; nothing where steps count.
        annealing: `cosine` to 0, step by step; or `plateau`, epoch by epoch: constant for the first half,
            then linear to a hundredth at nine tenths (Garipov et al. 2018).
        clip: Largest norm of each pair's gradient at the point; nothing for no bound.
        start: Where the bend begins: in the `middle` of the ends, or at `random` as a layer of
            torch is initialised, `U(-1, 1) / sqrt(fan-in)`, gains `U(0, 1)` and shifts 0.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    batch_size: int
    steps: int | None = None
    epochs: int | None = None
    annealing: Literal["cosine", "plateau"] = "cosine"
    clip: float | None = None
    start: Literal["middle", "random"] = "middle"

    def __post_init__(self) -> None:
        """Check.

        Raises:
            SpecificationError: Steps and epochs are both given, or neither.
        """
        if (self.steps is None) == (self.epochs is None):
            raise SpecificationError(
                f"a bend is trained for steps or for epochs: expected one of both, got steps={self.steps} "
                f"and epochs={self.epochs}; set the other to None"
            )

    def settings(self) -> dict[str, Any]:
        """Write down what differs from nothing.

        Returns:
            Settings by name.
        """
        return {name: value for name, value in asdict(self).items() if value is not None}

    def batches(self, items: int) -> int:
        """Count the steps of an epoch.

        Args:
            items: Number of items.

        Returns:
            At least 1.
        """
        return -(-items // self.batch_size)

    def total(self, items: int) -> int:
        """Count all steps.

        Args:
            items: Number of items.

        Returns:
            Optimiser steps.
        """
        return self.steps if self.steps is not None else (self.epochs or 0) * self.batches(items)

    def rate(self, step: int, items: int) -> float:
        """Give the learning rate of a step, a function of nothing but the step.

        Args:
            step: Steps taken before, from 0.
            items: Number of items.

        Returns:
            The rate.

        Example:
            >>> fit = Fit(learning_rate=0.1, momentum=0.9, weight_decay=0.0, batch_size=128, epochs=10,
            ...     annealing="plateau")
            >>> [round(fit.rate(step, items=128), 5) for step in range(10)]
            [0.1, 0.1, 0.1, 0.1, 0.1, 0.07525, 0.0505, 0.02575, 0.001, 0.001]
        """
        if self.annealing == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * step / self.total(items))) / 2
        per_epoch = self.batches(items)
        share = (step // per_epoch + 1) / (self.total(items) / per_epoch)
        return self.learning_rate * min(1.0, max(0.01, 1 - 0.99 * (share - 0.5) / 0.4))


QUADRATIC = Fit(
    learning_rate=0.2, momentum=0.9, weight_decay=0.0, batch_size=64, steps=1000, annealing="cosine", clip=1.0
)
"""The protocol `bezier/quadratic-v1`."""


def fit_bends(a: NetworkStack, b: NetworkStack, items: Items, fit: Fit) -> Float[Tensor, "pairs trained"]:
    """Train the bends of Bezier curves, all in one stack and in training mode.

    Batches, places and dropout come from streams that are the same for all pairs, so a pair's curve does not
    depend on who shares the stack. In training mode normalisations use the statistics of the batch.

    Args:
        a: Networks at t = 0.
        b: As many networks of the same layout, at t = 1.
        items: What to train on; un-augmented.
        fit: How.

    Returns:
        Parameters of the bends, without buffers; not finite where training left the numbers.
    """
    network = StackNetwork(a.module, a.layout)
    (start, buffers), (end, _) = network.split(a.weights), network.split(b.weights)
    bend = (start + end) / 2 if fit.start == "middle" else _drawn(a).expand_as(start).clone()
    velocity, point = torch.zeros_like(bend), torch.empty_like(bend)
    rule = Rule(network, cross_entropy, optimizers.get("sgd"), "float32", None, None)
    places = _places(fit.total(len(items)))
    for step, batch in enumerate(_batches(network, items, fit, pairs=len(a))):
        t = places[step]
        bezier_point(start, bend, end, t=t, out=point)
        gradient = StepGradient(rule, buffers, batch, None)(point)
        if fit.weight_decay:
            gradient.add_(point, alpha=fit.weight_decay)
        share = 2 * t * (1 - t) * _shrinking(gradient, fit.clip)  # the point moves that far with the bend
        velocity.mul_(fit.momentum).addcmul_(gradient, share)
        bend.add_(velocity, alpha=-fit.rate(step, len(items)))
    return bend


def _shrinking(gradient: Float[Tensor, "pairs trained"], clip: float | None) -> Float[Tensor, "pairs 1"]:
    """Give the factor that brings each gradient to a largest norm, as `clip_grad_norm_` of torch does."""
    if clip is None:
        return torch.ones_like(gradient[:, :1])
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    factor: Tensor = (clip / (norm + 1e-6)).clamp(max=1.0)
    return factor


def _places(steps: int) -> list[float]:
    """Draw t of every step."""
    key = torch.tensor(stream_key(_SEED, "bezier:place"))
    drawn: list[float] = uniform(key, torch.arange(steps)).tolist()
    return drawn


def _batches(network: StackNetwork, items: Items, fit: Fit, *, pairs: int) -> Iterator[Batch]:
    """Go through the items epoch by epoch, each in an order of its own."""
    left, epoch, per_epoch = fit.total(len(items)), 0, fit.batches(len(items))
    while left > 0:
        epoch += 1
        order = torch.randperm(len(items), generator=stream(_SEED, "bezier:order", epoch))
        keys = network.dropout_keys([_SEED] * pairs, epoch, steps=per_epoch, device=items.y.device)
        for picked, key in zip(order.to(items.y.device).tensor_split(per_epoch)[:left], keys, strict=False):
            x, y = as_inputs(items.x[picked]), items.y[picked]
            yield Batch(x.expand(pairs, *x.shape), y.expand(pairs, *y.shape), key)
        left -= per_epoch


def _drawn(stack: NetworkStack) -> Float[Tensor, " trained"]:
    """Draw a bend as the layers of torch draw their parameters."""
    draw, fan_in = stream(_SEED, "bezier:start"), 1
    pieces = []
    for entry in stack.layout.entries:
        if entry.kind == "buffer":
            continue
        drawn = torch.rand(entry.size, generator=draw)
        if entry.kind == "norm":
            pieces.append(drawn if entry.name.endswith("weight") else torch.zeros_like(drawn))
            continue
        fan_in = math.prod(entry.shape[1:]) if entry.kind == "weight" else fan_in  # a bias follows its weight
        pieces.append((2 * drawn - 1) / math.sqrt(fan_in))
    return torch.cat(pieces).to(stack.weights)
