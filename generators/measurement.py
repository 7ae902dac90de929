"""Measure: metrics on the checkpoints that lack them, resumable, each value beside the id of its protocol."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress as RichProgress

from generators.engine import Interrupted, TaskSettings
from generators.executors import Done, Executor, ExecutorName, Watch
from generators.executors.inline import InlineExecutor
from generators.executors.interrupt import deferred_interrupt
from generators.executors.local import LocalExecutor
from generators.kinds import recipe_kind
from generators.measured import Measured, missing_rows, remove_replaced
from generators.measuring import Found, Measuring, predictions_path
from zoo import Zoo
from zoo import open as open_zoo
from zoo.assembly import read_manifest, write_assembly
from zoo.datasets import Kind
from zoo.errors import (
    FormatError,
    IntegrityError,
    MeasurementError,
    QueryError,
    SpecificationError,
    unknown_name,
)
from zoo.metrics import Metric, Suite, all_metrics, get
from zoo.report.progress import progress_bar
from zoo.storage import Entry, Journal, commit, enter, read_journal, writer_lock
from zoo.storage.weights import read_weights, write_predictions

_STOPPING = "\nstopping after the cells being measured, which are stored first; Ctrl-C again stops at once\n"
_WORTH_WORKERS = 500
"""Checkpoints times metrics below which starting workers takes longer than measuring."""


def measure(
    out: str | Path,
    *,
    metrics: Sequence[str] | str = "all",
    where: str | None = None,
    executor: ExecutorName | Executor = "local",
    locked: bool = False,
) -> Zoo:
    """Measure a zoo; what has been measured under the same protocol is kept.

    Args:
        out: Folder of the zoo.
        metrics: Names of metrics; `all`, which are those of our own protocols; or `ptmz` or `yang2021`, the
            protocols of these papers.
        where: Which checkpoints, such as `"width >= 32 and epoch == last_epoch"`; by default those that each
            metric is for: all of them, or the last of each model. Pairs are made of these alone.
        executor: Where to measure: `local`, one process a core (or this process where there is little to
            do); `ray`, a cluster; or an executor.
        locked: Whether the caller already holds the writer's lock.

    Returns:
        The zoo with its new columns.

    Raises:
        UnknownNameError: No metric has this name.
        SpecificationError: A metric has no meaning for the kind of data of this zoo; no executor has this
            name.
        QueryError: The query has a fault.
        IntegrityError: The folder holds no zoo.
        FormatError: The zoo was published: its tables are final.
        StorageError: The disk is full, or another process writes to the folder.
        MeasurementError: A metric raised an error, or killed its worker; all else is measured.
    """
    if isinstance(executor, str) and executor not in get_args(ExecutorName):
        raise SpecificationError(f"unknown executor {executor!r}; choose 'local' or 'ray'")
    root = Path(out)
    chosen = _choose(metrics, recipe_kind(read_manifest(root).recipe))
    with nullcontext() if locked else writer_lock(root):
        journal = read_journal(root)
        if journal is None:
            raise FormatError(f"{root} has no journal: it was published, and its tables are final")
        _check_settings(root, journal, chosen)
        remove_replaced(root, journal)
        rows = _rows(_with_tables(root), where)
        if rows.empty and where is not None:
            raise QueryError(
                f"no checkpoint of {root} matches {where!r}: there is nothing to measure; look at "
                "`zoo.open(...).checkpoints` and `.models` for what is there"
            )
        failed: list[str] = []
        # predictions are read by others: first what gives them
        for wave in (True, False):
            some = [metric for metric in chosen if metric.gives_predictions == wave]
            pending = list(_pending(root, journal, some, rows, asked=where is not None))
            failed += _run(root, journal, pending, executor)
        write_assembly(root)
        remove_replaced(root, journal)
    if failed:
        raise MeasurementError(
            f"{len(failed)} of the measurements failed, all others are stored: {'; '.join(failed[:3])}. "
            "Run the same command again to try these again"
        )
    return open_zoo(root)


def _choose(metrics: Sequence[str] | str, kind: Kind) -> list[Metric]:
    """Look the metrics up; a suite is those of its metrics that mean something here."""
    known = all_metrics()
    fitting = [name for name, metric in known.items() if kind in metric.kinds]
    names: list[str] = []
    for name in [metrics] if isinstance(metrics, str) else metrics:
        suite: Any = "standard" if name == "all" else name
        if suite in get_args(Suite):
            names += [n for n in fitting if known[n].suite == suite]
            continue
        if name not in known:
            raise unknown_name("metric", name, [*known, "all", *get_args(Suite)])
        if name not in fitting:
            raise SpecificationError(
                f"the metric {name!r} has no meaning for this zoo, whose data are of the kind {kind}; "
                f"choose among {', '.join(fitting)}"
            )
        names.append(name)
    return [known[name] for name in dict.fromkeys(names)]


def _check_settings(root: Path, journal: Journal, metrics: Iterable[Metric]) -> None:
    """Refuse to mix values of different settings under one protocol's id."""
    stored = {e.protocol_id: e.protocol for e in journal.of_kind("measurement") if _is_whole(root, e)}
    for metric in metrics:
        known = stored.get(metric.protocol_id)
        if known is not None and known.settings != metric.protocol().settings:
            raise FormatError(
                f"{metric.protocol_id} was measured with other settings by another version of the code: "
                f"expected {metric.protocol().settings}, got {known.settings}; measure this zoo with that "
                f"version, or delete its folder parts/{metric.protocol_id} to measure all of it anew"
            )


def _with_tables(root: Path) -> Zoo:
    """Open the zoo; tables that are damaged are derived anew."""
    zoo = open_zoo(root)
    try:
        for table in ("models", "checkpoints"):
            getattr(zoo, table)
    except (IntegrityError, FormatError):
        write_assembly(root)
        return open_zoo(root)
    return zoo


def _rows(zoo: Zoo, where: str | None) -> pd.DataFrame:
    """List the checkpoints to choose from: ids, cell, seed, epoch, last epoch, status, shard."""
    view = zoo if where is None else zoo.where(where)
    models = zoo.models[["model_id", "cell_id", "seed", "status", "last_epoch"]]
    columns = ["checkpoint_id", "model_id", "epoch", "shard"]
    return view.checkpoints[columns].merge(models, on="model_id", how="left")


def _pending(
    root: Path, journal: Journal, metrics: Iterable[Metric], rows: pd.DataFrame, *, asked: bool
) -> Iterator[Measuring]:
    """List what is to be measured: each metric on each shard that has checkpoints without it."""
    by_shard = {str(shard): some for shard, some in rows.groupby("shard", sort=False)}
    for shard in journal.of_kind("weights"):
        for metric in metrics:
            some = by_shard.get(shard.path, rows.iloc[:0])
            if metric.scope == "last" and not asked:
                some = some[some["epoch"] == some["last_epoch"]]
            known = Measured.read(root, journal, shard, metric)
            wanted = missing_rows(metric, some, known)
            if metric.gives_predictions and not _has_predictions(root, journal, shard):
                wanted = frozenset(some["checkpoint_id"])
            if wanted or known is None:
                yield Measuring(root.absolute(), shard.path, shard.record, metric.name, wanted)


def _has_predictions(root: Path, journal: Journal, shard: Entry) -> bool:
    entry = journal.entries.get(predictions_path(shard.path))
    return entry is not None and entry.of == shard.record.sha256 and _is_whole(root, entry)


def _is_whole(root: Path, entry: Entry) -> bool:
    path = root / entry.path
    return path.is_file() and path.stat().st_size == entry.record.bytes


def _run(
    root: Path, journal: Journal, pending: list[Measuring], executor: ExecutorName | Executor
) -> list[str]:
    """Measure, commit what is found as it comes, and say what failed."""
    if not pending:
        return []
    where = _named(executor, pending) if isinstance(executor, str) else executor
    failed: list[str] = []
    with progress_bar() as progress:
        keeper = _Keeper(root, journal, pending, progress)
        with deferred_interrupt(_say_stopping) as pressed:
            try:
                for done in where.run(pending, TaskSettings(), Watch(keeper.keep, pressed)):
                    keeper.close(done)
                    if done.failed is not None:
                        failed.append(f"{done.task.name}: {done.failed}")
            except Interrupted:
                raise KeyboardInterrupt from None
    return failed


def _say_stopping() -> None:
    sys.stderr.write(_STOPPING)


def _named(name: ExecutorName, pending: Sequence[Measuring]) -> Executor:
    if name == "ray":
        from generators.executors.ray import RayExecutor

        return RayExecutor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(pending))
    little = sum(len(task.wanted) for task in pending) < _WORTH_WORKERS
    return InlineExecutor() if workers <= 1 or little else LocalExecutor(workers)


class _Keeper:
    """Commits what measuring finds, part by part, and draws how far it is."""

    def __init__(
        self, root: Path, journal: Journal, pending: Sequence[Measuring], progress: RichProgress
    ) -> None:
        self._root, self._journal, self._progress = root, journal, progress
        self._predictions: dict[str, list[tuple[NDArray[np.intp], NDArray[np.integer[Any]]]]] = {}
        self._left = Counter(task.metric for task in pending)
        self._rows = Counter[str]()
        # an empty shard has its part too, and a bar needs an end
        self._bar = progress.add_task("measuring", total=sum(max(task.size, 1) for task in pending) or 1)

    def keep(self, task: Measuring, found: Found) -> None:
        metric, shard = get(task.metric), self._journal.entries[task.shard]
        if found.predictions is not None:
            self._predictions.setdefault(task.name, []).append(found.predictions)
        self._rows[task.metric] += len(found.frame)
        known = Measured.read(self._root, self._journal, shard, metric) or Measured.nothing(metric)
        known.joined(found).write(self._root, self._journal, shard, metric)

    def close(self, done: Done) -> None:
        task = done.task
        for found in done.content:
            self.keep(task, found)
        metric, shard = get(task.metric), self._journal.entries[task.shard]
        if done.failed is None and (parts := self._predictions.pop(task.name, [])):
            self._write_predictions(shard, parts)
        if done.failed is None and Measured.read(self._root, self._journal, shard, metric) is None:
            Measured.nothing(metric).write(self._root, self._journal, shard, metric)
        self._progress.update(self._bar, advance=max(task.size, 1), description=task.metric)
        self._left[task.metric] -= 1
        if not self._left[task.metric]:
            count = f"{self._rows[task.metric]:,} rows"
            self._progress.console.print(f"{task.metric}: {count}", highlight=False)

    def _write_predictions(
        self, shard: Entry, parts: Sequence[tuple[NDArray[np.intp], NDArray[np.integer[Any]]]]
    ) -> None:
        ids = read_weights(self._root / shard.path, shard.record).checkpoints["checkpoint_id"].tolist()
        path = predictions_path(shard.path)
        record = write_predictions(self._root / path, ids, _scatter(parts))
        entry = Entry(kind="predictions", path=path, shard=shard.path, of=shard.record.sha256, record=record)
        commit(self._root, entry)
        enter(self._journal.entries, entry)


def _scatter(parts: Sequence[tuple[NDArray[np.intp], NDArray[np.integer[Any]]]]) -> NDArray[np.integer[Any]]:
    """Put the groups' rows back to where they stand in the shard, shorter ones filled up at their end."""
    # networks that know other classes are judged on other test items, and these may be fewer
    dtype = np.result_type(*(rows.dtype for _, rows in parts))
    shape = (sum(len(places) for places, _ in parts), max(rows.shape[1] for _, rows in parts))
    merged = np.full(shape, np.iinfo(dtype).max, dtype)
    for places, rows in parts:
        merged[places, : rows.shape[1]] = rows
    return merged
