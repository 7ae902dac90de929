"""How far generated weights lie from what they were learned from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from zoo.errors import UndefinedMetricError

BAR = 0.5
"""Below this ratio a network counts as a copy: twice as close to a training model as those are to others."""


class Novelty:
    """Distances to training models, in units of the distance that those have from each other.

    Source: Zeng et al. 2025 (arXiv 2506.07998), section 3: distance to the nearest training model, compared
    with the training models' own leave-one-out nearest-neighbour distances; here their median is the unit.

    Args:
        train: `(n_train, n_params)` the training models.

    Raises:
        UndefinedMetricError: There are fewer than two training models, or most are copies of each other.

    Example:
        >>> novelty = Novelty(np.array([[0.0], [2.0], [4.0]]))
        >>> novelty.ratio(np.array([[4.0], [5.0], [8.0]])).tolist()
        [0.0, 0.5, 2.0]
    """

    def __init__(self, train: Float[np.ndarray, "train params"]) -> None:
        self._train = np.asarray(train, np.float64)
        if len(train) < 2:
            raise UndefinedMetricError(
                f"novelty needs at least two training models to compare with, got {len(train)}; "
                "use a larger zoo"
            )
        between = cdist(self._train, self._train)
        np.fill_diagonal(between, np.inf)
        self._unit = float(np.median(between.min(axis=1)))
        if self._unit == 0:
            raise UndefinedMetricError(
                "novelty is measured in distances between training models, and more than half of them are "
                "equal to another; use a zoo whose models differ"
            )

    def ratio(self, weights: Float[np.ndarray, "models params"]) -> Float[np.ndarray, " models"]:
        """Measure the distance to the nearest training model.

        Args:
            weights: `(n_models, n_params)`.

        Returns:
            `(n_models,)` L2 distance over the median leave-one-out distance of the training models; 0 is a
            copy, 1 is as far as training models are from each other.
        """
        nearest: Float[np.ndarray, " models"] = cdist(weights.astype(np.float64), self._train).min(axis=1)
        return nearest / self._unit

    def is_new(self, weights: Float[np.ndarray, "models params"]) -> Bool[np.ndarray, " models"]:
        """Say which networks are no copies.

        Args:
            weights: `(n_models, n_params)`.

        Returns:
            `(n_models,)` whether the ratio is at least `BAR`.
        """
        return self.ratio(weights) >= BAR
