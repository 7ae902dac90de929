"""Tables and weight maps of a zoo on disk, shared by all of its views, and checked when first read."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from zoo.assembly import table_columns
from zoo.errors import IntegrityError, UnsafeFileError, unknown_name
from zoo.spec import ADDED_COLUMNS, KEYS, Manifest, TableName
from zoo.storage import Arrays, read_parquet, read_series
from zoo.weights import WeightReader

_SERIES = re.compile(r"(?!weights/|predictions/)[a-z]+/[a-z0-9_]+-.*\.h5")
"""Files of arrays: `<folder>/<metric>-<shard>.h5`."""


class Store:
    """What a zoo and its views read from.

    Args:
        root: The zoo's folder.
        manifest: Its manifest.
        tables: Tables that are not on disk yet, because generation goes on.
    """

    def __init__(self, root: Path, manifest: Manifest, tables: dict[TableName, pd.DataFrame] | None) -> None:
        self._root = root
        self._manifest = manifest
        self._tables = dict(tables or {})
        self.reader = WeightReader(root, manifest.files)

    def table(self, name: TableName) -> pd.DataFrame:
        """Read a table, once.

        Args:
            name: The table.

        Returns:
            All of its rows.

        Raises:
            IntegrityError: The file is missing or damaged, or a row stands twice.
            UnsafeFileError: A checkpoint points to a shard or row that the zoo does not have.
        """
        if name not in self._tables:
            path = f"{name}.parquet"
            columns = table_columns(name, self._manifest.axes, self._manifest.protocols.values())
            record = self._manifest.files.get(path)
            rows = record.rows if record else None
            frame = read_parquet(self._root / path, columns, rows=rows, optional=ADDED_COLUMNS.get(name, ()))
            _check_keys(self._root / path, frame, KEYS[name])
            if name == "checkpoints":
                _check_places(self._root / path, frame, self._manifest)
            self._tables[name] = frame
        return self._tables[name]

    def series(self, metric: str) -> dict[tuple[str, ...], Arrays]:
        """Read the arrays that a metric stores for each of its rows.

        Args:
            metric: Its name.

        Returns:
            Arrays by name, by the values of the key columns.

        Raises:
            UnknownNameError: The zoo has no arrays of this metric.
            IntegrityError: A file is missing or damaged.
            UnsafeFileError: A file is not a plain shard.
            FormatError: Its arrays do not fit each other.
        """
        known: dict[str, list[str]] = {}
        for name in filter(_SERIES.fullmatch, self._manifest.files):
            known.setdefault(Path(name).name.partition("-")[0], []).append(name)
        found: dict[tuple[str, ...], Arrays] = {}
        for name in known.get(metric, []):
            found |= read_series(self._root / name, self._manifest.files[name])
        if metric not in known:
            way_out = f"(`phasezoo measure {self._root}` stores some)"
            raise unknown_name("metric with arrays", metric, known, way_out=way_out)
        return found


def _check_keys(path: Path, frame: pd.DataFrame, keys: tuple[str, ...]) -> None:
    twice = frame.duplicated(list(keys))
    if twice.any():
        example = ", ".join(str(frame.loc[twice, key].iloc[0]) for key in keys)
        raise IntegrityError(f"{path} has {twice.sum()} rows twice, such as {example}; fetch the zoo again")


def _check_places(path: Path, frame: pd.DataFrame, manifest: Manifest) -> None:
    """Refuse rows that point outside of the zoo's own shards: the table may come from anyone."""
    known = {name: record.rows or 0 for name, record in manifest.files.items()}
    rows = frame["shard"].map(known).astype("Float64")  # of no rows at all it would be text
    astray = rows.isna() | (frame["row"] < 0) | (frame["row"] >= rows)
    if astray.any():
        first = frame[astray].iloc[0]
        raise UnsafeFileError(
            f"{path}: {first['checkpoint_id']} points to row {first['row']} of {first['shard']!r}, which the "
            "manifest does not have; fetch the zoo again from a source that you trust"
        )
