"""Parquet tables with a fixed schema, page checksums, and no trace of the library that wrote them."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from zoo.errors import FormatError, IntegrityError
from zoo.spec import Column

_TYPES = {"string": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "float64": pa.float64()}


def parquet_bytes(frame: pd.DataFrame, columns: Sequence[Column]) -> bytes:
    """Write a table as Parquet; equal content gives equal bytes.

    Args:
        frame: Has at least these columns.
        columns: The columns to write, in this order.

    Returns:
        The bytes of the file. Missing numbers are stored as nulls.
    """
    schema = pa.schema([(column.name, _TYPES[column.dtype]) for column in columns])
    arrays = [pa.Array.from_pandas(frame[c.name], type=_TYPES[c.dtype]) for c in columns]
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd", write_page_checksum=True
    )
    return sink.getvalue()


def read_parquet(
    path: Path, columns: Sequence[Column], *, rows: int | None = None, optional: Collection[Column] = ()
) -> pd.DataFrame:
    """Read a table that anyone may have written.

    Args:
        path: The file.
        columns: Columns that it must have; more are kept.
        rows: How many rows it must have, known before any is read.
        optional: Those of them that it may lack, being older; they are missing for all rows then.

    Returns:
        The table; text columns as strings, missing values as NaN.

    Raises:
        IntegrityError: The file is missing, truncated or damaged.
        FormatError: Columns are missing or of another type, or it has another number of rows.
    """
    try:
        # pyarrow names a damaged page only when asked to look at the checksums
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check(path, file, columns, rows, optional)
            table = file.read()
            for column in (column for column in optional if column.name not in table.column_names):
                table = table.append_column(column.name, pa.nulls(len(table), _TYPES[column.dtype]))
    except FileNotFoundError:
        raise IntegrityError(
            f"{path} is missing; run `phasezoo verify` on the zoo, then fetch it again"
        ) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{path} cannot be read as Parquet ({error}); it is truncated or damaged. "
            "Fetch the zoo again, or run the generate command again to rebuild its tables"
        ) from None
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _check(
    path: Path,
    file: pq.ParquetFile,
    columns: Sequence[Column],
    rows: int | None,
    optional: Collection[Column],
) -> None:
    found = {field.name: field.type for field in file.schema_arrow}
    missing = [column.name for column in columns if column.name not in found and column not in optional]
    if missing:
        raise FormatError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(found)}. "
            "Fetch the zoo again, or run the generate command again to rebuild its tables"
        )
    for column in columns:
        if column.name in found and found[column.name] != _TYPES[column.dtype]:
            raise FormatError(
                f"{path}, column {column.name}: expected {column.dtype}, got {found[column.name]}"
            )
    if rows is not None and file.metadata.num_rows != rows:
        raise FormatError(f"{path}: the manifest promises {rows} rows, the file has {file.metadata.num_rows}")
