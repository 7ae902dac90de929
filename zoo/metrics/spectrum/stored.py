"""Spectra of whole matrices as zoos store them: exponents, bulk, eigenvalues, and the null of each."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.spectrum.layers import Rows, layers_of
from zoo.spec import Column
from zoo.spectra import FEWEST, Windows, slices
from zoo.spectra.fits import FITS
from zoo.spectra.measures import column_of, full_eigenvalues, of_full
from zoo.spectra.null import DRAWS, NULL_MEASURES, null
from zoo.spectra.reasons import why_no_fit, with_missing_fits

PLACED = {
    "median": "from the median on",
    "xmin_peak": "from near the peak of the histogram on",
    "goodness_of_fit": "from where it fits best on",
}
"""Where the tail of a fit begins, in words."""


def exponents(prefix: str, of: str) -> tuple[Column, ...]:
    """Describe the columns of exponents.

    Args:
        prefix: `alpha` or `farms_alpha`.
        of: What they are of, in words.

    Returns:
        Exponent, standard error and distance of each fit.

    Example:
        >>> [column.name for column in exponents("alpha", "eigenvalues")][:3]
        ['alpha', 'alpha_sem', 'alpha_distance']
    """
    found = []
    for fit in FITS:
        name = column_of(prefix, fit)
        found += [
            _column(name, f"exponent of a power law {PLACED[fit]}, of {of}, above 1: small is heavy"),
            _column(f"{name}_sem", f"standard error of {name}, as of independent eigenvalues, at least 0"),
            _column(f"{name}_distance", "Kolmogorov-Smirnov distance of that law, in [0, 1]: 0 fits best"),
        ]
    return tuple(found)


def _column(name: str, description: str) -> Column:
    return Column(name=name, dtype="float64", description=description)


def _compute(subject: Subject) -> Measurement:
    rows = Rows(EIGENSPECTRUM.name, tuple(column.name for column in EIGENSPECTRUM.columns))
    stored: list[NDArray[np.float64]] = []
    for layer in layers_of(subject):
        values = full_eigenvalues(layer.parts)
        height, width = slices(layer.parts).shape[-2:]
        found = of_full(values, height, width)
        found["eigenvalues"] = values.new_full(values.shape[:1], values.shape[1])
        rows.add(layer, found, with_missing_fits(why_no_fit(values.unsqueeze(1)), found, "alpha"))
        stored += [row if np.isfinite(row).all() else np.empty(0) for row in values.numpy()]
    return dataclasses.replace(rows.measurement(), series={"eigenvalues": stored})


EIGENSPECTRUM = Metric(
    name="eigenspectrum",
    protocol_id="eigenspectrum/full-v1",
    table="layers",
    columns=(
        *exponents(
            "alpha", "the eigenvalues of the whole matrix, or of the k x k slices of a kernel together"
        ),
        _column("eigenvalues", "how many eigenvalues there are"),
        _column("alpha_hat", "alpha_goodness_of_fit times log10 of the largest eigenvalue (alpha_weighted)"),
        _column("log_alpha_norm", "log10 of the sum of eigenvalues to the power alpha_goodness_of_fit"),
        _column("effective_rank", "exp of the entropy of the singular values, from 1 to their number"),
        _column("bulk_edge", "upper edge of the Marchenko-Pastur bulk, in the unit of eigenvalues"),
        _column("spikes", "how many eigenvalues are above that edge"),
    ),
    settings={
        "matrix": "out x in; a kernel is its k x k slices, their eigenvalues together",
        "entries": ["weight"],
        "eigenvalues": "of the Gram matrix in float64; those within rounding are 0",
        "fits": "median: from place n // 2; xmin_peak: 100 bins of logarithms, 0.95 to 1.5 times the left "
        "edge of the fullest; goodness_of_fit: smallest Kolmogorov-Smirnov distance",
        "fewest": FEWEST,
        "bulk": "variance of all but the k largest over (m - k)(n - k), k the smallest that no longer grows",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute,
    series="spectra",
)
"""Its series are the eigenvalues, ascending."""


_EXPONENTS = {"alpha": "the whole matrix", "farms_alpha": "windows"}


def _compute_null(subject: Subject) -> Measurement:
    rows = Rows(NULL.name, tuple(column.name for column in NULL.columns))
    for layer in layers_of(subject):
        mean_square = layer.weight.double().square().flatten(1).mean(dim=1)
        shape = tuple(layer.parts.shape[1:])
        found = null(shape, mean_square, Windows())
        values: dict[str, Tensor] = {}
        for name, (mean, deviation) in found.items():
            values |= {f"{name}_null": mean, f"{name}_null_sd": deviation}
        few = [what for name, what in _EXPONENTS.items() if bool(found[name][0].isnan().all())]
        reasons = [_why_no_null(square, few) for square in mean_square.tolist()]
        rows.add(layer, values, reasons)
    return rows.measurement()


def _why_no_null(mean_square: float, few: list[str]) -> str | None:
    if not np.isfinite(mean_square):
        return "weights are not finite"
    if mean_square == 0:
        return "the matrix is zero"
    return f"too few eigenvalues for an exponent of {' or of '.join(few)}" if few else None


NULL = Metric(
    name="spectrum_null",
    protocol_id="eigenspectrum/null-gaussian-v1",
    table="layers",
    columns=tuple(
        column
        for name in NULL_MEASURES
        for column in (
            _column(f"{name}_null", f"mean of {name} over random matrices of the same shape and mean square"),
            _column(f"{name}_null_sd", f"standard deviation of {name} over these matrices, at least 0"),
        )
    ),
    settings={
        "entries": "independent, normal, mean 0, of the layer's mean square",
        "draws": DRAWS,
        "windows": list(Windows()),
        "measures": "as eigenspectrum/full-v1, farms/clamped-100-v1 and spectrum/full-v1",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute_null,
)
