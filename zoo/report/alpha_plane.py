"""Exponents of the layers over load and temperature, beside what the networks are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from zoo.population import Zoo
from zoo.report.layers import check_layer, layer_rows
from zoo.report.outlines import name_regions, outline
from zoo.report.panels import Panel, draw_panel
from zoo.report.plane import Plane, choose_plane
from zoo.report.selection import with_known_phases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NULL, _NULL_SD = "farms_alpha_null", "farms_alpha_null_sd"
_NEEDED = {
    "farms_alpha": "farms",
    "alpha": "eigenspectrum",
    _NULL: "spectrum_null",
    _NULL_SD: "spectrum_null",
}
_REASONS = {
    "farms_alpha": ["farms_reason"],
    "alpha": ["eigenspectrum_reason"],
    "against_null": ["farms_reason", "spectrum_null_reason"],
}
"""Where it stands why a mean is missing: in the first that says something."""
_ACCURACY = Panel("test_accuracy", "(a) Test accuracy", "share of test items")
_ERROR = Panel("test_error", "(a) Relative L2 error on the test grid", "", "magma_r", "log")
_PANELS = (
    Panel("farms_alpha", "(b) FARMS exponent: windows of one shape", "alpha; small: heavy tail", "cividis"),
    Panel("alpha", "(c) Exponent of whole matrices", "alpha; small: heavy tail", "cividis"),
    Panel(
        "against_null",
        "(d) FARMS exponent against random matrices",
        "standard deviations; < 0: heavier tail",
        scale="balance",
    ),
)


def mean_exponents(rows: pd.DataFrame) -> pd.DataFrame:
    """Average exponents over the layers of a network that have one, then over the networks of a cell.

    Args:
        rows: Rows with `cell_id`, `checkpoint_id`, `farms_alpha`, its null with the standard deviation, and
            `alpha`.

    Returns:
        By the id of the cell: `farms_alpha`, `alpha`, and `against_null`, how many standard deviations of
        the null each layer's `farms_alpha` is above it. Missing where no layer has one.

    Example:
        >>> null = {"farms_alpha_null": 2.0, "farms_alpha_null_sd": 0.1, "alpha": float("nan")}
        >>> layers = [{"cell_id": "c", "checkpoint_id": "m@1", "farms_alpha": a, **null} for a in (1.5, 1.7)]
        >>> mean_exponents(pd.DataFrame(layers)).round(3).values.tolist()
        [[1.6, nan, -4.0]]
    """
    deviation = rows[_NULL_SD].where(rows[_NULL_SD] > 0)
    table = rows.assign(against_null=(rows["farms_alpha"] - rows[_NULL]) / deviation)
    names = [panel.column for panel in _PANELS]
    networks = table.groupby(["cell_id", "checkpoint_id"])[names].mean()
    return networks.groupby("cell_id").mean()


def alpha_plane_figure(plane: Plane, reasons: Mapping[str, str], title: str) -> Figure:
    """Draw test accuracy and three means of exponents over the plane.

    Args:
        plane: The cells, with the columns of `mean_exponents`; with `phase` where they are labelled.
        reasons: Why cells are grey, by column.
        title: What stands above.

    Returns:
        The figure, phases outlined on each panel. A panel without values stays grey and says so.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 8.6), layout="constrained")
    labelled = "phase" in plane.cells and plane.cells["phase"].notna().any()
    worth = _ERROR if "test_error" in plane.cells else _ACCURACY
    for place, panel in zip(figure.subplots(2, 2).ravel(), (worth, *_PANELS), strict=True):
        draw_panel(figure, place, plane, panel)
        if panel.column in reasons:
            place.set_title(f"{panel.title}\ngrey: {reasons[panel.column]}", fontsize=10)
        if labelled and place.images:
            outline(place, plane.labels(), width=1.2)
    if labelled and figure.axes[0].images:
        name_regions(figure.axes[0], plane.labels())
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def draw_alpha_plane(
    zoo: Zoo,
    *,
    load: str | None = None,
    temperature: str | None = None,
    at: Mapping[str, str] | None = None,
    layer: str | None = None,
) -> Figure:
    """Draw exponents of the last checkpoints over the load x temperature plane, beside test accuracy.

    Args:
        zoo: The zoo; measured by `farms`, `eigenspectrum` and `spectrum_null`.
        load: Axis on x; by default the zoo's first load axis.
        temperature: Axis on y; by default its first temperature axis.
        at: Value of other axes, as text; each that is not given stays at its first value, the share of the
            data at its largest.
        layer: The layer; by default the mean over those that have an exponent.

    Returns:
        The figure.

    Raises:
        UnknownNameError: The zoo has no such axis or layer.
        QueryError: No exponents were measured, or no cell has a value given.
    """
    check_layer(zoo, layer)
    rows = layer_rows(zoo, _NEEDED, optional=sorted({name for names in _REASONS.values() for name in names}))
    rows = rows[rows["last"] & rows["layer"].isin([layer] if layer else rows["layer"])]
    cells = with_known_phases(zoo.cells).merge(mean_exponents(rows), on="cell_id", how="left")
    plane = choose_plane(cells, zoo.manifest.axes, load=load, temperature=temperature, at=at)
    where = f" at {plane.where}" if plane.fixed else ""
    of = f"of the layer {layer}, means" if layer else "means over the layers that have one and"
    title = f"{zoo.manifest.name}{where}: exponents at the end of training, {of} over seeds"
    return alpha_plane_figure(plane, _reasons(plane.cells, rows), title)


def _reasons(cells: pd.DataFrame, rows: pd.DataFrame) -> dict[str, str]:
    """Give the most frequent reason, by column, why cells have no value; only where some have none."""
    found = {}
    for column, names in _REASONS.items():
        lacking = cells.loc[cells[column].isna(), "cell_id"]
        said = rows.loc[rows["cell_id"].isin(lacking), names].bfill(axis=1).iloc[:, 0].value_counts()
        if len(lacking):
            more = ", or other reasons" if len(said) > 1 else ""
            found[column] = f"{said.index[0]}{more}" if len(said) else "no finished network with such a layer"
    return found
