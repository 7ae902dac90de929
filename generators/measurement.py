"""Measure: every metric on every shard, resumable, each value beside the id of its protocol."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo import Zoo, datasets
from zoo import open as open_zoo
from zoo.assembly import read_manifest, write_assembly
from zoo.errors import FormatError, SpecificationError, unknown_name
from zoo.metrics import Metric, Subject, all_metrics
from zoo.report.progress import progress_bar
from zoo.spec import FileRecord, ModelSpecification
from zoo.storage import Entry, Journal, commit, parquet_bytes, read_journal, write_file, writer_lock
from zoo.storage.weights import WeightShard, read_predictions, read_weights, write_predictions


def measure(out: str | Path, *, metrics: Sequence[str] | Literal["all"] = "all", locked: bool = False) -> Zoo:
    """Measure a zoo; what has been measured under the same protocol is kept.

    Args:
        out: Folder of the zoo.
        metrics: Names of metrics, or `all`.
        locked: Whether the caller already holds the writer's lock.

    Returns:
        The zoo with its new columns.

    Raises:
        UnknownNameError: No metric has this name.
        SpecificationError: A metric has no meaning for the kind of data of this zoo.
        IntegrityError: The folder holds no zoo.
        FormatError: The zoo was published: its tables are final.
        StorageError: The disk is full, or another process writes to the folder.
    """
    root = Path(out)
    chosen = _choose(metrics, recipe_kind(read_manifest(root).recipe))
    with nullcontext() if locked else writer_lock(root):
        journal = read_journal(root)
        if journal is None:
            raise FormatError(f"{root} has no journal: it was published, and its tables are final")
        pending = [
            (e, m) for e in journal.of_kind("weights") for m in chosen if not _is_done(root, e, m, journal)
        ]
        with progress_bar() as progress:
            for entry, metric in progress.track(pending, description="measuring"):
                _measure_shard(root, entry, metric)
        write_assembly(root)
    return open_zoo(root)


def recipe_kind(recipe: Mapping[str, Any]) -> datasets.Kind:
    """Say what a zoo's data ask of its networks.

    Args:
        recipe: The recipe, as the manifest stores it.

    Returns:
        The kind of its datasets, which is one.
    """
    axes = {field: values for fields in recipe["axes"].values() for field, values in fields.items()}
    name = recipe["dataset"].get("name") or axes["dataset.name"][0]
    return datasets.family(str(name)).kind


def first_metric(kind: datasets.Kind) -> str:
    """Name the metric that every zoo is measured by.

    Args:
        kind: What its data ask.

    Returns:
        `solution` for an equation, else `evaluation`.
    """
    return "solution" if kind == "convection" else "evaluation"


def _choose(metrics: Sequence[str] | Literal["all"], kind: datasets.Kind) -> list[Metric]:
    """Look the metrics up, those that store predictions first; all are those that mean something here."""
    known = all_metrics()
    fitting = [name for name, metric in known.items() if kind in metric.kinds]
    names = fitting if metrics == "all" else list(metrics)
    for name in names:
        if name not in known:
            raise unknown_name("metric", name, known)
        if name not in fitting:
            raise SpecificationError(
                f"the metric {name!r} has no meaning for this zoo, whose data are of the kind {kind}; "
                f"choose among {', '.join(fitting)}"
            )
    return sorted((known[name] for name in names), key=lambda metric: metric.needs_predictions)


def _part(shard: str, metric: Metric) -> str:
    return f"parts/{metric.protocol_id}/{Path(shard).stem}.parquet"


def _predictions(shard: str) -> str:
    return f"predictions/{Path(shard).stem}.h5"


def _is_done(root: Path, shard: Entry, metric: Metric, journal: Journal) -> bool:
    """Say whether this shard's weights, as they are now, were measured under this protocol."""
    part = journal.entries.get(_part(shard.path, metric))
    stored = [part, journal.entries.get(_predictions(shard.path))] if metric.gives_predictions else [part]
    return all(
        entry is not None
        and entry.of == shard.record.sha256
        and (root / entry.path).is_file()
        and (root / entry.path).stat().st_size == entry.record.bytes
        for entry in stored
    )


def _measure_shard(root: Path, shard: Entry, metric: Metric) -> None:
    start = time.perf_counter()
    content = read_weights(root / shard.path, shard.record)
    stored = root / _predictions(shard.path)
    known = read_predictions(stored) if metric.needs_predictions and stored.exists() else None
    frames, predicted = [], []
    for places, subject in subjects(content, known):
        measured = metric.compute(subject)
        frames.append(measured.frame)
        if measured.predictions is not None:
            predicted.append((places, measured.predictions))
    if predicted:
        ids = content.checkpoints["checkpoint_id"].tolist()
        record = write_predictions(stored, ids, _scatter(predicted))
        _commit(root, shard, _predictions(shard.path), record)
    columns = metric.stored_columns
    frame = (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[c.name for c in columns])
    )
    path = _part(shard.path, metric)
    record = write_file(root / path, parquet_bytes(frame, columns), rows=len(frame))
    _commit(root, shard, path, record, metric=metric, seconds=time.perf_counter() - start)


def _commit(
    root: Path,
    shard: Entry,
    path: str,
    record: FileRecord,
    *,
    metric: Metric | None = None,
    seconds: float = 0.0,
) -> None:
    entry = Entry(
        kind="measurement" if metric else "predictions",
        path=path,
        shard=shard.path,
        of=shard.record.sha256,
        record=record,
        protocol=metric.protocol() if metric else None,
        protocol_id=metric.protocol_id if metric else None,
        seconds=round(seconds, 3),
    )
    commit(root, entry)


def _scatter(parts: Iterable[tuple[NDArray[np.intp], NDArray[np.integer]]]) -> NDArray[np.integer]:
    """Put the groups' rows back to where they stand in the shard, shorter ones filled up at their end."""
    # networks that know other classes are judged on other test items, and these may be fewer
    listed = list(parts)
    dtype = np.result_type(*(rows.dtype for _, rows in listed))
    shape = (sum(len(places) for places, _ in listed), max(rows.shape[1] for _, rows in listed))
    merged = np.full(shape, np.iinfo(dtype).max, dtype)
    for places, rows in listed:
        merged[places, : rows.shape[1]] = rows
    return merged


def subjects(
    shard: WeightShard, predictions: NDArray[np.integer] | None
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
            judged = predictions[places, : subject.judged.test.y.numel()]
            subject = replace(subject, predictions=judged)
        yield places, subject
