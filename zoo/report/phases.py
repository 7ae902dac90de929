"""The seven-panel figure of the field: phases, loss, sharpness, connectivity, similarity over the plane.

Style of Yang et al., "Taxonomizing local versus global structure in neural network loss landscapes",
NeurIPS 2021, figure 2: load on x, temperature on y.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from zoo.errors import QueryError
from zoo.population import Zoo
from zoo.report.colours import PHASES
from zoo.report.outlines import name_regions, outline
from zoo.report.panels import Panel, draw_panel
from zoo.report.plane import Plane, choose_plane
from zoo.report.rule import RuleColumns, rule_columns
from zoo.report.selection import with_known_phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_LOSSES = {"train_loss": "Train loss, clean labels", "fit_loss": "Train loss, labels as trained on"}


def phase_panels(columns: RuleColumns) -> tuple[Panel, ...]:
    """List the seven panels.

    Args:
        columns: What the phases were told by.

    Returns:
        The panels in their order; wherever there is a good and a bad, bright is good.
    """
    loss = _LOSSES.get(columns.loss, columns.loss)
    told = columns.similarity.replace("_", " ").replace("cka", "CKA")
    return (
        Panel("test_accuracy", "(a) Test accuracy", "share of test items"),
        Panel(columns.loss, f"(b) {loss}", "nats", "magma_r", "log"),
        Panel(
            "hessian_top_eigenvalue",
            "(c) Top Hessian eigenvalue",
            r"log$_{10}$ |eigenvalue|; hatched: negative",
            "magma_r",
            "magnitude",
        ),
        Panel("hessian_trace", "(d) Hessian trace, train", r"log$_{10}$ |trace|", "magma_r", "magnitude"),
        Panel(
            columns.connectivity, "(e) Mode connectivity", "percentage points; < 0: barrier", scale="balance"
        ),
        Panel(columns.similarity, f"(f) {told} between seeds", "similarity"),
        Panel("hessian_test_trace", "(g) Hessian trace, test", r"log$_{10}$ |trace|", "magma_r", "magnitude"),
    )


def phases_figure(plane: Plane, columns: RuleColumns, title: str) -> Figure:
    """Draw the seven panels and the legend of the phases.

    Args:
        plane: The cells; with a column `phase` where they are labelled.
        columns: What the phases were told by.
        title: What stands above.

    Returns:
        The figure. A panel whose column is missing stays grey and says so.

    """
    from matplotlib.figure import Figure

    panels = phase_panels(columns)
    figure = Figure(figsize=(14.4, 6.8), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    labels = plane.labels() if "phase" in plane.cells and plane.cells["phase"].notna().any() else None
    for place, panel in zip(axes, panels, strict=False):
        draw_panel(figure, place, plane, panel)
        if labels is not None and place.images:
            outline(place, labels, width=2.0 if place is axes[0] else 0.8)
    if labels is not None:
        name_regions(axes[0], labels)
    for place in (*axes[1:4], *axes[5:7]):
        place.set_ylabel("")
    for place in axes[:3]:
        place.set_xlabel("")
    _draw_legend(axes[-1], plane.cells["phase"] if labels is not None else None)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_legend(place: Axes, labels: pd.Series[str] | None) -> None:
    """List the phases with their colour, number of cells and meaning."""
    place.set_axis_off()
    place.set(xlim=(0, 1), ylim=(len(PHASES) + 1, -0.4))
    for row, phase in enumerate(PHASES):
        _draw_key(place, row, phase, None if labels is None else int((labels == phase).sum()))
    note = "no cell has a phase yet (phasezoo calibrate)" if labels is None else ""
    if labels is not None and labels.isna().any():
        note = f"{labels.isna().sum()} cells without a phase"
    place.text(0, len(PHASES) + 0.41, note, va="center", fontsize=9)


def _draw_key(place: Axes, row: int, phase: str, count: int | None) -> None:
    from matplotlib.patches import Rectangle

    style = PHASES[phase]
    box = Rectangle((0, row + 0.1), 0.2, 0.62, facecolor=style.colour, edgecolor="black", linewidth=0.8)
    place.add_patch(box)
    place.text(0.1, row + 0.41, phase, color=style.ink, ha="center", va="center", fontweight="bold")
    cells = "" if count is None else f"{count} cells: "
    place.text(0.24, row + 0.24, cells + style.meaning, va="center", fontsize=9)
    place.text(0.24, row + 0.6, style.signs, va="center", fontsize=8, color="0.25")


def draw_phases(
    zoo: Zoo,
    *,
    load: str | None = None,
    temperature: str | None = None,
    at: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the seven panels of a zoo.

    Args:
        zoo: The zoo.
        load: Axis on x; by default the zoo's first load axis.
        temperature: Axis on y; by default its first temperature axis.
        at: Value of other axes, as text; each that is not given stays at its first value, the
            share of the data at its largest.

    Returns:
        The figure.

    Raises:
        UnknownNameError: The zoo has no such axis.
        QueryError: None of the seven was measured, or no cell has a value given.
    """
    columns = rule_columns(zoo.manifest)
    cells = with_known_phases(zoo.cells)
    measured = [
        p.column for p in phase_panels(columns) if p.column in cells and cells[p.column].notna().any()
    ]
    if not measured:
        raise QueryError(
            f"{zoo.root} has none of the seven panels measured; run `phasezoo measure {zoo.root}` first"
        )
    plane = choose_plane(cells, zoo.manifest.axes, load=load, temperature=temperature, at=at)
    where = f" at {plane.where}" if plane.fixed else ""
    title = f"{zoo.manifest.name}{where}: {len(plane.cells)} cells, means over seeds; grey: undefined"
    return phases_figure(plane, columns, title)
