"""Measuring as a task: one metric on the checkpoints of one shard that lack it, some cells at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generators.engine import Hooks, Interrupted
from zoo import datasets
from zoo.metrics import Metric, Series, Subject, get
from zoo.spec import FileRecord, ModelSpecification
from zoo.storage.weights import WeightShard, read_predictions, read_weights

CELLS_AT_ONCE = 16
"""Cells that a metric sees together: enough to fill its stacks, few enough to stop between them."""


@dataclass(frozen=True)
class Found:
    """What a metric found on some checkpoints.

    Attributes:
        frame: Keys, values, reason.
        series: Arrays of each row by name; nothing where the metric has none.
        predictions: Places in the shard, and predicted classes of the test items; of the metric that gives
            them.
        seconds: Wall time that it took.
    """

    frame: pd.DataFrame
    series: Series | None = None
    predictions: tuple[NDArray[np.intp], NDArray[np.integer[Any]]] | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Measuring:
    """One metric on one shard.

    Attributes:
        root: The zoo.
        shard: Path of the shard in it.
        record: What the journal says of the shard.
        metric: Name of the metric.
        wanted: Checkpoints to measure; pairs are made of these alone.
        content: The shard and its predictions, for a worker that cannot read them.
        state: Nothing: it keeps none.
    """

    root: Path
    shard: str
    record: FileRecord
    metric: str
    wanted: frozenset[str]
    content: tuple[WeightShard, NDArray[np.integer[Any]] | None] | None = None
    state: None = None

    @property
    def name(self) -> str:
        """The metric and the shard."""
        return f"{self.metric} of {self.shard}"

    @property
    def size(self) -> int:
        """Numbers in the weights to measure."""
        return len(self.wanted) * self.record.bytes // max(self.record.rows or 1, 1)

    def portable(self) -> Measuring:
        """Give the same with the shard in it."""
        shard, predictions = self._read()
        whole = replace(shard, weights=np.array(shard.weights))
        return replace(self, content=(whole, None if predictions is None else np.array(predictions)))

    def with_state(self, _state: Path) -> Measuring:
        """Give the same: it keeps no state."""
        return self

    def _read(self) -> tuple[WeightShard, NDArray[np.integer[Any]] | None]:
        if self.content is not None:
            return self.content
        stored = self.root / predictions_path(self.shard)
        known = stored.exists() and get(self.metric).needs_predictions
        return read_weights(self.root / self.shard, self.record), read_predictions(stored) if known else None

    def run(self, hooks: Hooks) -> list[Any]:
        """Measure, some cells at a time, and tell what each part found.

        Args:
            hooks: Told each part's `Found`; asked before each whether to stop.

        Returns:
            Nothing: all has been told. On a cluster, which hears of whole tasks only, everything.

        Raises:
            Interrupted: It was asked to stop; what was told is whole.
        """
        metric, untold = get(self.metric), []
        for found in self._parts(metric, hooks):
            if self.content is None:
                hooks.on_progress(found)
            else:
                untold.append(found)
        return untold

    def _parts(self, metric: Metric, hooks: Hooks) -> Iterator[Found]:
        for places, subject in subjects(*self._read()):
            for rows in self._batches(metric, subject.checkpoints):
                if hooks.should_stop():
                    raise Interrupted
                begin = time.perf_counter()
                measured = metric.compute(subject.rows(rows))
                frame, series = measured.frame, measured.series
                if metric.needs_origin:
                    frame = frame[frame["checkpoint_id"].isin(self.wanted)]
                told = None if measured.predictions is None else (places[rows], measured.predictions)
                yield Found(frame.reset_index(drop=True), series, told, time.perf_counter() - begin)

    def _batches(self, metric: Metric, checkpoints: pd.DataFrame) -> Iterator[NDArray[np.intp]]:
        """List the rows to measure at once; a metric that gives predictions takes the whole shard."""
        wanted = checkpoints["checkpoint_id"].isin(self.wanted).to_numpy()
        if metric.gives_predictions:
            yield np.arange(len(checkpoints))
            return
        if metric.needs_origin:
            wanted = checkpoints["model_id"].isin(checkpoints.loc[wanted, "model_id"]).to_numpy()
        cell, _ = pd.factorize(checkpoints["cell_id"])
        for batch in np.unique(cell[wanted] // CELLS_AT_ONCE):
            yield np.flatnonzero(wanted & (cell // CELLS_AT_ONCE == batch))


def predictions_path(shard: str) -> str:
    """Name the file of predictions that goes with a shard.

    Args:
        shard: Path of the shard in the zoo.

    Returns:
        Path in the zoo.

    Example:
        >>> predictions_path("weights/mlp-10-abcdef01-00000.h5")
        'predictions/mlp-10-abcdef01-00000.h5'
    """
    return f"predictions/{Path(shard).stem}.h5"


def subjects(
    shard: WeightShard, predictions: NDArray[np.integer[Any]] | None
) -> Iterator[tuple[NDArray[np.intp], Subject]]:
    """Cut a shard into what one metric call can see: one architecture on one dataset.

    Args:
        shard: The shard.
        predictions: Predicted classes of its rows, where already stored.

    Yields:
        Places in the shard, and the subject that these rows make up.
    """
    models = pd.DataFrame(shard.models)
    specs = {m["model_id"]: ModelSpecification.model_validate_json(m["specification"]) for m in shard.models}
    rows = shard.checkpoints.merge(models[["model_id", "cell_id", "seed", "status"]], on="model_id")
    rows["last_epoch"] = rows.groupby("model_id")["epoch"].transform("max")
    for field in ("learning_rate", "weight_decay"):
        rows[field] = rows["model_id"].map({m: getattr(s.training, field) for m, s in specs.items()})
    kinds = {m: (s.architecture.model_dump_json(), s.dataset.model_dump_json()) for m, s in specs.items()}
    for _, group in rows.groupby(rows["model_id"].map(kinds), sort=False):
        places = group.index.to_numpy()
        spec = specs[group["model_id"].iloc[0]]
        subject = Subject(
            weights=shard.weights[places],
            layout=shard.layout,
            architecture=spec.architecture,
            dataset=datasets.load(spec.dataset),
            dataset_specification=spec.dataset,
            checkpoints=group.reset_index(drop=True),
        )
        if predictions is not None:
            subject = replace(subject, predictions=predictions[places, : subject.judged.test.y.numel()])
        yield places, subject
