"""Spectral densities of the Hessian of a few networks: where their loss is flat, and where sharp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from zoo.population import Zoo
from zoo.report.selection import Chosen, choose_cells, last_checkpoints, read_series
from zoo.storage import Arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _POINTS, _DECADES = 0.08, 1000, 9
_LINEAR_SHARE = 1e-3
"""Size of eigenvalues, as a share of the largest there is, below which the axis is linear."""


class Spectrum(NamedTuple):
    """The spectrum of one network, as Lanczos quadrature gives it.

    Attributes:
        of: The network's cell.
        nodes: Eigenvalues `(n_nodes,)`, in nats.
        weights: Share of all eigenvalues that each stands for, up to a common factor.
    """

    of: Chosen
    nodes: Float[np.ndarray, " nodes"]
    weights: Float[np.ndarray, " nodes"]


def spectral_density(
    nodes: Float[np.ndarray, " nodes"],
    weights: Float[np.ndarray, " nodes"],
    at: Float[np.ndarray, " points"],
    *,
    linear: float,
) -> Float[np.ndarray, " points"]:
    """Smooth a spectrum of points into a density on the axis that it is drawn on.

    Each point becomes a Gaussian in `u = asinh(eigenvalue / linear)`, so that it is equally wide on a
    symmetric-logarithmic axis wherever it lies; dividing by `sqrt(eigenvalue^2 + linear^2)` gives the density
    over eigenvalues.

    Args:
        nodes: Eigenvalues `(n_nodes,)`.
        weights: Their weights, of any sum above zero.
        at: Where to take the density, `(n_points,)`.
        linear: Size of eigenvalues below which the axis is linear.

    Returns:
        Share of the spectrum per unit of the eigenvalue, `(n_points,)`; its integral is 1.

    Example:
        >>> point = np.array([0.0])
        >>> round(float(spectral_density(point, np.array([3.0]), point, linear=1.0)[0]), 3)
        4.987
    """
    places, centres = np.arcsinh(at / linear), np.arcsinh(nodes / linear)
    bumps = np.exp(-0.5 * np.square((places[:, None] - centres) / _WIDTH)) / (_WIDTH * np.sqrt(2 * np.pi))
    return np.asarray(bumps @ (weights / weights.sum()) / np.hypot(at, linear))


def density_figure(spectra: Sequence[Spectrum], title: str) -> Figure:
    """Draw spectral densities one above the other, on shared axes.

    Args:
        spectra: At least one.
        title: What stands above.

    Returns:
        The figure: density on a logarithmic axis over eigenvalues on a symmetric-logarithmic one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 1.2 + 1.35 * len(spectra)), layout="constrained")
    places = figure.subplots(len(spectra), 1, sharex=True, sharey=True, squeeze=False).ravel()
    linear = _linear_below(spectra)
    at = _points(spectra, linear)
    densities = [spectral_density(one.nodes, one.weights, at, linear=linear) for one in spectra]
    for place, spectrum, density in zip(places, spectra, densities, strict=True):
        place.fill_between(at, density, color=spectrum.of.colour, alpha=0.45, linewidth=0)
        place.plot(at, density, color=spectrum.of.colour, linewidth=1.4)
        place.axvline(0, color="0.4", linewidth=0.6, linestyle=":")
        place.set_title(spectrum.of.title, loc="left", fontsize=9)
        place.tick_params(labelsize=8)
    _scale(places[0], linear, highest=float(np.max(densities)))
    places[-1].set_xlabel("eigenvalue (nats)", fontsize=9)
    figure.supylabel("share of eigenvalues per unit", fontsize=9)
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _linear_below(spectra: Sequence[Spectrum]) -> float:
    largest = max(float(np.abs(spectrum.nodes).max()) for spectrum in spectra)
    return float(10 ** np.floor(np.log10(largest * _LINEAR_SHARE))) if largest > 0 else 1.0


def _points(spectra: Sequence[Spectrum], linear: float) -> Float[np.ndarray, " points"]:
    """Give points that lie evenly on the drawn axis, a little beyond the outermost eigenvalues."""
    nodes = np.arcsinh(np.concatenate([spectrum.nodes for spectrum in spectra]) / linear)
    return linear * np.sinh(np.linspace(nodes.min() - 6 * _WIDTH, nodes.max() + 6 * _WIDTH, _POINTS))


def _scale(place: Axes, linear: float, *, highest: float) -> None:
    """Set the shared axes; densities too low to matter are cut off."""
    from matplotlib.ticker import SymmetricalLogLocator

    place.set_yscale("log")
    place.set_ylim(highest * 10.0**-_DECADES, highest * 3)
    place.set_xscale("asinh", linear_width=linear)
    place.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=linear))


def draw_density(zoo: Zoo, *, at: Mapping[str, str] | None = None, cell: Sequence[str] = ()) -> Figure:
    """Draw the spectral density of the last network of the first seed of some cells.

    Args:
        zoo: The zoo; measured by `hessian_density`.
        at: Value of axes, as text; only such cells are chosen from.
        cell: Ids of cells; by default the clearest member of each phase.

    Returns:
        The figure.

    Raises:
        UnknownNameError: There is no such cell or axis.
        QueryError: No density was measured, or none of what was asked for.
    """
    found = read_series(zoo, ["hessian_density"], ["nodes", "weights"])["hessian_density"]
    stored = {key[0]: arrays for key, arrays in found.items()}
    last = last_checkpoints(zoo)
    of_cell = last[last["checkpoint_id"].isin(stored)].groupby("cell_id")["checkpoint_id"].first()
    first: dict[str, str] = dict(zip(of_cell.index, of_cell, strict=True))
    chosen = choose_cells(zoo, first, cell=cell, at=at)
    spectra = [_spectrum(one, stored[first[one.cell_id]]) for one in chosen]
    return density_figure(spectra, f"{zoo.manifest.name}: spectral density of the Hessian, train loss")


def _spectrum(of: Chosen, arrays: Arrays) -> Spectrum:
    usable = np.isfinite(arrays["nodes"]) & (arrays["weights"] > 0)
    return Spectrum(of, arrays["nodes"][usable], arrays["weights"][usable])
