"""The Hessian as zoos store it: of checkpoints, on training and test items, and its spectral density."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from zoo.datasets import Items
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.hessian.densities import spectral_density
from zoo.metrics.hessian.looks import DERIVATIVES, Look, Side, Values, column
from zoo.metrics.hessian.search import FIRST
from zoo.metrics.hessian.traces import curvature
from zoo.training import NetworkStack

_ITEMS = 256
_TOLERANCE, _PRODUCTS, _PROBES = 1e-3, 128, 32
_DENSITY_PROBES, _DENSITY_STEPS = 8, 32
_BELOW = 1e-3
"""Share of the largest node by which a node has to be below zero: nearer ones may be zeros, rounded."""


def _curvature_look(side: Side) -> Look:
    name = "hessian" if side == "train" else "hessian_test"
    return Look(name, (f"{name}_top_eigenvalue", f"{name}_trace", f"{name}_trace_sem"), side, _ITEMS)


def _find_curvature(columns: tuple[str, ...], stack: NetworkStack, items: Items) -> Values:
    found = curvature(stack, items.x, items.y, tolerance=_TOLERANCE, products=_PRODUCTS, probes=_PROBES)
    numbers = (found.top_eigenvalue, found.trace.value, found.trace.standard_error)
    return {name: tensor.numpy() for name, tensor in zip(columns, numbers, strict=True)}


def _compute_curvature(side: Side, subject: Subject) -> Measurement:
    look = _curvature_look(side)

    def why(values: Values, row: int) -> str:
        known = np.isfinite([values[name][row] for name in look.columns[1:]]).all()
        return f"no eigenvalue to {_TOLERANCE} within {_PRODUCTS} products" if known else DERIVATIVES

    return look.measure(subject, partial(_find_curvature, look.columns), why)[0]


def _curvature_metric(side: Side) -> Metric:
    look = _curvature_look(side)
    top, trace, error = look.columns
    where = f"mean cross-entropy on {_ITEMS} {side} items"
    return Metric(
        name=look.name,
        protocol_id=f"hessian/{side}-{_ITEMS}-v1",
        table="checkpoints",
        columns=(
            column(top, f"largest eigenvalue in magnitude of the Hessian of the {where}, with its sign"),
            column(trace, f"trace of the Hessian of the {where}"),
            column(error, f"standard error of {trace}, at least 0; 0 where it is exact"),
        ),
        settings=look.settings
        | {
            "eigenvalue": "Lanczos, full reorthogonalisation, to a relative residual",
            "tolerance": _TOLERANCE,
            "products": _PRODUCTS,
            "trace": "exact for chains of piecewise linear layers and at most 32 classes, else Hutch++: "
            "random signs beside the Krylov space of the eigenvalue",
            "sketch": FIRST,
            "probes": _PROBES,
        },
        # invariant: a trace that is not exact, within its standard error
        properties=frozenset({"permutation_invariant", "seed_deterministic"}),
        denied=frozenset({"in_unit_interval"}),
        compute=partial(_compute_curvature, side),
        kinds=frozenset({"classification", "sequence"}),
        scope="all" if side == "train" else "last",
    )


_DENSITY = Look("hessian_density", ("hessian_negative_share",), "train", _ITEMS)


def _find_density(stack: NetworkStack, items: Items) -> Values:
    density = spectral_density(stack, items.x, items.y, probes=_DENSITY_PROBES, steps=_DENSITY_STEPS)
    nodes, weights = density.nodes.numpy(), density.weights.numpy()
    bound = -_BELOW * np.abs(nodes).max(axis=1, keepdims=True)
    share = np.where(nodes < bound, weights, 0.0).sum(axis=1)
    known = np.isfinite(nodes).all(axis=1)
    return {"hessian_negative_share": np.where(known, share, np.nan), "nodes": nodes, "weights": weights}


def _compute_density(subject: Subject) -> Measurement:
    measurement, found = _DENSITY.measure(subject, _find_density)
    known = measurement.frame[_DENSITY.columns[0]].notna()
    series = {
        name: [found[name][row] if good else np.empty(0) for row, good in enumerate(known)]
        for name in ("nodes", "weights")
    }
    return dataclasses.replace(measurement, series=series)


HESSIAN, HESSIAN_TEST = _curvature_metric("train"), _curvature_metric("test")
HESSIAN_DENSITY = Metric(
    name=_DENSITY.name,
    protocol_id=f"hessian/density-train-{_ITEMS}-v1",
    table="checkpoints",
    columns=(
        column(
            _DENSITY.columns[0],
            f"mass of the Hessian's spectral density below -{_BELOW} of its largest node's size, in [0, 1]",
        ),
    ),
    settings=_DENSITY.settings
    | {
        "density": "stochastic Lanczos quadrature, full reorthogonalisation, random signs",
        "probes": _DENSITY_PROBES,
        "steps": _DENSITY_STEPS,
        "negative": f"below -{_BELOW} of the largest node in magnitude",
    },
    properties=frozenset({"seed_deterministic", "in_unit_interval"}),
    denied=frozenset({"permutation_invariant"}),
    compute=_compute_density,
    kinds=frozenset({"classification", "sequence"}),
    scope="last",
    series="spectra",
)
"""Its series are the nodes and weights of the density, from the smallest node to the largest."""
