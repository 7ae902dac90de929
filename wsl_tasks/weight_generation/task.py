"""The evaluator of weight generation, protocol `weight-generation-v1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wsl_tasks.blind import BlindDataset
from wsl_tasks.checks import check_weights
from wsl_tasks.networks import Networks
from wsl_tasks.scoring import Statistic, estimate, mean_of
from wsl_tasks.task import Outcome, Task
from wsl_tasks.weight_generation.baselines import Copy, CopyNoise, HeldOut, PCAGaussian
from wsl_tasks.weight_generation.novelty import BAR, Novelty
from zoo import Split, Zoo
from zoo.spec import TrainingSpecification
from zoo.training import stream

SAMPLES = 64
POPULATION = "width == 16"
FINE_TUNING = TrainingSpecification(learning_rate=0.01, momentum=0.9, batch_size=32, epochs=1)


class WeightGeneration(Task):
    """Draw networks of one layout that classify well and are no copies.

    A method is fitted on the last checkpoints of the finished models of width 16 in the training cells, with
    their accuracy on the validation items of the data as target, and draws 64 networks; none is selected.
    Scores: accuracy on the test items of the data as drawn and after one epoch of fine-tuning, the median
    novelty ratio, and the main score `novel_accuracy`: the mean accuracy as drawn, where copies count 0.
    Intervals come from a bootstrap over samples, since a sample belongs to no cell.
    """

    calls = ("fit", "sample")

    @cached_property
    def views(self) -> Split:
        """The three sides, restricted to the population of this task."""
        return Split(*(view.where(POPULATION) for view in super().views))

    @cached_property
    def networks(self) -> Networks:
        """Skeleton, layout and data of the population."""
        return Networks.of(self._train.specification(self._train.models["model_id"].iloc[0]))

    @property
    def _train(self) -> Zoo:
        if not len(self.views.train):
            raise self._nothing_to_score(f"finished models with {POPULATION} in the training cells")
        return self.views.train

    def validation_accuracy(self, weights: Float[Tensor, "models params"]) -> Float[np.ndarray, " models"]:
        """Measure networks on the validation items of the data; for choices that a method has to make.

        Args:
            weights: `(n_models, n_params)`.

        Returns:
            `(n_models,)` in [0, 1], higher is better.
        """
        return self.networks.accuracy(weights, "val")

    def baselines(self) -> Mapping[str, Callable[[], Any]]:
        """Give the baselines, and the real models of the test cells as a reference.

        Returns:
            By name, what makes a fresh method.
        """
        return {
            "copy": Copy,
            "copy-noise": lambda: CopyNoise(self.validation_accuracy),
            "pca-gaussian": lambda: PCAGaussian(self.validation_accuracy),
            "held-out-models": lambda: HeldOut(self._test_weights),
        }

    def _test_weights(self) -> Float[Tensor, "models params"]:
        if not len(self.views.test):
            raise self._nothing_to_score(f"finished models with {POPULATION} in the test cells")
        return torch.tensor(self.views.test.weights())

    def _run(self, method: Any, seed: int) -> Outcome:
        sides = {"train": self._train, "val": self.views.val}
        target = self.metadata.target
        method.fit(*(BlindDataset(view.dataset(target), side, seed=seed) for side, view in sides.items()))
        drawn = method.sample(SAMPLES, stream(seed, "sample"))
        shape = (SAMPLES, self.networks.layout.size)
        weights = check_weights(drawn, shape, source=f"sample({SAMPLES}, generator)")
        return Outcome(
            scores=estimate(self._statistics(weights), np.arange(SAMPLES), seed=seed),
            breakdown={},
            n=SAMPLES,
            n_cells=0,
        )

    def _statistics(self, samples: Float[Tensor, "samples params"]) -> dict[str, Statistic]:
        """Measure the samples as drawn, after fine-tuning, and against the training models."""
        ratio = Novelty(self._train.weights()).ratio(samples.numpy())
        before = self.networks.accuracy(samples, "test")
        after = self.networks.accuracy(self.networks.fine_tune(samples, FINE_TUNING), "test")
        return {
            "novel_accuracy": mean_of(np.where(ratio >= BAR, before, 0.0)),
            "accuracy_epoch0": mean_of(before),
            "accuracy_epoch1": mean_of(after),
            "novelty_ratio": Statistic(lambda places: float(np.median(ratio[places])), "there is no sample"),
        }
