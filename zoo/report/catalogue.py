"""The figures by name: what each shows, and what one may choose about it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import QueryError, unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.population import Zoo

_PLANE, _CELLS = frozenset({"load", "temperature", "at"}), frozenset({"at", "cell"})


class Entry(NamedTuple):
    """A figure that can be asked for.

    Attributes:
        description: What it shows, in one line.
        home: Module and function that draws it from a zoo; loaded when first asked for.
        options: What one may choose, by the names of the function's arguments.
    """

    description: str
    home: str
    options: frozenset[str]


FIGURES: Mapping[str, Entry] = {
    "metrics": Entry(
        "accuracy, losses, gap and similarity over load and temperature",
        "zoo.report.phase_diagram:phase_diagram",
        _PLANE,
    ),
    "phases": Entry(
        "phases outlined on accuracy; loss, Hessian, mode connectivity, CKA",
        "zoo.report.phases:draw_phases",
        _PLANE,
    ),
    "density": Entry(
        "spectral density of the Hessian, a cell of each phase",
        "zoo.report.density:draw_density",
        _CELLS,
    ),
    "barriers": Entry(
        "train error between two seeds, straight and along a curve",
        "zoo.report.barriers:draw_barriers",
        _CELLS,
    ),
    "trajectories": Entry(
        "how cells pass through the phases while they train",
        "zoo.report.trajectories:draw_trajectories",
        _CELLS,
    ),
    "spectrum": Entry(
        "eigenvalues of a layer with power law and bulk, by phase",
        "zoo.report.spectrum:draw_spectrum",
        _CELLS | {"layer"},
    ),
    "exponents": Entry(
        "FARMS exponents of the layers along training, by phase",
        "zoo.report.exponents:draw_exponents",
        _CELLS,
    ),
    "alpha-plane": Entry(
        "exponents over load and temperature, beside test accuracy",
        "zoo.report.alpha_plane:draw_alpha_plane",
        _PLANE | {"layer"},
    ),
    "farms": Entry(
        "FARMS exponents against those of whole matrices, by aspect ratio",
        "zoo.report.farms:draw_farms",
        frozenset({"at"}),
    ),
}
"""In the order in which the help lists them."""
_LANDSCAPE = ("phase", "mode_connectivity", "hessian_top_eigenvalue", "hessian_trace")


def default_figure(zoo: Zoo) -> str:
    """Choose what to draw where no one says.

    Args:
        zoo: The zoo.

    Returns:
        `phases` where the loss landscape was measured, else `metrics`.
    """
    cells = zoo.cells
    measured = any(name in cells and cells[name].notna().any() for name in _LANDSCAPE)
    return "phases" if measured else "metrics"


def draw(name: str, zoo: Zoo, options: Mapping[str, object]) -> Figure:
    """Draw a figure by its name.

    Args:
        name: One of `FIGURES`.
        zoo: The zoo.
        options: What was chosen, by name; only what was.

    Returns:
        The figure.

    Raises:
        UnknownNameError: There is no such figure.
        QueryError: The figure has no such choice, or the zoo lacks what it shows.
    """
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    entry = FIGURES[name]
    if surplus := sorted(set(options) - entry.options):
        takes = ", ".join(f"--{option}" for option in sorted(entry.options))
        raise QueryError(f"the figure {name!r} takes no --{surplus[0]}; expected some of {takes}")
    module, _, function = entry.home.partition(":")
    figure: Figure = getattr(import_module(module), function)(zoo, **options)
    return figure
