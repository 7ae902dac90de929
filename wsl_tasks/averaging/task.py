"""The evaluator of averaging, protocol `averaging-v1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wsl_tasks.averaging.baselines import BestMember, GreedySoup, LogitEnsemble, UniformSoup
from wsl_tasks.checks import check_weights
from wsl_tasks.methods import Members
from wsl_tasks.networks import Networks
from wsl_tasks.scoring import by_band, estimate, mean_of
from wsl_tasks.task import Outcome, Task


@dataclass(frozen=True)
class _Cell:
    """The members of one test cell and what runs them."""

    id: str
    temperature: float
    networks: Networks
    members: Members


@dataclass(frozen=True)
class _Score:
    """What a method made of one cell: test accuracy, how much more than the best member's, and its cost."""

    accuracy: float
    gain: float
    cost: float


class Averaging(Task):
    """Merge the seeds of a cell into one network, or into an ensemble.

    For each test cell with at least two finished seeds a method gets the last weights of all of them and
    returns m weight vectors; the mean of the m networks' logits decides. Scores: the gain in test accuracy
    over the best member, which is chosen on the validation items of the data (main); the accuracy; the
    inference cost m; each also by temperature band. All are means over cells, with a bootstrap over cells.
    """

    calls = ("fit", "merge")

    def baselines(self) -> Mapping[str, Callable[[], Any]]:
        """Give the baselines.

        Returns:
            By name, what makes a fresh method.
        """
        return {
            "best-member": BestMember,
            "uniform-soup": UniformSoup,
            "greedy-soup": GreedySoup,
            "logit-ensemble": LogitEnsemble,
        }

    def _run(self, method: Any, seed: int) -> Outcome:
        cells = self._cells()
        method.fit(self.views.train, self.views.val)
        scores = [_score(method, cell) for cell in cells]
        statistics = {
            "accuracy_gain": mean_of(np.array([score.gain for score in scores])),
            "accuracy": mean_of(np.array([score.accuracy for score in scores])),
            "inference_cost": mean_of(np.array([score.cost for score in scores])),
        }
        ids = np.array([cell.id for cell in cells], dtype=object)
        bands = [self.band(cell.temperature) for cell in cells]
        return Outcome(
            scores=estimate(statistics, ids, seed=seed),
            breakdown=by_band(statistics, ids, bands, seed=seed),
            n=len(cells),
            n_cells=len(cells),
        )

    def _cells(self) -> list[_Cell]:
        """Gather the test cells that have at least two finished seeds."""
        models = self.views.test.models
        seeds = models.groupby("cell_id")["model_id"].nunique()
        cells = [self._cell(str(cell)) for cell in seeds.index[seeds >= 2]]
        if not cells:
            raise self._nothing_to_score("test cells with at least two finished seeds")
        return cells

    def _cell(self, cell_id: str) -> _Cell:
        view = self.views.test.where(f"cell_id == {cell_id!r}")
        first = view.models.iloc[0]
        networks = Networks.of(view.specification(first["model_id"]))
        members = Members(
            weights=torch.tensor(view.weights()),
            layout=networks.layout,
            validation_accuracy=lambda weights: networks.accuracy(weights, "val"),
        )
        return _Cell(cell_id, float(first[self.temperature]), networks, members)


def _score(method: Any, cell: _Cell) -> _Score:
    best = cell.networks.ensemble_accuracy(BestMember().merge(cell.members), "test")
    given = Members(cell.members.weights.clone(), cell.members.layout, cell.members.validation_accuracy)
    shape = (None, cell.networks.layout.size)
    merged = check_weights(method.merge(given), shape, source="merge(members)")
    accuracy = cell.networks.ensemble_accuracy(merged, "test")
    return _Score(accuracy=accuracy, gain=accuracy - best, cost=float(len(merged)))
