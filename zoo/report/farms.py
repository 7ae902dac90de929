"""FARMS exponents against those of whole matrices: what the shape of a matrix adds to its exponent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoo.population import Zoo
from zoo.report.layers import is_kernel, layer_rows, leave_grey, sides
from zoo.report.plane import describe, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEEDED = {"farms_alpha": "farms", "alpha": "eigenspectrum"}
_REASONS = ("farms_reason", "eigenspectrum_reason")
_KINDS = {False: ("o", "matrices"), True: ("^", "kernels of convolutions")}
_MARKS, _APART, _LOG_ABOVE = 12, 0.05, 10.0


def aspect_ratio(shape: str) -> float:
    """Give the longer over the shorter side of the matrices that a layer's spectrum is of.

    Args:
        shape: As layers.parquet has it.

    Returns:
        The ratio, at least 1; of a kernel that of a slice.

    Example:
        >>> aspect_ratio("10x128"), aspect_ratio("8x4x3x3")
        (12.8, 2.0)
    """
    rows, columns = sides(shape)
    return max(rows, columns) / min(rows, columns)


def farms_figure(rows: pd.DataFrame, title: str) -> Figure:
    """Draw a point for each layer.

    Args:
        rows: Rows with `shape`, `alpha` and `farms_alpha`; and why one is missing, in `farms_reason` and
            `eigenspectrum_reason`.
        title: What stands above.

    Returns:
        The figure: FARMS exponent over that of the whole matrix, coloured by aspect ratio, with the line
        where both are equal. It says how many layers have no point, and why.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 6.4), layout="constrained")
    place = figure.subplots()
    known = rows["alpha"].notna() & rows["farms_alpha"].notna()
    if known.any():
        _draw_points(figure, place, rows[known])
    else:
        leave_grey(place, "no layer has both exponents")
        place.set(xticks=[], yticks=[])
    place.set_xlabel("exponent alpha of the whole matrix", fontsize=10)
    place.set_ylabel("FARMS exponent alpha, of windows of one shape", fontsize=10)
    place.set_title(_note(rows), fontsize=9, color="0.3", wrap=True)
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _draw_points(figure: Figure, place: Axes, rows: pd.DataFrame) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    rows = rows.assign(ratio=rows["shape"].map(aspect_ratio), kernel=rows["shape"].map(is_kernel))
    norm = LogNorm(1, max(2.0, rows["ratio"].max()))
    for kind, (marker, name) in _KINDS.items():
        some = rows[rows["kernel"] == kind]
        if len(some):
            place.scatter(
                *(some["alpha"], some["farms_alpha"]),
                c=some["ratio"],
                norm=norm,
                cmap="viridis",
                marker=marker,
                s=16,
                alpha=0.8,
                edgecolors="0.3",
                linewidths=0.2,
                label=f"{len(some)} {name}",
                rasterized=True,
            )
    colours = ScalarMappable(norm, "viridis")
    bar = figure.colorbar(colours, ax=place, label="longer over shorter side of the matrix")
    _write_ratios(bar.ax, sorted(rows["ratio"].unique()))
    _draw_diagonal(place, rows[["alpha", "farms_alpha"]].to_numpy())


def _write_ratios(bar: Axes, ratios: Sequence[float]) -> None:
    """Write the ratios that there are and both ends or, where they are many or close, powers of 2."""
    low, high = bar.get_ylim()
    powers = [2.0**power for power in range(int(np.log2(high)) + 1)]
    marks = sorted({low, *ratios, high})
    closest = min(above / below for below, above in pairwise(marks))
    if len(ratios) > _MARKS or closest < (high / low) ** _APART:
        marks = powers
    bar.set_yticks(marks, [f"{mark:.3g}" for mark in marks], fontsize=8)
    bar.set_yticks([], minor=True)


def _draw_diagonal(place: Axes, both: NDArray[np.float64]) -> None:
    """Draw where both are equal; nearly equal eigenvalues give exponents that a linear axis cannot hold."""
    if both.max() > _LOG_ABOVE:
        place.set_xscale("log")
        place.set_yscale("log")
    ends = [both.min(), both.max()]
    place.plot(ends, ends, color="black", linestyle="--", linewidth=1, label="both are equal")
    place.legend(fontsize=9, loc="best")
    place.tick_params(labelsize=8)


def _note(rows: pd.DataFrame) -> str:
    """Say how many layers have no point, and why most of them have none."""
    if rows.empty:
        return "no network has finished"
    unknown = rows[rows[["alpha", "farms_alpha"]].isna().any(axis=1)]
    if unknown.empty:
        return f"all {len(rows)} layers of last checkpoints"
    said = unknown[list(_REASONS)].bfill(axis=1).iloc[:, 0].value_counts()
    why = f": {said.index[0]}{', or other reasons' if len(said) > 1 else ''}" if len(said) else ""
    return f"{len(unknown)} of {len(rows)} layers of last checkpoints lack one of the two{why}"


def draw_farms(zoo: Zoo, *, at: Mapping[str, str] | None = None) -> Figure:
    """Draw FARMS exponents of the layers of all last checkpoints against those of whole matrices.

    Args:
        zoo: The zoo; measured by `farms` and `eigenspectrum`.
        at: Value of axes, as text; only networks of such cells are drawn.

    Returns:
        The figure.

    Raises:
        UnknownNameError: There is no such axis.
        QueryError: One of both was not measured, or no cell has a value given.
    """
    rows = layer_rows(zoo, _NEEDED, optional=_REASONS)
    cells, held = select(zoo.cells, zoo.manifest.axis_names(), at or {})
    rows = rows[rows["last"] & rows["cell_id"].isin(cells["cell_id"])]
    where = f" at {describe(held)}" if held else ""
    return farms_figure(
        rows, f"{zoo.manifest.name}{where}: exponents with and without the shape of the matrix"
    )
