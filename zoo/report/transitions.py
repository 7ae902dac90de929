"""Where along an axis an order parameter changes fastest, and over which width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from scipy import stats

from zoo.report.plane import describe, tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS, _MOST_TICKS, _DECADE, _LEVEL = 4, 8, 10.0, 0.95
_COLOUR = "#d55e00"


def seed_means(values: pd.DataFrame, axis: str, order_parameter: str) -> pd.DataFrame:
    """Average an order parameter over the seeds of each point of an axis.

    Args:
        values: A row a seed, with columns of the axis and of the order parameter.
        axis: The axis.
        order_parameter: The order parameter; missing values do not count.

    Returns:
        A row a point, ascending: the axis, `mean`, `low` and `high` of the mean's 95 % interval by Student's
        t; missing where there is one seed.

    Example:
        >>> values = pd.DataFrame({"width": [2, 2], "cka": [0.4, 0.6]})
        >>> seed_means(values, "width", "cka").round(2).to_dict("records")
        [{'width': 2, 'mean': 0.5, 'low': -0.77, 'high': 1.77}]
    """
    grouped = values.dropna(subset=[order_parameter]).groupby(axis)[order_parameter]
    table = grouped.agg(["mean", "sem", "size"]).reset_index()
    reach = table["sem"] * stats.t.ppf((1 + _LEVEL) / 2, (table["size"] - 1).clip(lower=1))
    return table.assign(low=table["mean"] - reach, high=table["mean"] + reach)[[axis, "mean", "low", "high"]]


def transitions_figure(
    values: pd.DataFrame,
    places: pd.DataFrame,
    *,
    axis: str,
    order_parameter: str,
    others: Sequence[str] = (),
    title: str,
) -> Figure:
    """Draw an order parameter along an axis, a panel for each line of fixed other axes.

    Args:
        values: A row a seed (or pair of seeds), with columns of the axes and of the order parameter.
        places: What `zoo.phases.transitions` finds in them: the columns `others` first, a row a line.
        axis: The axis.
        order_parameter: The order parameter.
        others: The axes that are fixed on a line.
        title: What stands above.

    Returns:
        The figure: means over seeds with their interval; the place is a line, its interval a band, the width
        a bar around the place.
    """
    from matplotlib.figure import Figure

    columns = min(_ACROSS, len(places))
    rows = -(-len(places) // columns)
    figure = Figure(figsize=(max(3.3 * columns, 5), 0.8 + 2.5 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel())
    for panel, (_, found) in zip(panels, places.iterrows(), strict=False):
        fixed = {name: found[name] for name in others}
        line = values
        for name, value in fixed.items():
            line = line[line[name] == value]
        means = seed_means(line, axis, order_parameter)
        _draw_means(panel, means, axis)
        _mark(panel, found, float(means["mean"].mean()))
        panel.set_title(describe(fixed), fontsize=9)
    _scale(panels[0], sorted(values[axis].unique()))
    _label(panels, len(places), columns, (axis, order_parameter))
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _draw_means(place: Axes, means: pd.DataFrame, axis: str) -> None:
    across = means[axis].to_numpy(float)
    place.fill_between(across, means["low"], means["high"], color="0.8", linewidth=0)
    place.plot(across, means["mean"], color="0.2", marker="o", markersize=3, linewidth=1.2)
    place.tick_params(labelsize=8)


def _mark(place: Axes, found: pd.Series[float], height: float) -> None:
    """Mark the place with its interval, and the width at the height of the curve's middle."""
    middle = found["place"]
    if pd.isna(middle):
        place.text(0.5, 0.9, "no transition", ha="center", fontsize=8, transform=place.transAxes)
        return
    if pd.notna(found["place_low"]):
        place.axvspan(found["place_low"], found["place_high"], color=_COLOUR, alpha=0.2, linewidth=0)
    place.axvline(middle, color=_COLOUR, linewidth=1.4)
    factor = _DECADE ** (found["log_extent"] / 2)
    half = found["extent"] / 2
    ends = (middle - half, middle + half) if pd.isna(factor) else (middle / factor, middle * factor)
    place.plot(ends, (height, height), color=_COLOUR, linewidth=1.2, marker="|", markersize=8)


def _scale(place: Axes, points: Sequence[float]) -> None:
    """Write the values of the axis themselves, as many as fit, on the scale that places are found on."""
    if points[0] > 0 and points[-1] > _DECADE * points[0]:
        place.set_xscale("log")
    place.set_xticks([], minor=True)
    shown = points[:: -(-len(points) // _MOST_TICKS)]
    place.set_xticks(shown, [tick(float(point)) for point in shown])


def _label(panels: Sequence[Axes], used: int, columns: int, names: tuple[str, str]) -> None:
    across, upwards = (name.replace("_", " ") for name in names)
    for panel in panels[used:]:
        panel.set_axis_off()
    for panel in panels[::columns]:
        panel.set_ylabel(upwards, fontsize=9)
    for panel in panels[max(used - columns, 0) : used]:
        panel.set_xlabel(across, fontsize=9)
        panel.tick_params(labelbottom=True)
