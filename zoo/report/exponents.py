"""Exponents of the layers' spectra over training: how soon, and where, tails become heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from zoo.population import Zoo
from zoo.report.layers import layer_names, layer_rows, leave_grey, telling_cells
from zoo.report.plane import tick
from zoo.report.selection import Chosen, choose_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS, _LETTERS, _TICKS = 3, 54, 8
_MARKERS = "osD^vPX<>"
_LIGHTEST, _BAND = 0.85, 0.18
"""How far the colours of layers go towards the light end; how dark a band is."""
_NULL = "farms_alpha_null"


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Average exponents over seeds.

    Args:
        rows: Rows with `cell_id`, `layer`, `epoch`, `farms_alpha`, `farms_alpha_sem`, `farms_alpha_null` and
            `farms_reason`.

    Returns:
        A row for each cell, layer and epoch: `alpha`, the mean over the seeds that have one; `spread`, their
        standard deviation or, of one seed, the standard error of its fit; `seeds`, how many have one; `null`;
        and `reason`, why one is missing.

    Example:
        >>> key = {"cell_id": "c", "layer": "0.weight", "epoch": 5}
        >>> one = {**key, "farms_alpha_sem": 0.1, "farms_alpha_null": 2.1, "farms_reason": None}
        >>> two = [{**one, "farms_alpha": alpha} for alpha in (2.0, 3.0)]
        >>> over_seeds(pd.DataFrame(two))[["alpha", "spread", "seeds"]].round(3).values.tolist()
        [[2.5, 0.707, 2.0]]
    """
    grouped = rows.groupby(["cell_id", "layer", "epoch"], sort=False)
    table = grouped.agg(
        alpha=("farms_alpha", "mean"),
        spread=("farms_alpha", "std"),
        seeds=("farms_alpha", "count"),
        error=("farms_alpha_sem", "mean"),
        null=(_NULL, "mean"),
        reason=("farms_reason", "first"),
    )
    table["spread"] = table["spread"].where(table["seeds"] > 1, table["error"])
    return table.drop(columns="error").reset_index()


def exponents_figure(
    table: pd.DataFrame, chosen: Sequence[Chosen], layers: Sequence[str], title: str
) -> Figure:
    """Draw the exponents of all layers over epochs, a panel a cell.

    Args:
        table: As `over_seeds` gives it.
        chosen: The cells, at least one.
        layers: Layers, from the input on: they decide colours and markers.
        title: What stands above.

    Returns:
        The figure. Layers without exponents are named, with the reason; a panel that has no others is grey.
    """
    from matplotlib.figure import Figure

    columns = min(_ACROSS, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(max(4.4 * columns, 7.0), 1.5 + 3.1 * rows), layout="constrained")
    places = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for place, one in zip(places, chosen, strict=False):
        _draw_cell(place, table[table["cell_id"] == one.cell_id], layers)
        place.set_title(fill(one.title, _LETTERS), fontsize=9)
    for place in places[len(chosen) :]:
        place.set_axis_off()
    for place in places[::columns]:
        place.set_ylabel("FARMS exponent alpha (small: heavy tail)", fontsize=9)
    if any(place.lines for place in places):
        _draw_legend(figure, table, layers)
    else:
        places[0].set_yticks([])
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


class _Style(NamedTuple):
    """The look of a layer's line."""

    colour: tuple[float, float, float, float]
    marker: str


def _style(layers: Sequence[str], layer: str) -> _Style:
    """Draw the layers at the input dark, those at the output light."""
    from matplotlib import colormaps

    place = layers.index(layer)
    colour = colormaps["viridis"](_LIGHTEST * place / max(1, len(layers) - 1))
    return _Style(colour, _MARKERS[place % len(_MARKERS)])


def _draw_cell(place: Axes, table: pd.DataFrame, layers: Sequence[str]) -> None:
    lacking: dict[str, list[str]] = {}
    for layer in layers:
        rows = table[table["layer"] == layer].sort_values("epoch")
        if rows["alpha"].notna().any():
            _draw_layer(place, rows, _style(layers, layer))
        elif len(rows):
            lacking.setdefault(str(rows["reason"].iloc[-1]), []).append(layer)
    notes = [f"no exponent: {', '.join(names)} ({reason})" for reason, names in lacking.items()]
    note = "\n".join(fill(line, _LETTERS) for line in notes)
    if place.lines:
        place.text(0.02, 0.02, note, color="0.35", fontsize=8, transform=place.transAxes)
    else:
        leave_grey(place, note)
    _label_epochs(place, sorted(table["epoch"].unique().tolist()))


def _draw_layer(place: Axes, rows: pd.DataFrame, style: _Style) -> None:
    epoch, alpha, spread = (rows[name].to_numpy(float) for name in ("epoch", "alpha", "spread"))
    place.fill_between(epoch, alpha - spread, alpha + spread, color=style.colour, alpha=_BAND, linewidth=0)
    place.plot(epoch, alpha, color=style.colour, marker=style.marker, markersize=4, linewidth=1.5)
    null = float(rows["null"].mean())
    if np.isfinite(null):
        place.axhline(null, color=style.colour, linestyle="--", linewidth=1, zorder=1)


def _label_epochs(place: Axes, epochs: Sequence[int]) -> None:
    """Space epochs by their logarithm from the first after 0 on: layers change early."""
    later = [epoch for epoch in epochs if epoch > 0]
    if len(epochs) > 1 and later:
        place.set_xscale("symlog", linthresh=later[0], linscale=0.5)
        place.set_xlim(-0.4 * later[0], 1.25 * later[-1])
    some = epochs[:: -(-len(epochs) // _TICKS)]
    place.set_xticks(some, [tick(epoch) for epoch in some], minor=False)
    place.set_xticks([], minor=True)
    place.tick_params(labelsize=8)
    place.set_xlabel("epoch of the checkpoint", fontsize=9)


def _draw_legend(figure: Figure, table: pd.DataFrame, layers: Sequence[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = []
    drawn = set(table.loc[table["alpha"].notna(), "layer"])
    for layer in (name for name in layers if name in drawn):
        style = _style(layers, layer)
        handles.append(Line2D([], [], color=style.colour, marker=style.marker, markersize=4, label=layer))
    known = table["null"].notna().any()
    null = "random matrices of the same shape" if known else "random matrices: no spectrum_null measured"
    handles.append(Line2D([], [], color="0.4", linestyle="--", linewidth=1, label=null))
    few = table.loc[table["seeds"] > 0, "seeds"].min() == 1
    band = "standard deviation over seeds" + ("; of one, standard error of the fit" if few else "")
    handles.append(Patch(color="0.4", alpha=_BAND, linewidth=0, label=f"± {band}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), fontsize=8)


def draw_exponents(zoo: Zoo, *, at: Mapping[str, str] | None = None, cell: Sequence[str] = ()) -> Figure:
    """Draw the FARMS exponents of the layers of some cells over training.

    Args:
        zoo: The zoo; measured by `farms` and, for the level of random matrices, by `spectrum_null`.
        at: Value of axes, as text; only such cells are chosen from.
        cell: Ids of cells; by default the clearest member of each phase, of those with exponents for most
            layers.

    Returns:
        The figure.

    Raises:
        UnknownNameError: There is no such cell or axis.
        QueryError: No exponents were measured, or no cell is left.
    """
    needed = dict.fromkeys(("farms_alpha", "farms_alpha_sem", "farms_reason"), "farms")
    rows = layer_rows(zoo, needed, optional=[_NULL])
    defined = rows[rows["last"]].groupby("cell_id")["farms_alpha"].count()
    among = telling_cells(zoo, defined, cell=cell, at=at)
    chosen = choose_cells(zoo, among, cell=cell, at=at)
    table = over_seeds(rows[rows["cell_id"].isin([one.cell_id for one in chosen])])
    title = f"{zoo.manifest.name}: FARMS exponents of the layers along training, means over seeds"
    return exponents_figure(table, chosen, layer_names(zoo), title)
