"""FARMS as zoos store it: under our protocol, and under that of the released code."""

from __future__ import annotations

import torch

from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.spectrum.layers import Rows, layers_of
from zoo.metrics.spectrum.stored import exponents
from zoo.spec import Column
from zoo.spectra import FEWEST, Windows, windowed_eigenvalues
from zoo.spectra.fits import FITS
from zoo.spectra.measures import averaged, column_of, of_fits
from zoo.spectra.paper import paper_eigenvalues, paper_fit
from zoo.spectra.reasons import why_no_fit, with_missing_fits

_COUNT = Column(
    name="farms_eigenvalues", dtype="float64", description="how many eigenvalues all windows have together"
)


def _compute(subject: Subject) -> Measurement:
    rows = Rows(FARMS.name, tuple(column.name for column in FARMS.columns))
    for layer in layers_of(subject):
        values = windowed_eigenvalues(layer.parts, Windows())
        found = of_fits(values)
        rows.add(layer, found, with_missing_fits(why_no_fit(values), found, "farms_alpha"))
    return rows.measurement()


FARMS = Metric(
    name="farms",
    protocol_id="farms/clamped-100-v1",
    table="layers",
    columns=(*exponents("farms_alpha", "the eigenvalues of windows of aspect ratio 1"), _COUNT),
    settings={
        "entries": ["weight"],
        "windows": "matrices: grid of 9 x 9 windows of 100 x 100, or of the shorter side where that is less; "
        "kernels: k x k slices in square blocks, a fit a block, the mean of the exponents",
        "eigenvalues": "of the Gram matrix in float64; those within rounding are 0",
        "fits": "as eigenspectrum/full-v1",
        "fewest": FEWEST,
    },
    properties=frozenset({"seed_deterministic"}),
    denied=frozenset({"permutation_invariant", "in_unit_interval"}),
    compute=_compute,
)

_PAPER_PREFIXES = {"farms_paper_alpha": Windows(), "paper_alpha": None}


def _compute_paper(subject: Subject) -> Measurement:
    rows = Rows(FARMS_PAPER.name, tuple(column.name for column in FARMS_PAPER.columns))
    for layer in layers_of(subject):
        found = {}
        for prefix, windows in _PAPER_PREFIXES.items():
            values = paper_eigenvalues(layer.parts, windows)
            for fit in FITS:
                found[column_of(prefix, fit)] = averaged(paper_fit(values, fit)).alpha
        missing = torch.stack(list(found.values())).isnan().any(dim=0).tolist()
        rows.add(layer, found, ["the released code gives no number" if bad else None for bad in missing])
    return rows.measurement()


FARMS_PAPER = Metric(
    name="farms_paper",
    protocol_id="farms2025/released-100-v1",
    table="layers",
    columns=tuple(
        Column(
            name=column_of(prefix, fit),
            dtype="float64",
            description=f"exponent as the released code of FARMS gives it, {what}, fit {fit}",
        )
        for prefix, what in (("farms_paper_alpha", "with windows"), ("paper_alpha", "of whole matrices"))
        for fit in FITS
    ),
    settings={
        "entries": ["weight"],
        "windows": "rows 100, aspect ratio 1, 9 along a side",
        "eigenvalues": "squared singular values in float32; of kernels, halved",
        "fewest": 5,
    },
    properties=frozenset({"seed_deterministic"}),
    denied=frozenset({"permutation_invariant", "in_unit_interval"}),
    compute=_compute_paper,
    scope="last",
    suite="farms2025",
)
