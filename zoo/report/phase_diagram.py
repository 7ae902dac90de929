"""The phase diagram of the field: heat-maps over load and temperature, one colour bar each.

Style of Yang et al., NeurIPS 2021, figure 2: load on x, temperature on y, logarithmic axes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from zoo.errors import QueryError, unknown_name
from zoo.population import Zoo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Panel(NamedTuple):
    """One heat-map.

    Attributes:
        column: Column of the cells.
        title: What the reader sees above it.
        colours: Matplotlib colour map; perceptually even.
        log: Whether the colours follow the logarithm.
    """

    column: str
    title: str
    colours: str
    log: bool = False


_EQUATIONS = (
    Panel("test_error", "Relative L2 error on the test grid", "magma_r", log=True),
    Panel("train_loss", "Train loss", "magma_r", log=True),
)
PANELS = (
    Panel("test_accuracy", "Test accuracy", "viridis"),
    Panel("train_loss", "Train loss (nats, clean labels)", "magma_r", log=True),
    Panel("fit_loss", "Train loss (nats, labels as trained on)", "magma_r", log=True),
    Panel("generalization_gap", "Gap: train (clean labels) - test accuracy", "cividis"),
    Panel("cka", "CKA of logits between seeds", "viridis"),
    Panel("disagreement", "Disagreement between seeds", "cividis"),
)


def phase_diagram(zoo: Zoo, *, load: str | None = None, temperature: str | None = None) -> Figure:
    """Draw what was measured over the load x temperature plane.

    Args:
        zoo: The zoo.
        load: Axis on x; by default the zoo's first load axis.
        temperature: Axis on y; by default its first temperature axis.

    Returns:
        The figure: a panel for each metric that the zoo has. A cell without a finished model is grey.

    Raises:
        UnknownNameError: The zoo has no such axis.
        QueryError: The zoo has none of the metrics; measure it first.
    """
    from matplotlib.figure import Figure

    x = _axis(zoo, "load", load)
    y = _axis(zoo, "temperature", temperature)
    cells = zoo.cells
    known = _EQUATIONS if "test_error" in cells else PANELS
    panels = [panel for panel in known if panel.column in cells and cells[panel.column].notna().any()]
    if not panels:
        raise QueryError(f"{zoo.root} has no metrics to draw; run `phasezoo measure {zoo.root}` first")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, panel in zip(axes, panels, strict=False):
        _draw(figure, place, cells.pivot_table(index=y, columns=x, values=panel.column, dropna=False), panel)
        place.set_xlabel(f"load: {x.replace('_', ' ')}")
        place.set_ylabel(f"temperature: {y.replace('_', ' ')}")
        if any(axis.name == y and axis.colder_when_higher for axis in zoo.manifest.axes):
            place.invert_yaxis()  # hot stays on top
    for place in axes[len(panels) :]:
        place.set_axis_off()
    finished, models = zoo.manifest.counts.finished, zoo.manifest.counts.models
    others = [name.replace("_", " ") for name in zoo.manifest.axis_names() if name not in {x, y}]
    over = " and ".join(["seeds", *others])
    figure.suptitle(
        f"{zoo.manifest.name}: {len(cells)} cells, {finished} of {models} models finished, "
        f"means over {over}; grey: undefined",
        wrap=True,
    )
    return figure


def _axis(zoo: Zoo, kind: str, name: str | None) -> str:
    names = zoo.manifest.axis_names(kind)
    if name is None:
        return names[0]
    if name not in names:
        raise unknown_name(f"{kind} axis", name, names)
    return name


def _draw(figure: Figure, place: Axes, grid: pd.DataFrame, panel: Panel) -> None:
    """Draw one panel with a cell a grid point: positions are even, so labels are the values themselves."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    values = grid.to_numpy(float)
    # a loss of exactly zero has no logarithm; it is drawn as the smallest loss there is
    positive = values[np.isfinite(values) & (values > 0)]
    norm = LogNorm(positive.min(), positive.max()) if panel.log and positive.size else None
    shown = np.where(values <= 0, positive.min(), values) if norm else values
    image = place.imshow(
        np.ma.masked_invalid(shown),
        origin="lower",
        aspect="auto",
        norm=norm,
        cmap=colormaps[panel.colours].with_extremes(bad="0.85"),
    )
    place.set_xticks(range(len(grid.columns)), [_label(value) for value in grid.columns])
    place.set_yticks(range(len(grid.index)), [_label(value) for value in grid.index])
    place.set_title(panel.title, fontsize=11)
    figure.colorbar(image, ax=place)


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def save(figure: Figure, path: Path) -> None:
    """Save a figure; the ending of the name picks the kind.

    Args:
        figure: The figure.
        path: Where to, `.png` or `.svg`.

    Raises:
        QueryError: The ending is another.
    """
    if path.suffix not in {".png", ".svg"}:
        raise QueryError(
            f"cannot save a figure as {path.name!r}; expected a name that ends with .png or .svg"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
