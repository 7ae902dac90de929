"""Arrays that a metric stores for each row, such as spectral densities: ragged, in one file a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.errors import FormatError
from zoo.spec import FileRecord
from zoo.storage.shards import ATTRIBUTES, Shard, open_shard, write_shard

_OFFSETS, _KEY = "offsets", "key_"
Arrays = dict[str, NDArray[np.float64]]
"""The arrays of one row by name, all equally long."""


def write_series(
    path: Path, keys: pd.DataFrame, series: Mapping[str, Sequence[NDArray[np.floating]]], *, protocol_id: str
) -> FileRecord:
    """Write the arrays of some rows one after another.

    Args:
        path: The file.
        keys: The key columns of the rows, text.
        series: Arrays by name, one a row; those of a row are equally long.
        protocol_id: How they were measured.

    Returns:
        Size, digest and rows.

    Raises:
        FormatError: The arrays of a row are not equally long.
    """
    lengths = {name: [len(array) for array in arrays] for name, arrays in series.items()}
    first = next(iter(lengths.values()))
    for name, found in lengths.items():
        if found != first:
            raise FormatError(
                f"{path}: expected arrays that are equally long in each row, got other lengths of {name!r} "
                f"than of {next(iter(lengths))!r}; store them as two metrics"
            )
    arrays: dict[str, NDArray[np.generic]] = {
        f"{_KEY}{name}": np.array([str(value).encode() for value in keys[name]], dtype="S" if first else "S1")
        for name in keys
    }
    arrays[_OFFSETS] = np.concatenate([[0], np.cumsum(first, dtype=np.int64)]).astype(np.int64)
    for name, values in series.items():
        arrays[name] = np.concatenate([np.empty(0), *values]).astype(np.float64)
    return write_shard(path, arrays, text={**ATTRIBUTES, "protocol": protocol_id}, rows=len(first))


def read_series(path: Path, record: FileRecord | None = None) -> dict[tuple[str, ...], Arrays]:
    """Read what `write_series` wrote; anyone may have written the file.

    Args:
        path: The file.
        record: What the manifest says of it, if known.

    Returns:
        Arrays of each row by the values of its key columns, views of the mapped file.

    Raises:
        IntegrityError: The file is missing, truncated or not HDF5.
        UnsafeFileError: It is not a plain shard.
        FormatError: Its arrays do not fit each other.
    """
    shard = open_shard(path, record)
    offsets = shard.array(_OFFSETS)
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        raise FormatError(
            f"{path}: expected whole numbers in a row as offsets, got {offsets.dtype} of shape "
            f"{offsets.shape}; fetch the zoo again"
        )
    keys = [_text(shard, name) for name in shard.datasets if name.startswith(_KEY)]
    names = [name for name in shard.datasets if name != _OFFSETS and not name.startswith(_KEY)]
    columns = {name: shard.array(name) for name in names}
    _check(path, offsets, keys, columns)
    bounds = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    return {
        key: {name: np.asarray(columns[name][start:end], np.float64) for name in names}
        for key, (start, end) in zip(zip(*keys, strict=True), bounds, strict=True)
    }


def _text(shard: Shard, name: str) -> list[str]:
    values = shard.array(name)
    if values.ndim != 1 or values.dtype.kind != "S":
        raise FormatError(
            f"{shard.path}: expected bytes in {name!r}, got {values.dtype} of shape {values.shape}; "
            "fetch the zoo again"
        )
    return [value.decode("utf-8", errors="replace") for value in values.tolist()]


def _check(
    path: Path,
    offsets: NDArray[np.generic],
    keys: list[list[str]],
    columns: Mapping[str, NDArray[np.generic]],
) -> None:
    rows = len(offsets) - 1
    whole = rows >= 0 and not (np.diff(offsets.astype(np.int64)) < 0).any() and int(offsets[0]) == 0
    if not whole or any(len(key) != rows for key in keys) or not keys or not columns:
        raise FormatError(
            f"{path}: expected arrays, and ascending offsets from 0, one more than keys; fetch the zoo again"
        )
    for name, values in columns.items():
        if values.dtype != np.dtype("<f8") or values.shape != (int(offsets[-1]),):
            raise FormatError(
                f"{path}: expected {int(offsets[-1])} float64 in {name!r} as the offsets say, got "
                f"{values.dtype} of shape {values.shape}; fetch the zoo again"
            )
