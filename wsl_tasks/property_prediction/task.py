"""The evaluator of property prediction, protocol `property-prediction-v1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wsl_tasks.blind import BlindDataset
from wsl_tasks.checks import check_array
from wsl_tasks.property_prediction.baselines import (
    LayerStatisticsBoosting,
    LayerStatisticsRidge,
    MeanPredictor,
)
from wsl_tasks.property_prediction.scores import statistics
from wsl_tasks.scoring import by_band, estimate
from wsl_tasks.task import Outcome, Task


class PropertyPrediction(Task):
    """Predict a number about a trained network from its weights alone.

    Each finished model counts once, by its last checkpoint. A method is fitted on the models of the training
    cells, makes choices on those of the validation cells, and predicts for those of the test cells; ids and
    order tell nothing. Scores: Kendall's tau-b (main), R2, mean absolute error; each also by temperature
    band.
    """

    calls = ("fit", "predict")

    def baselines(self) -> Mapping[str, Callable[[], Any]]:
        """Give the baselines.

        Returns:
            By name, what makes a fresh method.
        """
        return {
            "mean": MeanPredictor,
            "layer-statistics-ridge": LayerStatisticsRidge,
            "layer-statistics-boosting": LayerStatisticsBoosting,
        }

    def _run(self, method: Any, seed: int) -> Outcome:
        train, val, test = self.views
        if not min(len(view) for view in self.views):
            raise self._nothing_to_score("finished models on each side")
        target = self.metadata.target
        blind = BlindDataset(test.dataset(), "test", seed=seed)
        method.fit(
            BlindDataset(train.dataset(target), "train", seed=seed),
            BlindDataset(val.dataset(target), "val", seed=seed),
        )
        predicted = check_array(method.predict(blind), (len(test),), source="predict(test)").astype(float)
        rows = test.checkpoints.merge(test.models, on="model_id", how="left").iloc[blind.order.numpy()]
        scored = statistics(predicted, rows[target].to_numpy(np.float64))
        cells = rows["cell_id"].to_numpy(object)
        bands = [self.band(float(value)) for value in rows[self.temperature]]
        return Outcome(
            scores=estimate(scored, cells, seed=seed),
            breakdown=by_band(scored, cells, bands, seed=seed),
            n=len(rows),
            n_cells=rows["cell_id"].nunique(),
        )
