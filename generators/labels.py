"""The labels that noise replaced, recorded item by item."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from zoo import datasets
from zoo.spec import LABEL_COLUMNS, LABELS, DatasetSpecification
from zoo.storage import Entry, Journal, commit, parquet_bytes, read_journal, write_file


def wrong_labels(specs: Iterable[DatasetSpecification]) -> pd.DataFrame:
    """List every training item whose label noise replaced.

    Args:
        specs: The datasets of a zoo's models; equal ones count once.

    Returns:
        A row for each dataset and item: `dataset`, `item`, `label`, `trained_label`, sorted by the first two.
    """
    noisy = {spec.labels_key: spec for spec in specs if spec.label_noise}
    frames = [_of(key, noisy[key]) for key in sorted(noisy)]
    names = [column.name for column in LABEL_COLUMNS]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def _of(key: str, spec: DatasetSpecification) -> pd.DataFrame:
    data = datasets.load(spec)
    true = data.training_labels(spec.model_copy(update={"label_noise": 0.0}))
    trained = data.training_labels(spec)
    items = (true != trained).nonzero()[:, 0]
    columns = {"item": items, "label": true[items], "trained_label": trained[items]}
    return pd.DataFrame({"dataset": key, **{name: tensor.numpy() for name, tensor in columns.items()}})


def record_labels(root: Path, specs: Iterable[DatasetSpecification]) -> None:
    """Write the wrong labels of a zoo, unless it has none or they are written.

    Args:
        root: The zoo.
        specs: The datasets of its models.

    Raises:
        StorageError: The disk is full.
    """
    frame = wrong_labels(specs)
    if frame.empty:
        return
    data, path = parquet_bytes(frame, LABEL_COLUMNS), root / LABELS
    known = (read_journal(root) or Journal({}, 0)).entries.get(LABELS)
    written = known is not None and known.record.sha256 == hashlib.sha256(data).hexdigest()
    if written and path.is_file() and path.read_bytes() == data:
        return
    record = write_file(path, data, rows=len(frame))
    commit(root, Entry(kind="labels", path=LABELS, shard=LABELS, record=record))
