"""What is stored of one metric on one shard: rows by key, and the arrays that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generators.measuring import Found
from zoo.metrics import KEY_COLUMNS, Metric, model_pairs
from zoo.storage import (
    Entry,
    Journal,
    commit,
    parquet_bytes,
    read_parquet,
    read_series,
    write_file,
    write_series,
)

Key = tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """Rows of a measurement, each key once.

    Attributes:
        frame: Keys, values, reason.
        series: Arrays of rows by key, and by name.
        seconds: Wall time that all of it took.
    """

    frame: pd.DataFrame
    series: dict[Key, dict[str, NDArray[np.float64]]]
    seconds: float = 0.0

    @classmethod
    def nothing(cls, metric: Metric) -> Measured:
        """Begin with no row.

        Args:
            metric: The metric.

        Returns:
            An empty table with its columns.
        """
        return cls(pd.DataFrame(columns=[column.name for column in metric.stored_columns]), {})

    @classmethod
    def read(cls, root: Path, journal: Journal | None, shard: Entry, metric: Metric) -> Measured | None:
        """Read what is stored of a shard's weights as they are now, under the metric's protocol.

        Args:
            root: The zoo.
            journal: Its journal.
            shard: Entry of the weight shard.
            metric: The metric.

        Returns:
            The rows; nothing where none were ever stored, or where a file is lost.
        """
        entries = {} if journal is None else journal.entries
        part = entries.get(part_path(shard.path, metric))
        stored = [part] if metric.series is None else [part, entries.get(series_path(shard.path, metric))]
        if not all(entry is not None and _is_whole(root, entry, shard) for entry in stored):
            return None
        assert part is not None
        frame = read_parquet(root / part.path, metric.stored_columns, rows=part.record.rows)
        series = {} if metric.series is None else read_series(root / series_path(shard.path, metric))
        return cls(frame, series, part.seconds)

    def joined(self, found: Found) -> Measured:
        """Add what was found; it replaces rows of the same keys.

        Args:
            found: More rows.

        Returns:
            All rows.
        """
        keys = _keys(found.frame)
        kept = self.frame[~_are_in(self.frame, set(keys))] if len(self.frame) else self.frame
        frame = found.frame if kept.empty else pd.concat([kept, found.frame], ignore_index=True)
        added = {
            key: {name: np.asarray(arrays[row], np.float64) for name, arrays in (found.series or {}).items()}
            for row, key in enumerate(keys)
        }
        series = {**self.series, **added} if found.series else self.series
        return Measured(frame, series, self.seconds + found.seconds)

    def write(self, root: Path, shard: Entry, metric: Metric) -> None:
        """Store it, and write it down in the journal: arrays first, then the rows that speak of them.

        Args:
            root: The zoo.
            shard: Entry of the weight shard.
            metric: The metric.
        """
        keys = list(_key_columns(metric))
        if metric.series is not None:
            path, rows = series_path(shard.path, metric), _keys(self.frame)
            names = sorted({name for arrays in self.series.values() for name in arrays}) or ["values"]
            series = {
                name: [self.series.get(key, {}).get(name, np.empty(0)) for key in rows] for name in names
            }
            record = write_series(root / path, self.frame[keys], series, protocol_id=metric.protocol_id)
            commit(
                root,
                Entry(kind="series", path=path, shard=shard.path, of=shard.record.sha256, record=record),
            )
        path = part_path(shard.path, metric)
        record = write_file(
            root / path, parquet_bytes(self.frame, metric.stored_columns), rows=len(self.frame)
        )
        entry = Entry(
            kind="measurement",
            path=path,
            shard=shard.path,
            of=shard.record.sha256,
            record=record,
            protocol=metric.protocol(),
            protocol_id=metric.protocol_id,
            seconds=round(self.seconds, 3),
        )
        commit(root, entry)


def missing_rows(metric: Metric, rows: pd.DataFrame, known: Measured | None) -> frozenset[str]:
    """Say which checkpoints have to be measured so that all rows are there.

    Args:
        metric: The metric.
        rows: The checkpoints asked for: checkpoint_id, model_id, cell_id, seed, epoch, last_epoch, status.
        known: What is stored.

    Returns:
        Ids of the checkpoints; for pairs all of a cell at an epoch that lacks a pair.
    """
    if known is None:
        return frozenset(rows["checkpoint_id"])
    if metric.table != "pairs":
        return frozenset(rows["checkpoint_id"]) - set(known.frame["checkpoint_id"])
    pairs = model_pairs(rows)
    there = {tuple(row) for row in known.frame[["checkpoint_a", "checkpoint_b"]].itertuples(index=False)}
    lacking = [
        pair for pair in zip(pairs["checkpoint_a"], pairs["checkpoint_b"], strict=True) if pair not in there
    ]
    return frozenset(checkpoint for pair in lacking for checkpoint in pair)


def part_path(shard: str, metric: Metric) -> str:
    """Name the file of a measurement: `parts/<protocol>/<shard>.parquet`."""
    return f"parts/{metric.protocol_id}/{Path(shard).stem}.parquet"


def series_path(shard: str, metric: Metric) -> str:
    """Name the file of the arrays of a measurement: `<folder>/<metric>-<shard>.h5`."""
    return f"{metric.series}/{metric.name}-{Path(shard).stem}.h5"


def _is_whole(root: Path, entry: Entry, shard: Entry) -> bool:
    path = root / entry.path
    return entry.of == shard.record.sha256 and path.is_file() and path.stat().st_size == entry.record.bytes


def _key_columns(metric: Metric) -> tuple[str, ...]:
    return KEY_COLUMNS[metric.table]


def _keys(frame: pd.DataFrame) -> list[Key]:
    names = [name for keys in KEY_COLUMNS.values() for name in keys if name in frame]
    return list(frame[list(dict.fromkeys(names))].astype(str).itertuples(index=False, name=None))


def _are_in(frame: pd.DataFrame, keys: set[Key]) -> NDArray[np.bool_]:
    return np.array([key in keys for key in _keys(frame)], bool)
