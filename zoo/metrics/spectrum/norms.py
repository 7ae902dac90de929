"""Singular values of weight matrices: spectral norm, Frobenius norm, stable rank, of whole stacks."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.spectrum.layers import Rows, layers_of
from zoo.spec import Column
from zoo.spectra import as_matrices
from zoo.spectra.gram import computed


def _squared(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give the squared spectral and Frobenius norms, NaN where an entry or its square is not finite."""
    # Gram matrices in float64 cost the largest one a relative error of about 1e-15
    values, total = computed(as_matrices(weight))
    return values[..., -1], total


def spectral_norm(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
    """Measure the largest singular value.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; see `as_matrices`.

    Returns:
        `(...)` float64, at least 0; NaN where an entry is not finite.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> spectral_norm(torch.diag(torch.tensor([3.0, -4.0])))
        tensor(4., dtype=torch.float64)
    """
    return _squared(weight)[0].sqrt()


def frobenius_norm(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
    """Measure the root of the summed squares of all entries.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; see `as_matrices`.

    Returns:
        `(...)` float64, at least 0; not finite where an entry is not.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> frobenius_norm(torch.diag(torch.tensor([3.0, -4.0])))
        tensor(5., dtype=torch.float64)
    """
    norm: Tensor = torch.linalg.matrix_norm(as_matrices(weight).detach().double())
    return norm


def stable_rank(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
    """Measure the stable rank: `||W||_F^2 / ||W||_2^2` (Rudelson and Vershynin 2007).

    Undefined when the matrix is zero or not finite.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; see `as_matrices`.

    Returns:
        `(...)` float64, from 1 to the rank; NaN where undefined.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0])))
        tensor(1.2500, dtype=torch.float64)
        >>> stable_rank(torch.zeros(2, 2))
        tensor(nan, dtype=torch.float64)
    """
    largest, total = _squared(weight)
    return total / largest  # 0 / 0 is NaN


def _compute(subject: Subject) -> Measurement:
    rows = Rows(SPECTRUM.name, tuple(column.name for column in SPECTRUM.columns))
    for layer in layers_of(subject):
        # one leading dimension and two of the matrix: no doubt about what a kernel is
        squared, total = _squared(layer.weight.flatten(2))
        rank = total / squared
        values = {"spectral_norm": squared.sqrt(), "frobenius_norm": total.sqrt(), "stable_rank": rank}
        reasons = [_why(*numbers) for numbers in zip(squared.tolist(), rank.tolist(), strict=True)]
        rows.add(layer, values, reasons)
    return rows.measurement()


def _why(squared: float, rank: float) -> str | None:
    if np.isnan(squared):
        return "weights are not finite"
    return "the matrix is zero" if np.isnan(rank) else None


SPECTRUM = Metric(
    name="spectrum",
    protocol_id="spectrum/full-v1",
    table="layers",
    columns=(
        Column(name="spectral_norm", dtype="float64", description="largest singular value, at least 0"),
        Column(name="frobenius_norm", dtype="float64", description="root of the summed squares, at least 0"),
        Column(
            name="stable_rank",
            dtype="float64",
            description="squared Frobenius norm over squared spectral norm, from 1 to the rank",
        ),
    ),
    settings={"matrix": "out x (in * kernel)", "entries": ["weight"], "accumulate": "float64"},
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute,
)
