"""Which cells stand for a zoo where a figure cannot show all of them: clear members of each phase."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zoo.errors import FormatError, QueryError, UnknownNameError, unknown_name
from zoo.population import Zoo
from zoo.report.colours import PHASES
from zoo.report.plane import describe, select
from zoo.storage import Arrays

_WITHOUT_PHASES = 5


class Chosen(NamedTuple):
    """A cell that a figure shows.

    Attributes:
        cell_id: The cell.
        title: Its phase, if it has one, and its place on the axes.
        phase: Its phase; nothing where it has none.
    """

    cell_id: str
    title: str
    phase: str | None

    @property
    def colour(self) -> str:
        """Colour of its phase; dark grey without one."""
        return "0.3" if self.phase is None else PHASES[self.phase].colour


def with_known_phases(table: pd.DataFrame) -> pd.DataFrame:
    """Refuse phases that no figure has a colour for.

    Args:
        table: Cells or checkpoints, with or without a column `phase`.

    Returns:
        The same table.

    Raises:
        FormatError: A phase goes by another name than the five.
    """
    found = set(table["phase"].dropna()) if "phase" in table else set()
    if unknown := sorted(map(str, found - set(PHASES))):
        raise FormatError(
            f"the zoo has phases {', '.join(unknown[:5])}; expected {', '.join(PHASES)}. "
            "Label it again with `phasezoo calibrate`, or fetch it again"
        )
    return table


def choose_cells(
    zoo: Zoo,
    among: Collection[str],
    *,
    cell: Sequence[str] = (),
    at: Mapping[str, str] | None = None,
    each: int = 1,
) -> list[Chosen]:
    """Choose cells to show.

    Args:
        zoo: The zoo.
        among: Cells that have what the figure shows.
        cell: Ids of the cells, where someone asks for them.
        at: Value of axes, as text, where someone asks for that.
        each: How many of each phase, where no one asks: the clearest members, by membership if there is one.

    Returns:
        The cells by phase; without phases, some cells from all over the grid.

    Raises:
        UnknownNameError: There is no such cell or axis.
        QueryError: No cell is left.
    """
    cells = with_known_phases(zoo.cells)
    for name in cell:
        if name not in set(cells["cell_id"]):
            raise unknown_name("cell", name, cells["cell_id"], way_out="see .cells.cell_id")
    axes = zoo.manifest.axis_names()
    cells, _ = select(cells, axes, at or {})
    cells = cells[cells["cell_id"].isin(cell or among)]
    if not set(cells["cell_id"]) & set(among):
        raise QueryError("no cell that was asked for has what this figure shows; ask for others, or measure")
    cells = cells[cells["cell_id"].isin(among)]
    shown = cells if cell else _typical(cells, each)
    return [_chosen(row, axes) for _, row in shown.iterrows()]


def _typical(cells: pd.DataFrame, each: int) -> pd.DataFrame:
    if "phase" not in cells or cells["phase"].isna().all():
        return cells.iloc[np.unique(np.linspace(0, len(cells) - 1, _WITHOUT_PHASES).round().astype(int))]
    parts = []
    for phase in PHASES:
        members, column = cells[cells["phase"] == phase], f"phase_{phase.replace('-', '_')}"
        if column in cells:
            members = members.sort_values(column, ascending=False, kind="stable")
        parts.append(members.head(each))
    return pd.concat(parts)


def _chosen(row: pd.Series[Any], axes: Sequence[str]) -> Chosen:
    phase = row.get("phase")
    place = describe({axis: row[axis] for axis in axes})
    if not isinstance(phase, str):
        return Chosen(str(row["cell_id"]), place, None)
    return Chosen(str(row["cell_id"]), f"{phase}: {place}", phase)


def last_checkpoints(zoo: Zoo) -> pd.DataFrame:
    """List the last checkpoint of each model that finished.

    Args:
        zoo: The zoo.

    Returns:
        `checkpoint_id` and `cell_id`, in the order of seeds.
    """
    models = zoo.models.loc[zoo.models["status"] == "finished", ["model_id", "cell_id", "seed", "last_epoch"]]
    table = zoo.checkpoints.merge(models, on="model_id")
    table = table[table["epoch"] == table["last_epoch"]]
    return table.sort_values("seed", kind="stable")[["checkpoint_id", "cell_id"]]


def read_series(
    zoo: Zoo, metrics: Sequence[str], arrays: Sequence[str]
) -> dict[str, dict[tuple[str, ...], Arrays]]:
    """Read the arrays of some metrics, of the rows that have values.

    Args:
        zoo: The zoo.
        metrics: The metrics.
        arrays: The arrays that a row must have.

    Returns:
        Arrays by name, by key, by metric; without rows for a metric that was not measured.

    Raises:
        QueryError: None of them was measured, or has a value for any row.
    """
    found = {metric: _with_values(zoo, metric, arrays) for metric in metrics}
    if not any(found.values()):
        raise QueryError(
            f"{zoo.root} has no {' or '.join(metrics)} to draw; "
            f"run `phasezoo measure {zoo.root} --metrics {','.join(metrics)}` first"
        )
    return found


def _with_values(zoo: Zoo, metric: str, arrays: Sequence[str]) -> dict[tuple[str, ...], Arrays]:
    try:
        stored = zoo.series(metric)
    except UnknownNameError:
        return {}
    return {
        key: row
        for key, row in stored.items()
        if all(name in row and np.isfinite(row[name]).any() for name in arrays)
    }
