"""How networks pass through the phases while they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.errors import QueryError
from zoo.population import Zoo
from zoo.report.colours import PHASES, UNDEFINED, phase_colours
from zoo.report.plane import select, tick
from zoo.report.rule import rule_columns
from zoo.report.selection import Chosen, choose_cells, with_known_phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PATHS_EACH = 3


class Coordinate(NamedTuple):
    """A quantity that paths are drawn over.

    Attributes:
        column: Its column.
        title: What stands beside the axis.
        cut: Where the rule tells phases apart; nothing where that is not known.
        log: Whether the axis is logarithmic.
    """

    column: str
    title: str
    cut: float | None = None
    log: bool = False


def by_epoch(zoo: Zoo, columns: Sequence[str]) -> pd.DataFrame:
    """Average over the finished seeds of each cell, epoch by epoch.

    Args:
        zoo: The zoo.
        columns: Columns of checkpoints or pairs; those that the zoo lacks are missing everywhere.

    Returns:
        A row for each cell and epoch, in the order of the cells: `cell_id`, `epoch`, the columns, and
        `phase`, that of most seeds (of two as frequent, the first by name).
    """
    models = zoo.models.loc[zoo.models["status"] == "finished", ["model_id", "cell_id"]]
    seen = zoo.checkpoints.merge(models, on="model_id")
    key = ["cell_id", "epoch"]
    single = [name for name in columns if name in seen]
    table = seen.astype(dict.fromkeys(single, float)).groupby(key, sort=False)[single].mean()
    epochs = seen.set_index("checkpoint_id")["epoch"]
    pairs = zoo.pairs.assign(epoch=zoo.pairs["checkpoint_a"].map(epochs))
    pairs = pairs[pairs["epoch"] == pairs["checkpoint_b"].map(epochs)]
    double = [name for name in columns if name in pairs and name not in single]
    table = table.join(pairs.astype(dict.fromkeys(double, float)).groupby(key)[double].mean())
    table = table.reindex(columns=list(columns))
    return table.assign(phase=seen.groupby(key, sort=False)["phase"].agg(_most_frequent)).reset_index()


def _most_frequent(phases: pd.Series[str]) -> object:
    found = phases.mode()
    return found.iloc[0] if len(found) else None


def strip_rows(table: pd.DataFrame) -> list[str]:
    """Order cells for the strip chart, so that like histories lie side by side.

    Args:
        table: Rows with `cell_id`, `epoch` and `phase`.

    Returns:
        Ids of the cells: by their phase at the end, then by the epoch since which they have it, then as they
        stood.
    """
    keys = {}
    for cell, rows in table.sort_values("epoch", kind="stable").groupby("cell_id", sort=False):
        phases = [str(phase) if isinstance(phase, str) else "" for phase in rows["phase"]]
        since = max((place for place, phase in enumerate(phases) if phase != phases[-1]), default=-1)
        keys[str(cell)] = (list(PHASES).index(phases[-1]) if phases[-1] else len(PHASES), since)
    cells = table["cell_id"].drop_duplicates().astype(str)
    return sorted(cells, key=keys.__getitem__)


def trajectories_figure(
    table: pd.DataFrame, chosen: Sequence[Chosen], x: Coordinate, y: Coordinate, title: str
) -> Figure:
    """Draw some cells as paths over two quantities, and all cells as strips over epochs.

    Args:
        table: Rows with `cell_id`, `epoch`, `phase` and both quantities.
        chosen: The cells that are drawn as paths.
        x: The quantity to the right.
        y: The quantity upwards.
        title: What stands above.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 5.8), layout="constrained")
    paths, strips = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for one in chosen:
        rows = table[table["cell_id"] == one.cell_id].dropna(subset=[x.column, y.column])
        _draw_path(paths, rows.sort_values("epoch"), x, y)
    _finish_paths(paths, x, y)
    _draw_strips(strips, table)
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _draw_path(place: Axes, rows: pd.DataFrame, x: Coordinate, y: Coordinate) -> None:
    """Draw each step in the colour of the phase that it leads to, and its end larger than its beginning."""
    colours = [PHASES[phase].colour if isinstance(phase, str) else UNDEFINED for phase in rows["phase"]]
    across, up = rows[x.column].to_numpy(float), rows[y.column].to_numpy(float)
    for step in range(1, len(rows)):
        piece = slice(step - 1, step + 1)
        place.plot(across[piece], up[piece], color=colours[step], linewidth=1.6, alpha=0.8, zorder=2)
    sizes = np.full(len(rows), 16.0)
    sizes[-1:] = 70
    place.scatter(across, up, s=sizes, c=colours, edgecolors="black", linewidths=0.5, zorder=3)


def _finish_paths(place: Axes, x: Coordinate, y: Coordinate) -> None:
    from matplotlib.patches import Patch

    if x.log:
        place.set_xscale("log")
    for line, cut in ((place.axvline, x.cut), (place.axhline, y.cut)):
        if cut is not None:
            line(cut, color="0.35", linestyle="--", linewidth=1, zorder=1)
    place.set_xlabel(x.title, fontsize=9)
    place.set_ylabel(y.title, fontsize=9)
    place.tick_params(labelsize=8)
    place.set_title("(a) Paths of some cells; the large dot is the end, dashed: the rule's cut", fontsize=10)
    patches = [Patch(facecolor=style.colour, edgecolor="black", label=name) for name, style in PHASES.items()]
    place.legend(handles=patches, fontsize=8, ncols=len(patches), loc="best", title_fontsize=8)


def _draw_strips(place: Axes, table: pd.DataFrame) -> None:
    order = strip_rows(table)
    wide = table.pivot(index="cell_id", columns="epoch", values="phase").reindex(order)
    rank = {phase: place for place, phase in enumerate(PHASES)}
    codes: NDArray[np.float64] = np.array(
        [[rank.get(phase, np.nan) for phase in row] for row in wide.to_numpy(object)], dtype=np.float64
    )
    place.imshow(
        np.ma.masked_invalid(codes),
        aspect="auto",
        interpolation="nearest",
        cmap=phase_colours(),
        vmin=-0.5,
        vmax=len(PHASES) - 0.5,
    )
    place.set_xticks(range(wide.shape[1]), [tick(epoch) for epoch in wide.columns], fontsize=8)
    place.set_yticks([])
    place.set_xlabel("epoch of the checkpoint", fontsize=9)
    place.set_ylabel(f"{len(order)} cells, by their phase at the end", fontsize=9)
    place.set_title("(b) Phase of each cell over training; grey: none", fontsize=10)


def draw_trajectories(zoo: Zoo, *, at: Mapping[str, str] | None = None, cell: Sequence[str] = ()) -> Figure:
    """Draw how cells pass through the phases while they train.

    Args:
        zoo: The zoo; its checkpoints labelled with phases.
        at: Value of axes, as text; only such cells are drawn.
        cell: Ids of the cells that are drawn as paths; by default clear members of each phase.

    Returns:
        The figure: paths over the train loss and mode connectivity, or similarity where that is known along
        the way and connectivity is not.

    Raises:
        UnknownNameError: There is no such cell or axis.
        QueryError: The checkpoints have no phases, or no cell is left.
    """
    if "phase" not in zoo.checkpoints or zoo.checkpoints["phase"].isna().all():
        raise QueryError(
            f"{zoo.root} has no phases of checkpoints to draw; run `phasezoo calibrate {zoo.root}` first"
        )
    with_known_phases(zoo.checkpoints)
    told = rule_columns(zoo.manifest)
    table = by_epoch(zoo, [told.loss, told.connectivity, told.similarity])
    cells, _ = select(zoo.cells, zoo.manifest.axis_names(), at or {})
    table = table[table["cell_id"].isin(cells["cell_id"])]
    known = table.dropna(subset=[told.connectivity]).groupby("cell_id").size()
    upwards = (
        Coordinate(told.connectivity, "mode connectivity (percentage points)")
        if (known > 1).any()
        else Coordinate(told.similarity, f"{told.similarity.replace('_', ' ')} between seeds")
    )
    across = Coordinate(told.loss, f"{told.loss.replace('_', ' ')} (nats)", log=True)
    x, y = (axis._replace(cut=told.cuts.get(axis.column)) for axis in (across, upwards))
    chosen = choose_cells(zoo, set(table["cell_id"]), cell=cell, at=at, each=_PATHS_EACH)
    return trajectories_figure(table, chosen, x, y, f"{zoo.manifest.name}: phases along training")
