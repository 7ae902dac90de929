"""The pairs of a subject, taken some at a time, and the table that is made of their curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from zoo.metrics.base import KEY_COLUMNS, Measurement, Metric, Subject, measured
from zoo.metrics.pairing import model_pairs
from zoo.training import NetworkStack

NOT_FINITE = "weights are not finite"
LEFT_NUMBERS = "loss or logits on the path are not finite"


@dataclass(frozen=True)
class Some:
    """Some of the pairs.

    Attributes:
        a: First networks.
        b: Second networks.
        places: Places of the pairs in the table.
        turned: Which of them go from the table's second network to its first.
    """

    a: NetworkStack
    b: NetworkStack
    places: Integer[np.ndarray, " pairs"]
    turned: Bool[Tensor, " pairs"]


class Pairs:
    """Every pair of a subject, with a reason against it, or in the end numbers and curves.

    Args:
        subject: The subject.
        metric: The metric whose columns are filled in.
        series: Names of the arrays of each pair.
    """

    def __init__(self, subject: Subject, metric: Metric, series: Iterable[str]) -> None:
        self._subject, self._metric = subject, metric
        self._table = model_pairs(subject.checkpoints)
        self._rows = self._table[["row_a", "row_b"]].to_numpy()
        self._reasons = [None if pd.isna(reason) else str(reason) for reason in self._table["reason"]]
        self._values = {column.name: np.full(len(self._table), np.nan) for column in metric.columns}
        self._series = {name: [np.empty(0)] * len(self._table) for name in series}
        for place in np.flatnonzero(~subject.finite()[self._rows].all(axis=1)):
            self._reasons[place] = self._reasons[place] or NOT_FINITE

    def refuse(self, reason: str, places: Bool[np.ndarray, " pairs"] | None = None) -> None:
        """Leave open pairs without a value.

        Args:
            reason: Why.
            places: Which pairs of the table; nothing for all.
        """
        for place in np.flatnonzero(np.ones(len(self._reasons), bool) if places is None else places):
            self._reasons[place] = self._reasons[place] or reason

    def beside_the_lowest_seeds(self) -> Bool[np.ndarray, " pairs"]:
        """Say which pairs are not made of the two models of lowest seed of their cell."""
        checkpoints = self._subject.checkpoints
        rank = checkpoints.groupby("cell_id")["seed"].rank(method="dense").to_numpy()
        beside: Bool[np.ndarray, " pairs"] = (rank[self._rows] > 2).any(axis=1)
        return beside

    def some(self, together: int) -> Iterator[Some]:
        """Go through the open pairs.

        A pair goes from the lower checkpoint id to the higher, so that nothing depends on which model the
        table lists first.

        Args:
            together: How many pairs at once.

        Yields:
            Their networks.
        """
        places = np.flatnonzero([reason is None for reason in self._reasons])
        backwards = (self._table["checkpoint_a"] > self._table["checkpoint_b"]).to_numpy()
        skeleton, layout = self._subject.skeleton(), self._subject.layout
        for start in range(0, len(places), together):
            some = places[start : start + together]
            rows = np.where(backwards[some, None], self._rows[some, ::-1], self._rows[some])
            a, b = (NetworkStack(skeleton, layout, torch.tensor(self._subject.weights[r])) for r in rows.T)
            yield Some(a, b, some, torch.from_numpy(backwards[some]))

    def fill(self, some: Some, values: Mapping[str, Tensor], series: Mapping[str, Tensor]) -> None:
        """Set what was found on some pairs.

        Args:
            some: The pairs.
            values: A number a pair by column; what is not finite is left out and said.
            series: Arrays by name, a row a pair or one for all.
        """
        for name, numbers in values.items():
            found = numbers.numpy()
            self._values[name][some.places] = np.where(np.isfinite(found), found, np.nan)
        for number, place in enumerate(some.places):
            for name, array in series.items():
                self._series[name][place] = (array if array.ndim == 1 else array[number]).numpy()
            if any(np.isnan(numbers[place]) for numbers in self._values.values()):
                self._reasons[place] = LEFT_NUMBERS

    def measurement(self) -> Measurement:
        """Lay out what is known.

        Returns:
            Keys, values, reasons, and the arrays of each pair, empty where it has none.
        """
        keys = self._table[list(KEY_COLUMNS["pairs"])]
        frame = measured(self._metric.name, keys, self._values, self._reasons)
        return Measurement(frame, series=self._series)
