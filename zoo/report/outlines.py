"""Where phases end on a grid of cells: lines along their borders, and places for their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from scipy import ndimage

from zoo.report.colours import PHASES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Labels = Shaped[np.ndarray, "rows columns"]
"""Labels of cells as an array of objects; missing where a cell has none."""


class Region(NamedTuple):
    """Cells of one phase that touch each other.

    Attributes:
        phase: The phase.
        x: Where its name goes, in columns.
        y: The same in rows.
        cells: How many cells it has.
    """

    phase: str
    x: float
    y: float
    cells: int


def borders(labels: Labels) -> Float[np.ndarray, "segments 2 2"]:
    """Find the cell borders between different phases.

    Args:
        labels: Label of each cell, `(n_rows, n_columns)`; the cell in row i and column j is the unit square
            around the point (j, i).

    Returns:
        Segments as pairs of points (x, y). No line goes between a cell that has a label and one without.

    Example:
        >>> borders(np.array([["I", "II"]], dtype=object)).tolist()
        [[[0.5, -0.5], [0.5, 0.5]]]
    """
    upright = [((j + 0.5, i - 0.5), (j + 0.5, i + 0.5)) for i, j in _changes(labels)]
    level = [((i - 0.5, j + 0.5), (i + 0.5, j + 0.5)) for i, j in _changes(labels.T)]
    return np.array(upright + level, dtype=np.float64).reshape(-1, 2, 2)


def _changes(labels: Labels) -> list[tuple[int, int]]:
    """List the cells whose label differs from that of the next cell in their row."""
    present = ~pd.isna(labels)
    differ = (labels[:, :-1] != labels[:, 1:]) & present[:, :-1] & present[:, 1:]
    return [(int(i), int(j)) for i, j in np.argwhere(differ.astype(bool))]


def regions(labels: Labels, *, smallest: int = 3) -> list[Region]:
    """Find the connected regions of each phase and where their names go.

    Args:
        labels: Label of each cell, as for `borders`.
        smallest: Number of cells below which a region gets no name.

    Returns:
        The regions, by phase; cells touch by their sides. The name stands at the centre of mass or, where the
        region bends around that, at its cell that is nearest.

    Example:
        >>> regions(np.array([["I", "I", "I", "II"]], dtype=object))
        [Region(phase='I', x=1.0, y=0.0, cells=3)]
    """
    found = []
    for phase in sorted(set(labels[~pd.isna(labels)])):
        parts, count = ndimage.label(labels == phase)
        for part in range(1, count + 1):
            cells = np.argwhere(parts == part)
            if len(cells) >= smallest:
                y, x = _place(cells)
                found.append(Region(str(phase), x, y, len(cells)))
    return found


def _place(cells: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[float, float]:
    """Give the centre of mass of cells, or the nearest cell where no cell lies there."""
    centre = cells.mean(axis=0)
    distances = np.abs(cells - centre)
    if (distances.max(axis=1) <= 0.5).any():
        return float(centre[0]), float(centre[1])
    nearest = cells[np.square(distances).sum(axis=1).argmin()]
    return float(nearest[0]), float(nearest[1])


def outline(place: Axes, labels: Labels, *, width: float) -> None:
    """Draw the borders of phases, dark on a light halo, so that they show on any colour.

    Args:
        place: Where the cells are drawn.
        labels: Label of each cell, as for `borders`.
        width: Width of the dark line, in points.
    """
    from matplotlib.collections import LineCollection

    segments = list(borders(labels))
    for colour, wide in (("white", width + 1.2), ("black", width)):
        lines = LineCollection(segments, colors=colour, linewidths=wide, capstyle="projecting")
        place.add_collection(lines, autolim=False)


def name_regions(place: Axes, labels: Labels) -> None:
    """Write the names of phases into their regions.

    Args:
        place: Where the cells are drawn.
        labels: Label of each cell, as for `borders`.
    """
    box = {"boxstyle": "round,pad=0.25", "edgecolor": "black", "linewidth": 0.8}
    for region in regions(labels):
        style = PHASES[region.phase]
        text = place.text(region.x, region.y, region.phase, ha="center", va="center", color=style.ink)
        text.set(bbox={**box, "facecolor": style.colour}, fontsize=9, fontweight="bold")
