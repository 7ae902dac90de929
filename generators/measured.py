"""What is stored of one metric on one shard: rows by key, and the arrays that go with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generators.measuring import Found
from zoo.errors import FormatError, IntegrityError, UnsafeFileError
from zoo.metrics import KEY_COLUMNS, Metric, all_metrics, model_pairs
from zoo.spec import FileRecord
from zoo.storage import (
    Entry,
    Journal,
    commit,
    enter,
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
            The rows; nothing where none were ever stored, or where their file is lost. Without arrays where
            the file of these is.
        """
        part, arrays = _stored(journal, shard, metric)
        if part is None or not _is_whole(root, part, shard):
            return None
        try:
            frame = read_parquet(root / part.path, metric.stored_columns, rows=part.record.rows)
        except (IntegrityError, FormatError):
            return None  # damaged: measured anew
        kept = arrays is not None and _is_whole(root, arrays, shard)
        series = read_series(root / arrays.path, arrays.record) if arrays is not None and kept else {}
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

    def write(self, root: Path, journal: Journal, shard: Entry, metric: Metric) -> None:
        """Store it in new files, and write them down: arrays first, then the rows they go with.

        Args:
            root: The zoo.
            journal: Its journal; takes the new entries.
            shard: Entry of the weight shard.
            metric: The metric.
        """
        known = [entry for entry in _stored(journal, shard, metric) if entry is not None]
        number = max((_number(entry.path) + 1 for entry in known), default=0)
        if metric.series is not None:
            path = f"{metric.series}/{metric.name}-{_name(shard, number)}.h5"
            record = self._write_series(root / path, metric)
            _commit(root, journal, Entry(**_fields("series", path, shard, metric), record=record))
        path = f"parts/{metric.protocol_id}/{_name(shard, number)}.parquet"
        content = parquet_bytes(self.frame, metric.stored_columns)
        record = write_file(root / path, content, rows=len(self.frame))
        entry = Entry(
            **_fields("measurement", path, shard, metric),
            record=record,
            protocol=metric.protocol(),
            seconds=round(self.seconds, 3),
        )
        _commit(root, journal, entry)

    def _write_series(self, path: Path, metric: Metric) -> FileRecord:
        names = sorted({name for arrays in self.series.values() for name in arrays}) or ["values"]
        there = [key in self.series for key in _keys(self.frame)]  # some may be lost
        keys = self.frame.loc[there, list(KEY_COLUMNS[metric.table])]
        rows = _keys(keys)
        series = {name: [self.series[key].get(name, np.empty(0)) for key in rows] for name in names}
        return write_series(path, keys, series, protocol_id=metric.protocol_id)


def remove_replaced(root: Path, journal: Journal) -> None:
    """Delete files of measurements that the journal does not speak of: replaced, or left by a killed writer.

    Args:
        root: The zoo.
        journal: Its journal.

    Raises:
        UnsafeFileError: A folder of measurements is a link to another place.
    """
    folders = {"parts", *(metric.series for metric in all_metrics().values() if metric.series)}
    for folder in sorted(folders):
        if (root / folder).is_symlink():
            raise UnsafeFileError(
                f"{root / folder} is a link, expected a folder of this zoo; remove the link, and do not use "
                "this zoo unless you trust its source"
            )
        for path in (root / folder).rglob("*"):  # which does not follow links
            if path.is_file() and path.relative_to(root).as_posix() not in journal.entries:
                path.unlink()


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
    frame = known.frame
    if metric.series is not None:  # rows whose arrays are lost are measured again
        frame = frame[[key in known.series for key in _keys(frame)]]
    if metric.table != "pairs":
        return frozenset(rows["checkpoint_id"]) - set(frame["checkpoint_id"])
    pairs = model_pairs(rows)
    there = {tuple(row) for row in frame[["checkpoint_a", "checkpoint_b"]].itertuples(index=False)}
    lacking = [
        pair for pair in zip(pairs["checkpoint_a"], pairs["checkpoint_b"], strict=True) if pair not in there
    ]
    return frozenset(checkpoint for pair in lacking for checkpoint in pair)


def _stored(journal: Journal | None, shard: Entry, metric: Metric) -> tuple[Entry | None, Entry | None]:
    """Find the entries of a metric's rows and arrays on a shard."""
    found: dict[str, Entry] = {}
    for entry in journal.entries.values() if journal else ():
        if entry.shard == shard.path and entry.protocol_id == metric.protocol_id:
            found[entry.kind] = entry
    return found.get("measurement"), found.get("series")


def _fields(
    kind: Literal["measurement", "series"], path: str, shard: Entry, metric: Metric
) -> dict[str, Any]:
    return {
        "kind": kind,
        "path": path,
        "shard": shard.path,
        "of": shard.record.sha256,
        "protocol_id": metric.protocol_id,
    }


def _commit(root: Path, journal: Journal, entry: Entry) -> None:
    commit(root, entry)
    enter(journal.entries, entry)


def _name(shard: Entry, number: int) -> str:
    return Path(shard.path).stem + (f".{number}" if number else "")


def _number(path: str) -> int:
    found = re.search(r"\.([0-9]+)\.[a-z0-9]+$", path)
    return int(found[1]) if found else 0


def _is_whole(root: Path, entry: Entry, shard: Entry) -> bool:
    path = root / entry.path
    return entry.of == shard.record.sha256 and path.is_file() and path.stat().st_size == entry.record.bytes


def _keys(frame: pd.DataFrame) -> list[Key]:
    names = [name for keys in KEY_COLUMNS.values() for name in keys if name in frame]
    return list(frame[list(dict.fromkeys(names))].astype(str).itertuples(index=False, name=None))


def _are_in(frame: pd.DataFrame, keys: set[Key]) -> NDArray[np.bool_]:
    return np.array([key in keys for key in _keys(frame)], bool)
