"""The contract of a method: what a task calls, and what it hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo import Zoo
from zoo.spec import Layout

ItemsWithTarget = torch.utils.data.Dataset[Any]
"""Items are `(WeightSample, float)`."""
Items = torch.utils.data.Dataset[Any]
"""Items are `WeightSample`."""
Accuracy = Callable[[Float[Tensor, "models params"]], Float[np.ndarray, " models"]]
"""Accuracy in [0, 1] of flat weight vectors on the validation items of the data."""


@dataclass(frozen=True)
class Members:
    """The networks of one cell, trained alike but for their seeds.

    Attributes:
        weights: `(n_members, n_params)` float32.
        layout: Layout of the vectors.
        validation_accuracy: From weights `(n, n_params)` to the accuracy `(n,)` of these networks on the
            validation items of the data; may be called as often as needed, on any weights.
    """

    weights: Float[Tensor, "members params"]
    layout: Layout
    validation_accuracy: Accuracy


class Predictor(Protocol):
    """Predicts a property of a network from its weights."""

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:
        """Learn from the training side; make choices on the validation side."""

    def predict(self, test: Items) -> Float[np.ndarray, " items"]:
        """Give one finite number an item, in the dataset's order."""


class Sampler(Protocol):
    """Draws new networks of one layout."""

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:
        """Learn from the training side; make choices on the validation side."""

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n params"]:
        """Draw `n` weight vectors; all randomness comes from the generator."""


class Merger(Protocol):
    """Makes one prediction out of several networks."""

    def fit(self, train: Zoo, val: Zoo) -> None:
        """Learn from the training side, if there is anything to learn."""

    def merge(self, members: Members) -> Float[Tensor, "merged params"]:
        """Give m networks whose logits are averaged: one is a soup, several are an ensemble."""
