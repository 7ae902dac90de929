"""The eigenvalues of one layer in a few networks: their tail beside a power law, their bulk beside noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from zoo.population import Zoo
from zoo.report.layers import check_layer, layer_names, sides, telling_cells
from zoo.report.selection import Chosen, choose_cells, last_checkpoints, read_series
from zoo.spectra import FEWEST, fit_power_law
from zoo.spectra.bulk import fit_bulk, marchenko_pastur
from zoo.spectra.reasons import why_no_fit
from zoo.storage import Arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Float[np.ndarray, " numbers"]
Edges = Float[np.ndarray, " edges"]
Heights = Float[np.ndarray, " heights"]
Curve = tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]
"""Eigenvalues, and the density there."""
_POINTS = 400
_BEYOND = 2.0
"""Edges of the bulk after which the linear axis ends: it is there to show the bulk."""
_LAW, _BULK = "black", "#009e73"


class LayerSpectrum(NamedTuple):
    """The spectrum of a layer in one network.

    Attributes:
        of: The network's cell.
        shape: Shape of the weight, such as `128x64`.
        epoch: When it is taken.
        values: Eigenvalues, ascending, at least 0.
        initial: The same at epoch 0; nothing where that is not stored.
    """

    of: Chosen
    shape: str
    epoch: int
    values: Values
    initial: Values | None = None


def law_curve(values: Values) -> tuple[Curve | None, str]:
    """Fit a power law to the upper half of a spectrum, as the column `alpha` is fitted.

    Args:
        values: Eigenvalues, ascending, at least 0.

    Returns:
        The law from where it begins to the largest eigenvalue, scaled to the share of the eigenvalues that it
        is for, nothing where it is undefined; and what the legend says of it.
    """
    stack = torch.tensor(values)
    law = fit_power_law(stack)
    alpha, error, start = law.alpha.item(), law.standard_error.item(), law.xmin.item()
    if np.isnan(alpha):
        return None, f"no power law: {why_no_fit(stack[None, None])[0]}"
    at = np.geomspace(start, values[-1], _POINTS)
    share = law.tail.item() / len(values)
    density = share * (alpha - 1) / start * (at / start) ** -alpha
    return (at, density), f"power law from the median on: alpha = {alpha:.2f} ± {error:.2f}"


def bulk_curve(values: Values, rows: int, columns: int) -> tuple[Curve | None, float, str]:
    """Fit the bulk of a spectrum.

    Args:
        values: Eigenvalues, ascending, at least 0.
        rows: Rows of the matrix, or of a slice of the kernel.
        columns: Its columns.

    Returns:
        The Marchenko-Pastur density, scaled to the share of the eigenvalues that are not above its edge,
        nothing where all are zero; the edge; and what the legend says of it.
    """
    variance, edge, spikes = (part.item() for part in fit_bulk(torch.tensor(values), rows, columns))
    if not variance > 0:
        only = f"all {spikes:.0f} eigenvalues above zero are spikes" if spikes else "the matrix is zero"
        return None, edge, f"no bulk: {only}"
    low = variance * (rows**0.5 - columns**0.5) ** 2
    at = np.union1d(np.geomspace(max(low, 1e-6 * edge), edge, _POINTS), np.linspace(low, edge, _POINTS)[1:])
    density = marchenko_pastur(torch.from_numpy(at), rows, columns, variance).numpy()
    above = f"{spikes:.0f} spike{'' if spikes == 1 else 's'} above"
    return (
        (at, (1 - spikes / len(values)) * density),
        edge,
        f"Marchenko-Pastur bulk up to {edge:.3g}: {above}",
    )


def spectrum_figure(spectra: Sequence[LayerSpectrum], title: str) -> Figure:
    """Draw spectra one above the other, on logarithmic axes and, beside that, on linear ones.

    Args:
        spectra: At least one.
        title: What stands above.

    Returns:
        The figure: histograms with the power law, the bulk and its edge. The linear axis ends at twice the
        edge, or at the largest eigenvalue, and says how many lie beyond.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.4, 1.1 + 2.5 * len(spectra)), layout="constrained")
    places = figure.subplots(len(spectra), 2, squeeze=False, width_ratios=(1, 1.15))
    for (logarithmic, linear), spectrum in zip(places, spectra, strict=True):
        _draw(logarithmic, linear, spectrum)
    for place, scale in zip(places[-1], ("logarithmic", "linear"), strict=True):
        place.set_xlabel(f"eigenvalue of W$^T$W, in squared units of the weights; {scale} axes", fontsize=9)
    figure.supylabel("share of eigenvalues per unit", fontsize=9)
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure


def _draw(logarithmic: Axes, linear: Axes, spectrum: LayerSpectrum) -> None:
    """Draw both panels of a network; the legend, on the right, is for both."""
    bulk, edge, bulk_name = bulk_curve(spectrum.values, *sides(spectrum.shape))
    law, law_name = law_curve(spectrum.values)
    end = _end(spectrum, edge)
    for place, bins in ((logarithmic, _log_bins(spectrum)), (linear, np.linspace(0, end, _number(spectrum)))):
        heights = _draw_histograms(place, spectrum, bins)
        if bulk is not None:
            place.axvline(edge, color=_BULK, linewidth=1, linestyle=":")
        _draw_curve(place, bulk, bulk_name, colour=_BULK, line="--")
        _draw_curve(place, law, law_name, colour=_LAW, line="-")
        _scale(place, (bins[0], max(bins[-1], edge)), heights, log=place is logarithmic)
        place.tick_params(labelsize=8)
    if beyond := int((spectrum.values > end).sum()):
        linear.plot([], [], " ", label=f"{beyond} more beyond the right end, up to {spectrum.values[-1]:.3g}")
    linear.legend(loc="upper right", fontsize=8)
    logarithmic.set_title(f"{spectrum.of.title}; layer of {spectrum.shape}", loc="left", fontsize=9)


def _end(spectrum: LayerSpectrum, edge: float) -> float:
    """Say where the linear axis ends: it shows the bulk, and not much of what stands out of it."""
    return max(edge, min(float(spectrum.values[-1]), _BEYOND * edge)) * 1.02 or 1.0


def _number(spectrum: LayerSpectrum) -> int:
    return int(np.clip(2 * len(spectrum.values) ** 0.5, 8, 60))


def _log_bins(spectrum: LayerSpectrum) -> Edges:
    """Give edges of bins that are equally wide on a logarithmic axis; zeros are in none."""
    pooled = spectrum.values if spectrum.initial is None else np.append(spectrum.values, spectrum.initial)
    positive = pooled[pooled > 0]
    if not len(positive):
        return np.array([0.1, 1.0])
    return np.geomspace(positive.min() / 1.01, positive.max() * 1.01, _number(spectrum))


def _draw_histograms(place: Axes, spectrum: LayerSpectrum, bins: Edges) -> Heights:
    """Draw the spectrum and, faint, that of epoch 0; give all heights."""
    values, initial = spectrum.values, spectrum.initial
    zeros = int((values == 0).sum())
    name = f"{len(values)} eigenvalues at epoch {spectrum.epoch}" + (f", {zeros} of them 0" if zeros else "")
    heights = _density(values, bins)
    place.stairs(heights, bins, fill=True, color=spectrum.of.colour, alpha=0.55, label=name)
    if initial is None:
        return heights
    before = _density(initial, bins)
    place.stairs(before, bins, color="0.3", linewidth=0.9, label="the same at epoch 0")
    return np.append(heights, before)


def _density(values: Values, bins: Edges) -> Heights:
    """Give the share of all values per unit: of those beyond the bins too."""
    return np.asarray(np.histogram(values, bins)[0] / (len(values) * np.diff(bins)))


def _draw_curve(place: Axes, curve: Curve | None, name: str, *, colour: str, line: str) -> None:
    """Draw a curve; of one that is undefined, the legend alone says why."""
    if curve is None:
        place.plot([], [], " ", label=name)
    else:
        place.plot(*curve, line, color=colour, linewidth=1.8, label=name)


def _scale(place: Axes, ends: tuple[float, float], heights: Heights, *, log: bool) -> None:
    """Scale by the histograms: the density of a bulk may have no upper end, or begin at zero."""
    highest = heights.max()
    if not log:
        place.set(xlim=ends, ylim=(0, 1.15 * highest or 1.0))
        return
    place.set(xscale="log", xlim=(ends[0] / 1.5, ends[1] * 1.5))
    if highest > 0:
        place.set(yscale="log", ylim=(heights[heights > 0].min() / 3, 3 * highest))


def draw_spectrum(
    zoo: Zoo,
    *,
    at: Mapping[str, str] | None = None,
    cell: Sequence[str] = (),
    layer: str | None = None,
) -> Figure:
    """Draw the spectrum of one layer of the last network of the first seed of some cells.

    Args:
        zoo: The zoo; measured by `eigenspectrum`.
        at: Value of axes, as text; only such cells are chosen from.
        cell: Ids of cells; by default the clearest member of each phase, of those whose spectrum is large
            enough for a power law, where there are any.
        layer: The layer; by default that with most eigenvalues, of those that most networks have.

    Returns:
        The figure.

    Raises:
        UnknownNameError: There is no such cell, axis or layer.
        QueryError: No spectrum was measured, or none of what was asked for.
    """
    check_layer(zoo, layer)
    found = read_series(zoo, ["eigenspectrum"], ["eigenvalues"])["eigenspectrum"]
    rows = _last_rows(zoo, {key: len(arrays["eigenvalues"]) for key, arrays in found.items()})
    layer = layer or _largest(zoo, rows)
    rows = rows[rows["layer"] == layer].drop_duplicates("cell_id").set_index("cell_id")
    among = telling_cells(zoo, rows["numbers"].clip(upper=FEWEST), cell=cell, at=at)
    chosen, last = choose_cells(zoo, among, cell=cell, at=at), rows.to_dict("index")
    spectra = [_spectrum(one, last[one.cell_id], layer, found) for one in chosen]
    return spectrum_figure(spectra, f"{zoo.manifest.name}: spectrum of the layer {layer}, one network a cell")


def _spectrum(
    of: Chosen, row: Mapping[Any, Any], layer: str, found: Mapping[tuple[str, ...], Arrays]
) -> LayerSpectrum:
    shape = str(row["shape"])
    last = found[str(row["checkpoint_id"]), layer, shape]
    first = found.get((str(row["first"]), layer, shape), {})
    return LayerSpectrum(of, shape, int(row["epoch"]), last["eigenvalues"], first.get("eigenvalues"))


def _last_rows(zoo: Zoo, numbers: Mapping[tuple[str, ...], int]) -> pd.DataFrame:
    """List the spectra of last checkpoints, by seed, each with the earlier checkpoint of epoch 0."""
    keys = pd.DataFrame(list(numbers), columns=["checkpoint_id", "layer", "shape"])
    seen = zoo.checkpoints[["checkpoint_id", "model_id", "epoch"]]
    last = last_checkpoints(zoo).merge(seen, on="checkpoint_id")
    firsts = seen[(seen["epoch"] == 0) & ~seen["checkpoint_id"].isin(last["checkpoint_id"])]
    last = last.assign(first=last["model_id"].map(firsts.set_index("model_id")["checkpoint_id"]))
    return last.merge(keys.assign(numbers=list(numbers.values())), on="checkpoint_id")


def _largest(zoo: Zoo, rows: pd.DataFrame) -> str:
    """Choose the layer that most cells have and, of these, that of most eigenvalues, the first of equals."""
    sizes = rows.groupby("layer").agg(cells=("cell_id", "nunique"), numbers=("numbers", "sum"))
    sizes = sizes.reindex(layer_names(zoo)).sort_values(["cells", "numbers"], ascending=False, kind="stable")
    return str(sizes.index[0])
