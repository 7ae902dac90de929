"""Tables and manifest, derived from the journal and the shards; they can be rebuilt at any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zoo.errors import FormatError, IntegrityError
from zoo.labelling import RULE_FILE, label_checkpoints, rule_protocol
from zoo.phases import get_rule
from zoo.spec import (
    ADDED_COLUMNS,
    CORE_COLUMNS,
    Axis,
    Column,
    Counts,
    FileRecord,
    Layout,
    Manifest,
    Protocol,
    TableName,
)
from zoo.splits import iid_split, subset_split
from zoo.storage import Entry, Journal, parquet_bytes, read_journal, read_parquet, sha256_of, write_file
from zoo.storage.weights import read_weights

MANIFEST = "manifest.json"
TABLES: tuple[TableName, ...] = ("models", "checkpoints", "layers", "pairs")
_MIN_CELLS_TO_SPLIT = 3


@dataclass(frozen=True)
class Assembly:
    """A zoo's tables and the manifest that fits them, whether or not they are on disk.

    Attributes:
        manifest: The manifest.
        tables: The tables; missing where those on disk are up to date.
    """

    manifest: Manifest
    tables: dict[TableName, pd.DataFrame] | None


def table_columns(name: TableName, axes: Iterable[Axis], protocols: Iterable[Protocol]) -> list[Column]:
    """List the columns of a table: those of every zoo, the axes, those of provenance, those of the metrics.

    Args:
        name: The table.
        axes: The zoo's axes, which stand in the table of models.
        protocols: The protocols whose columns it carries.

    Returns:
        The columns in their order on disk.
    """
    columns = list(CORE_COLUMNS[name])
    if name == "models":
        columns[2:2] = [Column(name=a.name, dtype=a.dtype, description=f"{a.kind} axis") for a in axes]
    columns += ADDED_COLUMNS.get(name, ())
    for protocol in sorted(protocols, key=lambda p: p.metric):
        columns += protocol.columns if protocol.table == name else ()
    return columns


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of a zoo.

    Args:
        root: The zoo's folder.

    Returns:
        The checked manifest.

    Raises:
        IntegrityError: The folder has no manifest.
        FormatError: The manifest is broken.
    """
    path = root / MANIFEST
    if not path.is_file():
        raise IntegrityError(f"{root} holds no zoo: {MANIFEST} is missing. Generate or fetch one there first")
    return Manifest.from_json(path.read_text(encoding="utf-8", errors="replace"), source=str(path))


def assemble(root: Path, manifest: Manifest) -> Assembly:
    """Bring manifest and tables up to what the journal says, without writing anything.

    Args:
        root: The zoo's folder.
        manifest: The manifest on disk.

    Returns:
        The manifest as it is where it reflects the whole journal (or where there is none, the zoo being
        published); else a new one, and the tables that go with it.
    """
    journal = read_journal(root)
    if not manifest.files:  # the first manifest, written before any stack is trained: there are no tables yet
        return _derive(root, manifest, journal or Journal({}, 0))
    if journal is None or journal.size == manifest.journal_bytes:
        return Assembly(manifest, None)
    return _derive(root, manifest, journal)


def write_assembly(root: Path) -> Manifest:
    """Derive the tables and write them, the splits, and last the manifest.

    Until the manifest is in place readers derive the tables themselves, so a crash in between is harmless.

    Args:
        root: The zoo's folder.

    Returns:
        The new manifest.

    Raises:
        FormatError: The zoo has no journal, since it was published: its tables are final.
    """
    manifest = read_manifest(root)
    journal = read_journal(root)
    if journal is None:
        raise FormatError(f"{root} was published: it has no journal to derive its tables from")
    derived = _derive(root, manifest, journal)
    assert derived.tables is not None
    files = dict(derived.manifest.files)
    for name, frame in derived.tables.items():
        columns = table_columns(name, manifest.axes, derived.manifest.protocols.values())
        data = parquet_bytes(frame, columns)
        files[f"{name}.parquet"] = write_file(root / f"{name}.parquet", data, rows=len(frame))
    splits = _write_splits(root, derived.tables["models"], files)
    final = derived.manifest.model_copy(update={"files": dict(sorted(files.items())), "splits": splits})
    write_file(root / MANIFEST, final.to_json().encode())
    return final


def _write_splits(root: Path, models: pd.DataFrame, files: dict[str, FileRecord]) -> dict[str, str]:
    cells = sorted(set(models["cell_id"]))
    if len(cells) < _MIN_CELLS_TO_SPLIT:
        return {}
    splits = [iid_split(cells)]
    if "classes" in models and models["classes"].nunique() >= _MIN_CELLS_TO_SPLIT:
        splits.append(subset_split(dict(zip(models["cell_id"], models["classes"], strict=True))))
    paths = {split.id: f"splits/{split.id}.json" for split in splits}
    for split in splits:
        files[paths[split.id]] = write_file(root / paths[split.id], split.to_json().encode())
    return paths


def _derive(root: Path, manifest: Manifest, journal: Journal) -> Assembly:
    """Read every shard's index and every measurement, and put the tables together."""
    models, checkpoints, layouts = _read_shards(root, manifest.axes, journal.of_kind("weights"))
    protocols, measured = _read_measurements(root, journal)
    tables: dict[TableName, pd.DataFrame] = {"models": models}
    for name in TABLES[1:]:
        base = checkpoints if name == "checkpoints" else None
        tables[name] = _join(name, base, [f for p, f in measured.items() if protocols[p].table == name])
    _order_rows(tables)
    _complete_columns(tables, protocols)
    _label(root, journal, tables, protocols)
    updated = manifest.model_copy(
        update={
            "counts": _count(models, checkpoints, manifest.counts.planned),
            "layouts": layouts,
            "protocols": protocols,
            "files": {e.path: e.record for e in journal.entries.values() if e.kind != "measurement"},
            "splits": {},
            "journal_bytes": journal.size,
        }
    )
    return Assembly(updated, tables)


def _read_shards(
    root: Path, axes: Iterable[Axis], entries: list[Entry]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Layout]]:
    columns = [column.name for column in table_columns("models", axes, ())]
    rows, parts, layouts = [], [], {}
    for entry in entries:
        if _is_being_replaced(root, entry):
            continue
        shard = read_weights(root / entry.path, entry.record)
        layouts[shard.layout.id] = shard.layout
        rows += shard.models
        parts.append(shard.checkpoints.assign(shard=entry.path, row=range(len(shard.checkpoints))))
    names = [column.name for column in CORE_COLUMNS["checkpoints"]]
    checkpoints = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)
    models = pd.DataFrame(rows, columns=columns)
    last = checkpoints.groupby("model_id")["epoch"].max()
    models["last_epoch"] = models["model_id"].map(last)
    models = models.sort_values([axis.name for axis in axes] + ["seed"], ignore_index=True)
    return models, checkpoints[names], layouts


def _is_being_replaced(root: Path, entry: Entry) -> bool:
    """Say whether a run put a failed stack's new shard in place and was cut off before it could commit it."""
    path = root / entry.path
    return entry.retry and path.is_file() and path.stat().st_size != entry.record.bytes


def _read_measurements(root: Path, journal: Journal) -> tuple[dict[str, Protocol], dict[str, pd.DataFrame]]:
    """Read the measurements of the shards as they are now, by the newest protocol of each metric."""
    current = {shard.record.sha256 for shard in journal.of_kind("weights")}
    entries = [e for e in journal.entries.values() if e.kind == "measurement" and e.of in current]
    newest = {e.protocol.metric: e.protocol_id for e in entries if e.protocol and e.protocol_id}
    protocols: dict[str, Protocol] = {}
    frames: dict[str, list[pd.DataFrame]] = {}
    for entry in entries:
        if entry.protocol is None or entry.protocol_id != newest[entry.protocol.metric]:
            continue
        protocols[entry.protocol_id] = entry.protocol
        try:
            frame = read_parquet(root / entry.path, entry.protocol.columns, rows=entry.record.rows)
        except (IntegrityError, FormatError):
            continue  # lost or damaged: missing until it is measured anew; `verify` names it
        frames.setdefault(entry.protocol_id, []).append(frame)
    ordered = dict(sorted(protocols.items()))
    return ordered, {p: pd.concat(frames[p], ignore_index=True) for p in ordered}


def _join(name: TableName, base: pd.DataFrame | None, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Join what several metrics say of the same rows, on the columns that every zoo has."""
    core = [column.name for column in CORE_COLUMNS[name]]
    joined = base
    for frame in (frame for frame in frames if len(frame)):  # one seed a cell makes no pair
        keys = [key for key in core if key in frame]
        joined = (
            frame if joined is None else joined.merge(frame, on=keys, how="outer" if base is None else "left")
        )
    return pd.DataFrame(columns=core) if joined is None else joined


def _order_rows(tables: dict[TableName, pd.DataFrame]) -> None:
    """Sort as the grid goes: models by axes and seed, checkpoints by model and epoch, the rest by these."""
    rank = {model: place for place, model in enumerate(tables["models"]["model_id"])}
    checkpoints = tables["checkpoints"]
    order = checkpoints.assign(place=checkpoints["model_id"].map(rank)).sort_values(["place", "epoch"])
    tables["checkpoints"] = order.drop(columns="place").reset_index(drop=True)
    place = {c: i for i, c in enumerate(tables["checkpoints"]["checkpoint_id"])}
    for name, keys in (("layers", ["checkpoint_id"]), ("pairs", ["checkpoint_a", "checkpoint_b"])):
        frame = tables[name]  # type: ignore[index]
        ranked = frame.assign(**{f"place_{key}": frame[key].map(place) for key in keys})
        ranked = ranked.sort_values([f"place_{key}" for key in keys], kind="stable")
        tables[name] = ranked[list(frame.columns)].reset_index(drop=True)  # type: ignore[index]


def _complete_columns(tables: dict[TableName, pd.DataFrame], protocols: dict[str, Protocol]) -> None:
    """Give every declared column a place, missing where no shard of it has been measured yet."""
    for name, frame in tables.items():
        for column in table_columns(name, (), protocols.values()):
            if column.name not in frame:
                frame[column.name] = None


def _label(
    root: Path, journal: Journal, tables: dict[TableName, pd.DataFrame], protocols: dict[str, Protocol]
) -> None:
    """Label the checkpoints by the zoo's rule, if it has one: labels follow from what is measured."""
    entry, path = journal.entries.get(RULE_FILE), root / RULE_FILE
    if entry is None or not path.is_file() or sha256_of(path) != entry.record.sha256:
        return  # a rule that was lost or changed labels nothing; `verify` names it
    rule = get_rule(path)
    labels = label_checkpoints(tables["checkpoints"], tables["pairs"], rule, protocols)
    name, protocol = rule_protocol(rule)
    protocols[name] = protocol
    tables["checkpoints"] = tables["checkpoints"].assign(**{str(name): labels[name] for name in labels})


def _count(models: pd.DataFrame, checkpoints: pd.DataFrame, planned: int) -> Counts:
    status = models["status"].value_counts()
    return Counts(
        models=len(models),
        finished=int(status.get("finished", 0)),
        diverged=int(status.get("diverged", 0)),
        failed=int(status.get("failed", 0)),
        checkpoints=len(checkpoints),
        cells=models["cell_id"].nunique(),
        planned=planned,
    )
