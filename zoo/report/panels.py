"""One heat map over the plane: how values become colours, and what stands around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray

from zoo.report.colours import UNDEFINED, around_zero
from zoo.report.plane import Plane, tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

Scale = Literal["linear", "log", "magnitude", "balance"]
Extend = Literal["neither", "min", "max", "both"]
_HATCH = "#00a8ff"
_ROOM_ACROSS, _ROOM_UPWARDS = 32, 16
"""How many letters fit below a panel, and how many lines beside it."""


class Panel(NamedTuple):
    """One heat map.

    Attributes:
        column: Column of the cells.
        title: What the reader sees above it.
        unit: What stands beside its colour bar.
        colours: Matplotlib colour map; perceptually even. Not read where the scale is `balance`.
        scale: How values become colours: `linear`; `log`; `magnitude`, the decimal logarithm of their size,
            negative ones hatched; or `balance`, the same on both sides of a white zero.
    """

    column: str
    title: str
    unit: str
    colours: str = "viridis"
    scale: Scale = "linear"


def magnitude(values: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Take the decimal logarithm of the size of numbers of either sign.

    Args:
        values: The numbers.

    Returns:
        `log10 |v|`; missing where the number is zero or missing.

    Example:
        >>> magnitude(np.array([[100.0, -10.0]])).tolist()
        [[2.0, 1.0]]
    """
    sizes = np.abs(values)
    return np.asarray(np.log10(sizes, where=sizes > 0, out=np.full_like(sizes, np.nan)))


def balanced_limit(values: Float[np.ndarray, "rows columns"], share: float = 95.0) -> float:
    """Choose where colours on both sides of zero end, so that one cell does not wash out the rest.

    Args:
        values: Numbers of either sign.
        share: Per cent of the numbers whose size is within the limit.

    Returns:
        The limit, above zero; 1 where no number differs from zero.

    Example:
        >>> balanced_limit(np.array([[-2.0, 1.0], [0.0, 2.0]]))
        2.0
    """
    sizes = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(sizes, share)) if sizes.size else 0.0
    return limit or float(sizes.max(initial=0.0)) or 1.0


def draw_panel(figure: Figure, place: Axes, plane: Plane, panel: Panel) -> None:
    """Draw a panel; without values it stays grey and says why.

    Args:
        figure: The figure.
        place: Where to draw.
        plane: The cells.
        panel: What to draw of them.
    """
    grid = plane.grid(panel.column)
    if panel.column not in plane.cells:
        _leave_grey(place, "not measured")
    elif grid.isna().to_numpy().all():
        _leave_grey(place, "undefined in all cells")
    else:
        _draw_values(figure, place, grid.to_numpy(float), panel)
    _label_axes(place, grid, plane)
    place.set_title(panel.title, fontsize=10)


def _leave_grey(place: Axes, why: str) -> None:
    place.set_facecolor(UNDEFINED)
    place.text(0.5, 0.5, why, ha="center", va="center", color="0.3", transform=place.transAxes)


def _draw_values(figure: Figure, place: Axes, values: NDArray[np.float64], panel: Panel) -> None:
    """Draw a cell a grid point: positions are even, so that ticks are the values of the axes themselves."""
    shown, norm, colours, extend = _colouring(values, panel)
    image = place.imshow(np.ma.masked_invalid(shown), origin="lower", aspect="auto", norm=norm, cmap=colours)
    if panel.scale == "magnitude":
        _hatch(place, values < 0)
    bar = figure.colorbar(image, ax=place, extend=extend, label=panel.unit)
    bar.ax.tick_params(labelsize=8)
    if panel.scale == "log":
        _write_plainly(bar.ax)


def _colouring(
    values: NDArray[np.float64], panel: Panel
) -> tuple[NDArray[np.float64], Normalize, Colormap, Extend]:
    """Give the numbers to draw, how they become colours, and whether some lie beyond the last colour."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    colours = colormaps[panel.colours].with_extremes(bad=UNDEFINED)
    positive = values[np.isfinite(values) & (values > 0)]
    if panel.scale == "log" and positive.size:
        # a loss of exactly zero has no logarithm; it is drawn as the smallest loss there is
        norm = LogNorm(positive.min(), positive.max())
        return np.where(values <= 0, positive.min(), values), norm, colours, "neither"
    if panel.scale == "magnitude":
        return magnitude(values), Normalize(), colours, "neither"
    if panel.scale == "balance":
        limit = balanced_limit(values)
        return values, Normalize(-limit, limit), around_zero(), _beyond(values, limit)
    return values, Normalize(), colours, "neither"


def _beyond(values: NDArray[np.float64], limit: float) -> Extend:
    below, above = (values < -limit).any(), (values > limit).any()
    return "both" if below and above else "min" if below else "max" if above else "neither"


def _hatch(place: Axes, cells: NDArray[np.bool_]) -> None:
    from matplotlib.patches import Rectangle

    for i, j in np.argwhere(cells):
        corner = (float(j) - 0.5, float(i) - 0.5)
        place.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", edgecolor=_HATCH, linewidth=0))


def _write_plainly(bar: Axes) -> None:
    """Write 0.02 where matplotlib would write a power, and no more numbers than fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = bar.get_ylim()
    steps = (1.0,) if high > 1e4 * low else (1.0, 3.0) if high > 30 * low else (1.0, 2.0, 5.0)
    bar.yaxis.set_major_locator(LogLocator(subs=steps))
    bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.yaxis.set_minor_formatter(NullFormatter())


def _label_axes(place: Axes, grid: pd.DataFrame, plane: Plane) -> None:
    place.set_xlim(-0.5, len(grid.columns) - 0.5)
    place.set_ylim(-0.5, len(grid.index) - 0.5)
    names = [tick(value) for value in grid.columns]
    place.set_xticks(*_some(names, -(-sum(len(name) + 1 for name in names) // _ROOM_ACROSS)))
    names = [tick(value) for value in grid.index]
    place.set_yticks(*_some(names, -(-len(names) // _ROOM_UPWARDS)))
    place.tick_params(labelsize=8)
    place.set_xlabel(f"load: {plane.x.replace('_', ' ')}", fontsize=9)
    place.set_ylabel(f"temperature: {plane.y.replace('_', ' ')}", fontsize=9)
    if plane.colder_upwards:
        place.invert_yaxis()  # hot stays on top


def _some(names: list[str], step: int) -> tuple[list[int], list[str]]:
    """Give the places and names of every value of an axis, or every second, third... where they are many."""
    return list(range(0, len(names), step)), names[::step]
