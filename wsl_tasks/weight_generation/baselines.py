"""Samplers to beat: copies, noisy copies, a Gaussian in principal components; and real models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from wsl_tasks.methods import Accuracy, ItemsWithTarget
from wsl_tasks.weight_generation.novelty import Novelty
from zoo.training import stream

Weights = Float[Tensor, "models params"]
TRIAL = 64
"""Samples that a setting is judged by; their seed is fixed, so that settings differ and nothing else."""


class Copy:
    """Draws training models, each with the same chance: works, and is not new."""

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:  # noqa: ARG002 - the contract
        """Remember the training models.

        Args:
            train: Items with target.
            val: Not used.
        """
        self._train, _ = _stacked(train)

    def sample(self, n: int, generator: Generator) -> Weights:
        """Draw training models with replacement.

        Args:
            n: How many.
            generator: Source of all randomness.

        Returns:
            `(n, n_params)`.
        """
        return _draw(self._train, n, generator)


class _Chosen(ABC):
    """A sampler with a setting, chosen by the task's main score on the validation items of the data.

    Args:
        validation_accuracy: From weights to their accuracy on the validation items.
    """

    def __init__(self, validation_accuracy: Accuracy) -> None:
        self._validation_accuracy = validation_accuracy

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:  # noqa: ARG002 - the contract
        """Learn from the training models and choose the setting.

        Args:
            train: Items with target, the accuracy on the validation items of the data.
            val: Not used: the choice looks at what is sampled.
        """
        weights, accuracy = _stacked(train)
        settings = self._prepare(weights, accuracy)
        novelty = Novelty(weights.numpy())
        scores = [self._score(setting, novelty) for setting in settings]
        self._setting = settings[int(np.argmax(scores))]

    def _score(self, setting: Any, novelty: Novelty) -> float:
        trial = self._sample(setting, TRIAL, stream(0, "trial"))
        return float(np.mean(self._validation_accuracy(trial) * novelty.is_new(trial.numpy())))

    def sample(self, n: int, generator: Generator) -> Weights:
        """Draw networks with the chosen setting.

        Args:
            n: How many.
            generator: Source of all randomness.

        Returns:
            `(n, n_params)`.
        """
        return self._sample(self._setting, n, generator)

    @abstractmethod
    def _prepare(self, weights: Weights, accuracy: Float[Tensor, " models"]) -> Sequence[Any]:
        """Learn what all settings share, and list them."""

    @abstractmethod
    def _sample(self, setting: Any, n: int, generator: Generator) -> Weights:
        """Draw networks with this setting."""


class CopyNoise(_Chosen):
    """Training models plus Gaussian noise: new exactly as far as the noise goes.

    The noise of each parameter is a factor times its standard deviation over the training models. The factor,
    and how many of the best training models are copied, are chosen on validation items.

    Source: Zeng et al. 2025 (arXiv 2506.07998), whose noise baseline published generators do not beat.
    """

    def _prepare(self, weights: Weights, accuracy: Float[Tensor, " models"]) -> Sequence[Any]:
        self._best_first = weights[accuracy.argsort(descending=True, stable=True)]
        self._deviation = weights.std(dim=0, correction=0)
        kept = sorted({max(1, round(share * len(weights))) for share in (0.1, 0.25, 0.5, 1.0)})
        return [(models, float(factor)) for models in kept for factor in np.linspace(0.05, 1.0, 20)]

    def _sample(self, setting: Any, n: int, generator: Generator) -> Weights:
        models, factor = setting
        copies: Weights = _draw(self._best_first[:models], n, generator)
        noise: Weights = self._deviation * torch.randn(copies.shape, generator=generator)
        return copies.add(noise, alpha=factor)


class PCAGaussian(_Chosen):
    """A Gaussian in the first k principal components of the training models; k is chosen on validation items.

    k stays below n_train - 1: with all components the training models span the samples, and a generator that
    reproduces them looks perfect.
    """

    def _prepare(self, weights: Weights, accuracy: Float[Tensor, " models"]) -> Sequence[Any]:  # noqa: ARG002
        self._mean = weights.mean(dim=0)
        _, singular, self._components = torch.linalg.svd(weights - self._mean, full_matrices=False)
        self._deviation = singular / max(1, len(weights) - 1) ** 0.5
        return range(1, max(2, min(len(weights) - 1, len(singular) + 1)))

    def _sample(self, setting: Any, n: int, generator: Generator) -> Weights:
        z = torch.randn((n, setting), generator=generator) * self._deviation[:setting]
        drawn: Weights = self._mean + z @ self._components[:setting]
        return drawn


class HeldOut:
    """Real models of the test cells, drawn with replacement: what a perfect generator would give.

    A reference, no competitor: it alone sees the test side.

    Args:
        weights: Gives the test models `(n_test, n_params)`; called when first sampled.
    """

    reference = True

    def __init__(self, weights: Callable[[], Weights]) -> None:
        self._weights = weights

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:
        """Learn nothing.

        Args:
            train: Not used.
            val: Not used.
        """

    def sample(self, n: int, generator: Generator) -> Weights:
        """Draw real models.

        Args:
            n: How many.
            generator: Source of all randomness.

        Returns:
            `(n, n_params)`.
        """
        return _draw(self._weights(), n, generator)


def _stacked(items: Any) -> tuple[Weights, Float[Tensor, " models"]]:
    samples, targets = zip(*(items[place] for place in range(len(items))), strict=True)
    return torch.stack([sample.vector for sample in samples]), torch.tensor(targets, dtype=torch.float64)


def _draw(weights: Weights, n: int, generator: Generator) -> Float[Tensor, "n params"]:
    return weights[torch.randint(len(weights), (n,), generator=generator)]
