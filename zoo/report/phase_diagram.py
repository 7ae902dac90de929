"""What was measured over load and temperature: heat maps, one colour bar each.

Style of Yang et al., NeurIPS 2021, figure 2: load on x, temperature on y, logarithmic axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import QueryError
from zoo.population import Zoo
from zoo.report.panels import Panel, draw_panel
from zoo.report.plane import Plane, choose_axis, describe, select

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EQUATIONS = (
    Panel("test_error", "Relative L2 error on the test grid", "", "magma_r", "log"),
    Panel("train_loss", "Train loss", "", "magma_r", "log"),
)
PANELS = (
    Panel("test_accuracy", "Test accuracy", "share of test items"),
    Panel("train_loss", "Train loss, clean labels", "nats", "magma_r", "log"),
    Panel("fit_loss", "Train loss, labels as trained on", "nats", "magma_r", "log"),
    Panel("generalization_gap", "Gap: train (clean labels) - test accuracy", "share of items", "cividis"),
    Panel("cka", "CKA of logits between seeds", "similarity"),
    Panel("disagreement", "Disagreement between seeds", "share of test items", "cividis"),
)


def phase_diagram(
    zoo: Zoo,
    *,
    load: str | None = None,
    temperature: str | None = None,
    at: Mapping[str, str] | None = None,
) -> Figure:
    """Draw what was measured over the load x temperature plane.

    Args:
        zoo: The zoo.
        load: Axis on x; by default the zoo's first load axis.
        temperature: Axis on y; by default its first temperature axis.
        at: Value of other axes, as text; over those that are not given, values are averaged.

    Returns:
        The figure: a panel for each metric that the zoo has. A cell without a finished model is grey.

    Raises:
        UnknownNameError: The zoo has no such axis.
        QueryError: The zoo has none of the metrics: measure it first. Or no cell has a value given.
    """
    from matplotlib.figure import Figure

    plane = _average(zoo, load, temperature, at or {})
    known = _EQUATIONS if "test_error" in plane.cells else PANELS
    panels = [p for p in known if p.column in plane.cells and plane.cells[p.column].notna().any()]
    if not panels:
        raise QueryError(f"{zoo.root} has no metrics to draw; run `phasezoo measure {zoo.root}` first")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, panel in zip(axes, panels, strict=False):
        draw_panel(figure, place, plane, panel)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    figure.suptitle(_title(zoo, plane), wrap=True)
    return figure


def _average(zoo: Zoo, load: str | None, temperature: str | None, at: Mapping[str, str]) -> Plane:
    axes = zoo.manifest.axes
    x, y = choose_axis(axes, "load", load), choose_axis(axes, "temperature", temperature)
    others = [axis.name for axis in axes if axis.name not in {x, y}]
    cells, held = select(zoo.cells, others, at)
    turned = any(axis.name == y and axis.colder_when_higher for axis in axes)
    return Plane(x, y, cells, held, turned)


def _title(zoo: Zoo, plane: Plane) -> str:
    finished, models = zoo.manifest.counts.finished, zoo.manifest.counts.models
    averaged = [name for name in zoo.manifest.axis_names() if name not in {plane.x, plane.y, *plane.fixed}]
    over = " and ".join(["seeds", *(name.replace("_", " ") for name in averaged)])
    at = f" at {describe(plane.fixed)}" if plane.fixed else ""
    return (
        f"{zoo.manifest.name}{at}: {len(plane.cells)} cells, {finished} of {models} models finished, "
        f"means over {over}; grey: undefined"
    )


def save(figure: Figure, path: Path) -> None:
    """Save a figure; the ending of the name picks the kind.

    Args:
        figure: The figure.
        path: Where to, `.png` or `.svg`.

    Raises:
        QueryError: The ending is another.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def check_name(path: Path) -> None:
    """Refuse a name that says no kind of picture, before anything is drawn.

    Args:
        path: The file.

    Raises:
        QueryError: It ends with neither `.png` nor `.svg`.
    """
    if path.suffix not in {".png", ".svg"}:
        raise QueryError(
            f"cannot save a figure as {path.name!r}; expected a name that ends with .png or .svg"
        )
