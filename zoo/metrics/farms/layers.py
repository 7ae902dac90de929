"""Everything that is told of one layer: exponents, norms, ranks, the bulk, and the null of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.metrics.farms.weights import Weight
from zoo.spectra import Windows, as_matrices, eigenvalues, slices, windowed_eigenvalues
from zoo.spectra.fits import FITS
from zoo.spectra.measures import Values, column_of, full_eigenvalues, of_fits, of_full
from zoo.spectra.null import null
from zoo.spectra.reasons import NO_TAIL, why_no_fit

Row = dict[str, str | float | None]
_BLOCK = 1 << 22
"""Numbers that are in float64 at once."""


def as_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Lay out the rows of layers.

    Args:
        rows: As `layer_row` gives them.

    Returns:
        The table.
    """
    return pd.DataFrame(list(rows)).astype({"reason": "str"})


def layer_row(weight: Weight, windows: Windows) -> Row:
    """Measure one layer.

    Args:
        weight: Its weight, on any device.
        windows: How FARMS cuts.

    Returns:
        The columns of `zoo.metrics.farms.report`.

    Example:
        >>> row = layer_row(Weight("eye", (30, 30), torch.eye(30)), Windows())
        >>> row["spectral_norm"], row["stable_rank"], row["reason"]
        (1.0, 30.0, 'all eigenvalues of the tail are equal')
    """
    matrix = weight.matrix.detach().cpu()
    whole, cut = full_eigenvalues(matrix), windowed_eigenvalues(matrix, windows)
    total = _sum_of_squares(matrix)
    rows, columns = slices(matrix).shape[-2:]
    counts = {"farms_eigenvalues": torch.tensor(cut.numel()), "eigenvalues": torch.tensor(whole.numel())}
    found = of_fits(cut) | counts | of_full(whole, rows, columns) | _norms(matrix, whole, total)
    nulls = null(tuple(matrix.shape), (total / matrix.numel()).unsqueeze(0), windows)
    for name, (mean, deviation) in nulls.items():
        found |= {f"{name}_null": mean, f"{name}_null_sd": deviation}
    row: Row = {"layer": weight.layer, "shape": "x".join(map(str, weight.shape))}
    row |= {name: value.item() for name, value in found.items()}
    (of_cut,), (of_whole,) = why_no_fit(cut.unsqueeze(0)), why_no_fit(whole.view(1, 1, -1))
    return row | {"reason": _reason(row, {"farms_alpha": of_cut, "alpha": of_whole})}


def _norms(matrix: Tensor, whole: Tensor, total: Tensor) -> Values:
    """Measure norms of the matrix `(out, in * places)`, as the metric `spectrum` does."""
    largest = (whole if matrix.ndim == 2 else eigenvalues(as_matrices(matrix)))[-1]
    frobenius = torch.where(largest.isnan(), torch.nan, total.sqrt())
    return {
        "spectral_norm": largest.sqrt(),
        "frobenius_norm": frobenius,
        "stable_rank": frobenius.square() / largest,
    }


def _sum_of_squares(matrix: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    step = max(1, _BLOCK * len(matrix) // matrix.numel())
    pieces = (matrix[first : first + step] for first in range(0, len(matrix), step))
    return torch.stack([piece.double().square().sum() for piece in pieces]).sum()


def _reason(row: Row, whys: Mapping[str, str | None]) -> str | None:
    """Say why exponents are missing, beside the names of these unless it is one reason for all."""
    missing: dict[str, str] = {}
    for prefix, why in whys.items():
        names = (column_of(prefix, fit) for fit in FITS)
        missing |= {prefix if why else n: why or NO_TAIL for n in names if math.isnan(float(row[n] or 0))}
    if missing.keys() == whys.keys() and len(set(missing.values())) == 1:
        return missing["alpha"]
    return "; ".join(f"{name}: {why}" for name, why in missing.items()) or None
