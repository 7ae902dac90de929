"""How a stored metric of the Hessian is taken: at fixed items, each missing value with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.datasets import Items
from zoo.errors import UndefinedMetricError
from zoo.metrics.base import Measurement, Subject, measured
from zoo.metrics.networks import landscape_items, networks
from zoo.spec import Column
from zoo.training import NetworkStack

Side = Literal["train", "test"]
Values = dict[str, NDArray[np.float64]]
"""Numbers of all networks by name; infinite or NaN where undefined."""

DERIVATIVES = "derivatives of the loss are not finite"


def derivatives(_values: Values, _row: int) -> str:
    """Say the one reason that most metrics have.

    Returns:
        It.
    """
    return DERIVATIVES


class Look(NamedTuple):
    """Where a metric looks.

    Attributes:
        name: The metric.
        columns: Names of its columns.
        side: Side of the split.
        items: How many of its items.
    """

    name: str
    columns: tuple[str, ...]
    side: Side
    items: int

    @property
    def settings(self) -> dict[str, object]:
        """What decides the loss that is looked at."""
        return {
            "items": f"{self.items} {self.side}, drawn once",
            "labels": "as trained" if self.side == "train" else "true",
            "loss": "cross-entropy",
            "unit": "nats",
            "mode": "eval",
            "augmentation": "none",
            "entries": ["weight", "bias", "norm"],
        }

    def measure(
        self,
        subject: Subject,
        find: Callable[[NetworkStack, Items], Values],
        why: Callable[[Values, int], str] = derivatives,
    ) -> tuple[Measurement, Values]:
        """Measure a subject.

        Args:
            subject: The checkpoints.
            find: Finds the columns, and whatever else.
            why: Says why the network of a row lacks a value although its weights are finite.

        Returns:
            The measurement, and all that was found; nothing where there are too few items.
        """
        try:
            items = landscape_items(subject, self.side, self.items)
        except UndefinedMetricError as error:
            return self._lay_out(subject, {}, [str(error)] * len(subject.weights)), {}
        found = find(networks(subject), items)
        defined = np.all([np.isfinite(found[name]) for name in self.columns], axis=0)
        reasons = [
            None if good else why(found, row) if finite else "weights are not finite"
            for row, (good, finite) in enumerate(zip(defined, subject.finite(), strict=True))
        ]
        return self._lay_out(subject, found, reasons), found

    def _lay_out(self, subject: Subject, found: Values, reasons: list[str | None]) -> Measurement:
        missing = np.full(len(subject.weights), np.nan)
        columns = {name: found.get(name, missing) for name in self.columns}
        values = {name: np.where(np.isfinite(numbers), numbers, np.nan) for name, numbers in columns.items()}
        return Measurement(measured(self.name, subject.checkpoints[["checkpoint_id"]], values, reasons))


def column(name: str, text: str) -> Column:
    """Declare a column of numbers.

    Args:
        name: Name.
        text: Meaning, unit and range.

    Returns:
        The column.
    """
    return Column(name=name, dtype="float64", description=text)
