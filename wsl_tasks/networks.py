"""Run and fine-tune networks of one layout on the data that they were made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zoo import architectures, datasets
from zoo.datasets import Dataset
from zoo.spec import Layout, ModelSpecification, TrainingSpecification
from zoo.training import StackData, evaluate_logits, train_stack

Side = Literal["val", "test"]


@dataclass(frozen=True)
class Networks:
    """Skeleton, layout and data of networks that differ in their weights alone.

    Attributes:
        module: The network; its own weights are not used.
        layout: Layout of flat weight vectors.
        data: What the networks classify.
    """

    module: nn.Module
    layout: Layout
    data: Dataset

    @classmethod
    def of(cls, specification: ModelSpecification) -> Networks:
        """Build the skeleton of a model.

        Args:
            specification: The model.

        Returns:
            Skeleton, layout and data.
        """
        shape = datasets.shape(specification.dataset)
        module = architectures.build(specification.architecture, shape)
        layout = architectures.layout(specification.architecture, shape)
        data = datasets.load(specification.dataset).restricted(specification.dataset)
        return cls(module, layout, data)

    def accuracy(self, weights: Float[Tensor, "models params"], side: Side) -> Float[np.ndarray, " models"]:
        """Measure each network alone.

        Args:
            weights: `(n_models, n_params)`.
            side: On which items.

        Returns:
            `(n_models,)` in [0, 1], higher is better.
        """
        items = getattr(self.data, side)
        logits = evaluate_logits(self.module, self.layout, weights, items.x)
        return _correct(logits, items.y).double().mean(dim=1).numpy()

    def ensemble_accuracy(self, weights: Float[Tensor, "members params"], side: Side) -> float:
        """Measure the mean of the networks' logits.

        Args:
            weights: `(n_members, n_params)`.
            side: On which items.

        Returns:
            Accuracy in [0, 1], higher is better.
        """
        items = getattr(self.data, side)
        logits = evaluate_logits(self.module, self.layout, weights, items.x).mean(dim=0, keepdim=True)
        return float(_correct(logits, items.y).double().mean())

    def fine_tune(
        self, weights: Float[Tensor, "models params"], training: TrainingSpecification
    ) -> Float[Tensor, "models params"]:
        """Train every network on the clean training labels.

        Args:
            weights: `(n_models, n_params)`, where training begins; not changed.
            training: How; network i sees the data in the order of seed i.

        Returns:
            The weights after training.
        """
        n = len(weights)
        data = StackData(self.data.train.x, self.data.train.y.expand(n, -1))
        return train_stack(
            self.module, self.layout, weights, data, training=[training] * n, order_seeds=range(n)
        )


def _correct(logits: Float[Tensor, "models items classes"], classes: Tensor) -> Bool[Tensor, "models items"]:
    """Say which items are classified rightly; one whose logits are not numbers is not."""
    known = torch.isfinite(logits).all(dim=2)
    return (logits.argmax(dim=2) == classes) & known
