"""The pairs of a subject and what is known of each: a reason, or in the end numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer

from zoo.metrics.base import KEY_COLUMNS, Measurement, Metric, Subject, measured
from zoo.metrics.pairing import model_pairs
from zoo.metrics.similarity.cka import NOT_FINITE


@dataclass(frozen=True)
class Clique:
    """Checkpoints of one cell that are compared each with each.

    Attributes:
        rows: Their rows in the subject `(k,)`.
        places: Places of the pairs in the table of pairs.
        ends: For each pair, which two of the rows.
    """

    rows: Integer[np.ndarray, " models"]
    places: Integer[np.ndarray, " pairs"]
    ends: Integer[np.ndarray, "pairs 2"]


class Pairs:
    """Every pair of a subject, with a reason against it or numbers.

    Args:
        subject: The subject.
        metric: The metric whose columns are filled in.

    Attributes:
        rows: Rows of each pair's two checkpoints in the subject `(n_pairs, 2)`.
        reasons: What is known against each pair, or nothing.
    """

    def __init__(self, subject: Subject, metric: Metric) -> None:
        self._metric = metric
        table = model_pairs(subject.checkpoints)
        self.rows = table[["row_a", "row_b"]].to_numpy()
        self.reasons = [None if pd.isna(reason) else str(reason) for reason in table["reason"]]
        self._keys = table[list(KEY_COLUMNS["pairs"])]
        self._cells = table["cell_id"].tolist()
        self._epochs = subject.checkpoints["epoch"].to_numpy()
        self._values = {column.name: np.full(len(table), np.nan) for column in metric.columns}
        for place in np.flatnonzero(~subject.finite()[self.rows].all(axis=1)):
            self.reasons[place] = self.reasons[place] or NOT_FINITE

    @property
    def open(self) -> Integer[np.ndarray, " pairs"]:
        """Places of the pairs that nothing is known against."""
        return np.flatnonzero([reason is None for reason in self.reasons])

    def cliques(self) -> list[Clique]:
        """Group the open pairs by cell and epoch, last checkpoints of different epochs by cell.

        Returns:
            Cliques that hold each open pair once, those of fewest checkpoints first.
        """
        groups: dict[tuple[str, int | None], list[int]] = defaultdict(list)
        for place in self.open.tolist():
            epoch, other = self._epochs[self.rows[place]].tolist()
            groups[self._cells[place], epoch if epoch == other else None].append(place)
        found = []
        for some in groups.values():
            rows, ends = np.unique(self.rows[some], return_inverse=True)
            found.append(Clique(rows, np.array(some), ends.reshape(-1, 2)))
        return sorted(found, key=lambda clique: len(clique.rows))

    def refuse(self, reason: str) -> None:
        """Leave all open pairs without a value.

        Args:
            reason: Why.
        """
        self.reasons = [known or reason for known in self.reasons]

    def fill(
        self,
        column: str,
        clique: Clique,
        matrix: Float[np.ndarray, "models models"],
        faults: Sequence[str | None],
    ) -> None:
        """Set the numbers of a clique's pairs.

        Args:
            column: Column of the metric.
            clique: The clique.
            matrix: A number for each two of its rows, NaN where undefined.
            faults: For each of its rows why numbers that it is part of are undefined, if they are.
        """
        first, second = clique.ends.T
        numbers = matrix[first, second]
        self._values[column][clique.places] = numbers
        for pair in np.flatnonzero(np.isnan(numbers)):
            place = clique.places[pair]
            self.reasons[place] = self.reasons[place] or faults[first[pair]] or faults[second[pair]]

    def set(self, column: str, numbers: Float[np.ndarray, " pairs"]) -> None:
        """Set the numbers of the open pairs.

        Args:
            column: Column of the metric.
            numbers: One an open pair.
        """
        self._values[column][self.open] = numbers

    def measurement(self) -> Measurement:
        """Lay out what is known.

        Returns:
            Keys, values and reasons.
        """
        return Measurement(measured(self._metric.name, self._keys, self._values, self.reasons))
