"""Predictors to beat: the training mean, and two models on the statistics of each layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wsl_tasks.methods import Items, ItemsWithTarget
from zoo.weights.statistics import sample_statistics

Values = Float[np.ndarray, " items"]
Features = Float[np.ndarray, "items features"]


class MeanPredictor:
    """Predicts the training mean, whatever the weights: an error to beat, and no ranking."""

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:  # noqa: ARG002 - the contract
        """Remember the mean.

        Args:
            train: Items with target.
            val: Not used.
        """
        self._mean = float(np.mean([target for _, target in _listed(train)]))

    def predict(self, test: Items) -> Values:
        """Give the mean for each item.

        Args:
            test: Items.

        Returns:
            `(n,)`, all equal.
        """
        return np.full(len(_listed(test)), self._mean)


class _OnLayerStatistics(ABC):
    """A regression on layer statistics; of several settings the one with the least error on val stays."""

    def fit(self, train: ItemsWithTarget, val: ItemsWithTarget) -> None:
        """Fit every candidate on train and keep the best on val.

        Args:
            train: Items with target.
            val: Items with target.
        """
        x, y = _features_and_targets(train)
        x_val, y_val = _features_and_targets(val)
        fitted = [candidate.fit(x, y) for candidate in self._candidates()]
        errors = [np.mean((model.predict(x_val) - y_val) ** 2) for model in fitted]
        self._model = fitted[int(np.argmin(errors))]

    def predict(self, test: Items) -> Values:
        """Predict from the statistics of each item's layers.

        Args:
            test: Items.

        Returns:
            `(n,)`.
        """
        predicted: Values = self._model.predict(sample_statistics(_listed(test)))
        return predicted

    @abstractmethod
    def _candidates(self) -> list[Any]:
        """Give unfitted regressions."""


class LayerStatisticsRidge(_OnLayerStatistics):
    """Standardised layer statistics and ridge regression; the penalty is chosen on val.

    Source: Unterthiner et al. 2020 (arXiv 2002.11448), whose linear model this is, with the norms added.
    """

    def _candidates(self) -> list[Any]:
        return [make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in np.logspace(-3, 4, 15)]


class LayerStatisticsBoosting(_OnLayerStatistics):
    """Layer statistics and gradient-boosted trees; depth and number of trees are chosen on val.

    Source: Unterthiner et al. 2020 (arXiv 2002.11448), whose best model this is, on scikit-learn.
    """

    def _candidates(self) -> list[Any]:
        return [
            GradientBoostingRegressor(
                max_depth=depth, n_estimators=trees, learning_rate=0.05, subsample=0.8, random_state=0
            )
            for depth in (2, 3, 4)
            for trees in (100, 300)
        ]


def _listed(items: Any) -> list[Any]:
    return [items[place] for place in range(len(items))]


def _features_and_targets(items: ItemsWithTarget) -> tuple[Features, Values]:
    samples, targets = zip(*_listed(items), strict=True)
    return sample_statistics(samples), np.array(targets, float)
