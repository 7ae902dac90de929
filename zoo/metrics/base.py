"""What every metric takes and gives: a subject, a measurement, and the promises in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Integer
from numpy.typing import NDArray
from torch import nn

from zoo.architectures import build
from zoo.datasets import Dataset, Kind
from zoo.spec import (
    CORE_COLUMNS,
    ArchitectureSpecification,
    Column,
    DatasetSpecification,
    Layout,
    Protocol,
    TableName,
)

Scope = Literal["all", "last"]
"""Which checkpoints a metric is measured on unless asked otherwise: all, or the last of each model."""
Suite = Literal["standard", "ptmz", "yang2021", "farms2025"]
"""Whose protocol it is: ours, or one of a paper, to compare numbers with."""
Series = Mapping[str, Sequence[NDArray[np.floating]]]
"""Arrays by name, one a row of a measurement; those of a row are equally long, empty where undefined."""

KEY_COLUMNS: dict[TableName, tuple[str, ...]] = {
    "checkpoints": ("checkpoint_id",),
    "layers": ("checkpoint_id", "layer", "shape"),
    "pairs": ("cell_id", "checkpoint_a", "checkpoint_b"),
}
"""The columns that begin a measurement, by its table."""

PROPERTIES = {
    "permutation_invariant": "relabelling a model's hidden units, in all checkpoints alike, changes nothing",
    "seed_deterministic": "the same subject gives the same bits again",
    "symmetric": "exchanging the two models of a pair changes nothing",
    "in_unit_interval": "every value that is not missing lies in [0, 1]",
}
"""What a metric may promise; a test holds every metric to what it declares and to what it denies."""


def applicable_properties(table: TableName) -> frozenset[str]:
    """List the properties that a metric of a table must declare or deny.

    Args:
        table: The table.

    Returns:
        All of them for pairs; all but `symmetric` elsewhere.

    Example:
        >>> sorted(applicable_properties("checkpoints"))
        ['in_unit_interval', 'permutation_invariant', 'seed_deterministic']
    """
    return frozenset(PROPERTIES) - (frozenset() if table == "pairs" else {"symmetric"})


@dataclass(frozen=True)
class Subject:
    """What a metric sees: checkpoints of one shard that share layout, architecture and data.

    Whoever builds it keeps cells whole and each model's epoch 0 in it: pairs and distances need them.

    Attributes:
        weights: `(n, n_params)`.
        layout: Layout of the weights.
        architecture: The one architecture of all rows; a layout alone does not tell the activation.
        dataset: The data, with all classes.
        dataset_specification: Which classes and labels the networks were trained on.
        checkpoints: n rows: checkpoint_id, model_id, cell_id, seed, epoch, last_epoch, status, and the
            learning_rate and weight_decay that the network was specified with.
        predictions: Predicted class of every test item, `(n, n_test)`, where already stored.
    """

    weights: Float32[np.ndarray, "checkpoints params"]
    layout: Layout
    architecture: ArchitectureSpecification
    dataset: Dataset
    dataset_specification: DatasetSpecification
    checkpoints: pd.DataFrame
    predictions: Integer[np.ndarray, "checkpoints items"] | None = None

    def skeleton(self) -> nn.Module:
        """Build the network that all rows share.

        Returns:
            The module in eval mode; its own weights carry no meaning.
        """
        return build(self.architecture, self.judged.shape).eval()

    @cached_property
    def judged(self) -> Dataset:
        """What the networks are judged on: their classes alone, true labels."""
        return self.dataset.restricted(self.dataset_specification)

    def rows(self, places: Integer[np.ndarray, " some"]) -> Subject:
        """Take some of the checkpoints.

        Args:
            places: Which rows.

        Returns:
            What a metric sees of them alone.
        """
        return replace(
            self,
            weights=self.weights[places],
            checkpoints=self.checkpoints.iloc[places].reset_index(drop=True),
            predictions=None if self.predictions is None else self.predictions[places],
        )

    def finite(self) -> Bool[np.ndarray, " checkpoints"]:
        """Say which rows hold numbers only.

        Returns:
            `(n,)`, False where a weight is infinite or not a number.
        """
        return np.fromiter((np.isfinite(row).all() for row in self.weights), bool, len(self.weights))


@dataclass(frozen=True)
class Measurement:
    """What a metric found.

    Attributes:
        frame: Key columns of its table, the metric's columns, and `<metric>_reason`.
        predictions: Predicted class of every test item, `(n, n_test)`; of the metric that stores them.
        series: Arrays of each row, such as a spectral density; of a metric that stores some.
    """

    frame: pd.DataFrame
    predictions: Integer[np.ndarray, "checkpoints items"] | None = None
    series: Series | None = None


@dataclass(frozen=True)
class Metric:
    """A metric under a frozen protocol.

    Attributes:
        name: Name.
        protocol_id: Id of its settings; changed settings are a new id.
        table: Table that its columns stand in.
        columns: Its columns, without the reason.
        settings: Whatever decides the numbers.
        properties: What it promises, of `PROPERTIES`.
        compute: From a subject to a measurement.
        kinds: Kinds of datasets that it has a meaning for.
        needs_predictions: Whether it reads the predictions that another metric stores.
        gives_predictions: Whether it is the metric that stores them.
        needs_origin: Whether it compares a checkpoint with its model's epoch 0.
        scope: Which checkpoints it is measured on unless asked otherwise.
        suite: Whose protocol it is.
        series: Folder of the files of its arrays, such as `spectra`; nothing where it has none.
    """

    name: str
    protocol_id: str
    table: TableName
    columns: tuple[Column, ...]
    settings: Mapping[str, Any]
    properties: frozenset[str]
    compute: Callable[[Subject], Measurement]
    kinds: frozenset[Kind] = frozenset(get_args(Kind))
    needs_predictions: bool = False
    gives_predictions: bool = False
    needs_origin: bool = False
    scope: Scope = "all"
    suite: Suite = "standard"
    series: str | None = None
    denied: frozenset[str] = field(default=frozenset())
    """What it does not promise; with `properties`, all that applies to its table."""

    @property
    def reason(self) -> Column:
        """The column that says why a value is missing."""
        text = f"why a value of {self.name} is missing; missing where all are defined"
        return Column(name=f"{self.name}_reason", dtype="string", description=text)

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """Every column of a measurement, as its file has them: keys, values, reason."""
        keys = KEY_COLUMNS[self.table]
        return (*(c for c in CORE_COLUMNS[self.table] if c.name in keys), *self.columns, self.reason)

    def protocol(self) -> Protocol:
        """Write down what decides the numbers.

        Returns:
            The protocol, as the manifest stores it under `protocol_id`.
        """
        return Protocol(
            metric=self.name,
            table=self.table,
            columns=(*self.columns, self.reason),
            settings=dict(self.settings),
        )


def measured(
    name: str, keys: pd.DataFrame, values: Mapping[str, NDArray[np.floating]], reasons: Sequence[str | None]
) -> pd.DataFrame:
    """Lay out a measurement's table.

    Args:
        name: Name of the metric.
        keys: Key columns of its table.
        values: Numbers by column, NaN where undefined.
        reasons: Why a row's value is undefined; nothing where all are defined.

    Returns:
        The table: keys, values, `<name>_reason`.

    Example:
        >>> keys = pd.DataFrame({"checkpoint_id": ["a@0"]})
        >>> measured("rank", keys, {"rank": np.array([2.0])}, [None]).columns.tolist()
        ['checkpoint_id', 'rank', 'rank_reason']
    """
    columns = {column: np.asarray(numbers, dtype=np.float64) for column, numbers in values.items()}
    text = pd.array(list(reasons), dtype="str")
    return keys.reset_index(drop=True).assign(**columns, **{f"{name}_reason": text})
