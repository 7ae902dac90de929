"""How the cuts between phases were found: the distribution of each quantity, and where it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Real

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Histogram = tuple[Float[np.ndarray, " edges"], Real[np.ndarray, " bins"], float]
"""Edges of the bins, number of cells in each, and the cut."""


def calibration_figure(quantities: Mapping[str, Histogram], title: str) -> Figure:
    """Draw the histogram of each quantity with its cut.

    Args:
        quantities: Histogram and cut by quantity; on a logarithmic axis where edges rise by a factor.
        title: What stands above.

    Returns:
        The figure; what lies below a cut is drawn dark, what lies above it light.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.6 * len(quantities), 4.4), 3.2), layout="constrained")
    axes = figure.subplots(1, max(len(quantities), 1), squeeze=False).ravel()
    for place, (name, histogram) in zip(axes, quantities.items(), strict=False):
        _draw(place, name, histogram)
    axes[0].set_ylabel("cells", fontsize=9)
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _draw(place: Axes, name: str, histogram: Histogram) -> None:
    edges, counts, cut = histogram
    below = (edges[:-1] + edges[1:]) / 2 < cut
    colours = np.where(below, "0.45", "0.75")
    place.bar(
        edges[:-1], counts, np.diff(edges), align="edge", color=colours, edgecolor="white", linewidth=0.4
    )
    place.axvline(cut, color="#d55e00", linewidth=1.6)
    place.text(
        cut,
        1.01,
        f"{cut:.3g}",
        color="#a04000",
        fontsize=9,
        ha="center",
        transform=place.get_xaxis_transform(),
    )
    if _is_geometric(edges):
        place.set_xscale("log")
    place.set_xlabel(name.replace("_", " "), fontsize=9)
    place.tick_params(labelsize=8)


def _is_geometric(edges: Float[np.ndarray, " edges"]) -> bool:
    if len(edges) < 3 or edges[0] <= 0:
        return False
    steps = edges[1:] / edges[:-1]
    return bool(np.allclose(steps, steps[0], rtol=1e-3)) and not np.allclose(
        np.diff(edges), edges[1] - edges[0]
    )
