"""Verify a zoo: every fault at once, each with its file and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from zoo.assembly import MANIFEST, TABLES, read_manifest, table_columns
from zoo.errors import FormatError, IntegrityError, UnsafeFileError, ZooError
from zoo.spec import ADDED_COLUMNS, KEYS, Manifest, TableName
from zoo.splits import SplitFile, check_leakage
from zoo.storage import JOURNAL, LOCK, TEMPORARY_PREFIX, read_journal, read_parquet, read_series, sha256_of
from zoo.storage.weights import read_predictions, read_weights


class Fault(NamedTuple):
    """One thing that is wrong.

    Attributes:
        file: Path in the zoo.
        reason: What is wrong with it.
    """

    file: str
    reason: str


def verify(path: str | Path) -> list[Fault]:
    """Check every file of a zoo against its manifest, and the files against each other.

    Args:
        path: The zoo's folder.

    Returns:
        All faults; none where the zoo is whole. Hashes are compared before a file is read.

    Raises:
        IntegrityError: The folder holds no zoo: there is no manifest to check against.
    """
    root = Path(path)
    if not (root / MANIFEST).is_file():
        raise IntegrityError(f"{root} holds no zoo: {MANIFEST} is missing. Generate or fetch one there first")
    try:
        manifest = read_manifest(root)
    except (FormatError, UnsafeFileError) as error:
        return [Fault(MANIFEST, str(error))]
    damaged = list(_file_faults(root, manifest))
    broken = {fault.file for fault in damaged}
    return [
        *damaged,
        *_state_faults(root, manifest),
        *_part_faults(root),
        *_stray_files(root, manifest),
        *_table_faults(root, manifest, broken),
        *_shard_faults(root, manifest, broken),
        *_split_faults(root, manifest, broken),
    ]


def _file_faults(root: Path, manifest: Manifest) -> Iterator[Fault]:
    for name, record in manifest.files.items():
        path = root / name
        if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
            yield Fault(name, "is a link; expected a plain file inside the zoo")
        elif not path.is_file():
            yield Fault(name, "is missing")
        elif (size := path.stat().st_size) != record.bytes:
            yield Fault(
                name, f"expected {record.bytes:,} bytes, got {size:,}: it is truncated or was replaced"
            )
        elif (found := sha256_of(path)) != record.sha256:
            yield Fault(name, f"expected sha256 {record.sha256}, got {found}: its content was changed")


def _state_faults(root: Path, manifest: Manifest) -> Iterator[Fault]:
    try:
        journal = read_journal(root)
    except FormatError as error:
        yield Fault(JOURNAL, str(error))
        return
    if journal is not None and journal.size != manifest.journal_bytes:
        yield Fault(MANIFEST, "does not reflect the whole journal: run the same generate command again")
    elif not manifest.complete:
        got, planned = manifest.counts.models, manifest.counts.planned
        yield Fault(MANIFEST, f"holds {got} of {planned} models: run the same generate command again")


def _part_faults(root: Path) -> Iterator[Fault]:
    """Check the maker's own files of measurements, which no manifest lists."""
    try:
        journal = read_journal(root)
    except FormatError:
        return  # already a fault of the journal
    if journal is None:
        return
    current = {shard.record.sha256 for shard in journal.of_kind("weights")}
    for entry in (entry for entry in journal.of_kind("measurement") if entry.of in current):
        path = root / entry.path
        if not path.is_file() or sha256_of(path) != entry.record.sha256:
            yield Fault(entry.path, "is lost or damaged: `phasezoo measure` makes it anew")


def _stray_files(root: Path, manifest: Manifest) -> Iterator[Fault]:
    for path in sorted(path for path in root.rglob("*") if not path.is_dir()):
        name = path.relative_to(root).as_posix()
        if path.name.startswith(TEMPORARY_PREFIX):
            yield Fault(name, "is left over from a writer that was killed; generate removes it, or delete it")
        elif name not in {MANIFEST, JOURNAL, LOCK, *manifest.files} and not name.startswith(
            ("parts/", "state/")
        ):
            yield Fault(name, "is not in the manifest")


def _caught(name: str, check: Callable[[], Iterator[Fault]]) -> Iterator[Fault]:
    """Turn whatever reading a file raises into a fault of that file."""
    try:
        yield from check()
    except ZooError as error:
        yield Fault(name, str(error))


def _table_faults(root: Path, manifest: Manifest, broken: set[str]) -> Iterator[Fault]:
    for table in TABLES:
        name = f"{table}.parquet"
        if name not in manifest.files:
            yield Fault(name, "is not in the manifest, and every zoo has it")
        elif name not in broken:
            yield from _caught(name, partial(_check_table, root, manifest, table))


def _read(root: Path, manifest: Manifest, table: TableName) -> pd.DataFrame:
    name = f"{table}.parquet"
    columns = table_columns(table, manifest.axes, manifest.protocols.values())
    added = ADDED_COLUMNS.get(table, ())
    return read_parquet(root / name, columns, rows=manifest.files[name].rows, optional=added)


def _check_table(root: Path, manifest: Manifest, table: TableName) -> Iterator[Fault]:
    twice = _read(root, manifest, table).duplicated(list(KEYS[table])).sum()
    if twice:
        yield Fault(f"{table}.parquet", f"{twice} rows stand twice, by {', '.join(KEYS[table])}")


def _shard_faults(root: Path, manifest: Manifest, broken: set[str]) -> Iterator[Fault]:
    """Compare every shard with the table of checkpoints."""
    if "checkpoints.parquet" in broken or "checkpoints.parquet" not in manifest.files:
        return
    try:
        table = _read(root, manifest, "checkpoints")
    except ZooError:
        return  # already a fault of the table
    listed = {str(name): rows for name, rows in table.groupby("shard")}
    for name in sorted(listed.keys() - manifest.files.keys()):
        yield Fault("checkpoints.parquet", f"points to {name}, which is not in the manifest")
    for name in sorted(set(manifest.files) - broken):
        if name.startswith("weights/"):
            rows = listed.get(name, table.iloc[:0])
            yield from _caught(name, partial(_check_weights, root, manifest, name, rows))
        elif name.startswith("predictions/"):
            yield from _caught(name, partial(_check_predictions, root, manifest, name))
        elif name.endswith(".h5"):
            yield from _caught(name, partial(_check_series, root, manifest, name))


def _check_weights(root: Path, manifest: Manifest, name: str, rows: pd.DataFrame) -> Iterator[Fault]:
    shard = read_weights(root / name, manifest.files[name])
    if shard.layout.id not in manifest.layouts:
        yield Fault(name, f"has the layout {shard.layout.id}, which is not in the manifest")
    ids = rows.sort_values("row")["checkpoint_id"].tolist()
    if ids != shard.checkpoints["checkpoint_id"].tolist():
        yield Fault(name, f"its {len(shard.checkpoints)} checkpoints are not the {len(ids)} of the table")
    bad = [i for i, row in zip(shard.checkpoints["checkpoint_id"], shard.weights, strict=True) if _bad(row)]
    if bad:
        yield Fault(name, f"{len(bad)} checkpoints have weights that are not finite, such as {bad[0]}")


def _bad(row: np.ndarray) -> bool:
    return not np.isfinite(row).all()


def _check_predictions(root: Path, manifest: Manifest, name: str) -> Iterator[Fault]:
    weights = manifest.files.get("weights/" + name.removeprefix("predictions/"))
    rows = len(read_predictions(root / name, manifest.files[name]))
    if weights is None or weights.rows != rows:
        yield Fault(name, f"has {rows} rows, its weight shard {weights.rows if weights else 'is missing'}")


def _check_series(root: Path, manifest: Manifest, name: str) -> Iterator[Fault]:
    rows = len(read_series(root / name, manifest.files[name]))
    if rows != manifest.files[name].rows:
        yield Fault(name, f"has {rows} different keys, the manifest promises {manifest.files[name].rows}")


def _split_faults(root: Path, manifest: Manifest, broken: set[str]) -> Iterator[Fault]:
    if "models.parquet" in broken or "models.parquet" not in manifest.files:
        return
    for name in manifest.splits.values():
        if name not in broken:
            yield from _caught(name, partial(_check_split, root, manifest, name))


def _check_split(root: Path, manifest: Manifest, name: str) -> Iterator[Fault]:
    split = SplitFile.from_json((root / name).read_text(encoding="utf-8", errors="replace"), source=name)
    for leak in check_leakage(split, _read(root, manifest, "models")):
        yield Fault(name, leak)
