"""What lies between two networks of a cell: train error along the straight line and along a curve."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from zoo.population import Zoo
from zoo.report.selection import Chosen, choose_cells, last_checkpoints, read_series
from zoo.storage import Arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS, _LETTERS = 5, 34


class Path(NamedTuple):
    """A way from one network to another.

    Attributes:
        t: How far along it, `(n_points,)` in [0, 1].
        error: Train error there, in percentage points.
    """

    t: Float[np.ndarray, " points"]
    error: Float[np.ndarray, " points"]


class Crossing(NamedTuple):
    """The ways between two networks of a cell.

    Attributes:
        of: The cell.
        straight: The straight line.
        aligned: The straight line after the hidden units of one network were matched to the other's.
        curve: The trained Bezier curve. Each is missing where it was not measured.
    """

    of: Chosen
    straight: Path | None = None
    aligned: Path | None = None
    curve: Path | None = None


_GREYS = ("0.25", "0.25")
_STYLES = (
    ("straight line", "-"),
    ("straight line, units aligned", "--"),
    ("Bezier curve, in the colour of the phase", "-"),
)


def barriers_figure(crossings: Sequence[Crossing], title: str) -> Figure:
    """Draw a panel for each pair of networks, on a shared axis of error.

    Args:
        crossings: At least one.
        title: What stands above.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    columns = min(_ACROSS, len(crossings))
    rows = -(-len(crossings) // columns)
    figure = Figure(figsize=(max(2.75 * columns, 6.6), 0.9 + 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, crossing in zip(axes, crossings, strict=False):
        _draw(place, crossing)
    for place in axes[len(crossings) :]:
        place.set_axis_off()
    for place in axes[::columns]:
        place.set_ylabel("train error (%)", fontsize=9)
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    handles = {line.get_label(): line for place in axes for line in place.lines}
    figure.legend(
        handles.values(), [str(name) for name in handles], loc="outside lower center", ncols=3, fontsize=9
    )
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _draw(place: Axes, crossing: Crossing) -> None:
    paths = (crossing.straight, crossing.aligned, crossing.curve)
    colours = (*_GREYS, crossing.of.colour)
    for path, colour, (label, line) in zip(paths, colours, _STYLES, strict=True):
        if path is not None:
            place.plot(path.t, path.error, line, color=colour, marker=".", markersize=3, label=label)
    place.set_title("\n".join(wrap(crossing.of.title, _LETTERS)), fontsize=9)
    place.set_xlabel("place along the path", fontsize=9)
    place.tick_params(labelsize=8)
    place.set_xlim(0, 1)


def draw_barriers(zoo: Zoo, *, at: Mapping[str, str] | None = None, cell: Sequence[str] = ()) -> Figure:
    """Draw the ways between the first two networks of some cells.

    Args:
        zoo: The zoo; measured by `mode_connectivity`, `linear_barrier`, or both.
        at: Value of axes, as text; only such cells are chosen from.
        cell: Ids of cells; by default the clearest member of each phase.

    Returns:
        The figure.

    Raises:
        UnknownNameError: There is no such cell or axis.
        QueryError: No path was measured, or none of what was asked for.
    """
    found = read_series(zoo, ["mode_connectivity", "linear_barrier"], ["t", "train_points"])
    curves, lines = found["mode_connectivity"], found["linear_barrier"]
    first = _first_pairs(zoo, set(curves) | set(lines))
    chosen = choose_cells(zoo, first, cell=cell, at=at)
    crossings = [
        _crossing(one, lines.get(first[one.cell_id]), curves.get(first[one.cell_id])) for one in chosen
    ]
    return barriers_figure(crossings, f"{zoo.manifest.name}: train error between two networks of a cell")


def _first_pairs(zoo: Zoo, keys: Collection[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Give the key of the pair of lowest seeds of each cell, both at their last epoch."""
    rank = {name: place for place, name in enumerate(last_checkpoints(zoo)["checkpoint_id"])}
    ended = [key for key in keys if key[1] in rank and key[2] in rank]
    ended.sort(key=lambda key: (rank[key[1]], rank[key[2]]), reverse=True)
    return {key[0]: key for key in ended}


def _crossing(of: Chosen, lines: Arrays | None, curves: Arrays | None) -> Crossing:
    return Crossing(
        of,
        straight=_path(lines, "train_points"),
        aligned=_path(lines, "aligned_train_points"),
        curve=_path(curves, "train_points"),
    )


def _path(arrays: Arrays | None, error: str) -> Path | None:
    return Path(arrays["t"], arrays[error]) if arrays and error in arrays else None
