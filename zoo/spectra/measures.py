"""Everything that is told of the spectrum of a layer, by name."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.spectra.bulk import effective_rank, fit_bulk
from zoo.spectra.fits import FITS, Fit, PowerLaw, fit_power_law
from zoo.spectra.gram import eigenvalues
from zoo.spectra.matrices import slices

Values = dict[str, Float[Tensor, "*batch"]]


def column_of(prefix: str, fit: Fit) -> str:
    """Name an exponent: the median fit goes by the prefix alone.

    Args:
        prefix: `alpha` or `farms_alpha`.
        fit: The fit.

    Returns:
        The name.

    Example:
        >>> column_of("farms_alpha", "median"), column_of("alpha", "xmin_peak")
        ('farms_alpha', 'alpha_xmin_peak')
    """
    return prefix if fit == "median" else f"{prefix}_{fit}"


def full_eigenvalues(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch numbers"]:
    """Compute the eigenvalues of whole matrices; those of the k x k slices of a kernel go together.

    Args:
        weight: As for `as_matrices`.

    Returns:
        `(..., numbers)` float64, ascending; see `zoo.spectra.eigenvalues`.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> import torch
        >>> full_eigenvalues(torch.ones(8, 4, 3, 3)).shape
        torch.Size([36])
    """
    return eigenvalues(slices(weight)).flatten(-2).sort(dim=-1).values


def of_full(values: Float[Tensor, "*batch numbers"], rows: int, columns: int) -> Values:
    """Measure the spectrum of whole matrices.

    Args:
        values: As `full_eigenvalues` gives them.
        rows: Rows of a matrix, or of a slice.
        columns: Its columns.

    Returns:
        Exponents by three fits, each with its standard error and distance; `alpha_hat` and
        `log_alpha_norm` as WeightWatcher defines them; effective rank, bulk edge, spikes.
    """
    laws = {fit: fit_power_law(values, fit) for fit in FITS}
    found: Values = {}
    for fit, law in laws.items():
        found |= _told(column_of("alpha", fit), law)
    alpha = laws["goodness_of_fit"].alpha
    bulk = fit_bulk(values, rows, columns)
    return found | {
        "alpha_hat": alpha * values[..., -1].log10(),
        "log_alpha_norm": log_alpha_norm(values, alpha),
        "effective_rank": effective_rank(values),
        "bulk_edge": bulk.edge,
        "spikes": bulk.spikes,
    }


def log_alpha_norm(
    values: Float[Tensor, "*batch numbers"], alpha: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Compute `log10 sum_i lambda_i^alpha`.

    Args:
        values: Eigenvalues.
        alpha: Exponent; NaN where undefined.

    Returns:
        `(...)`; NaN where the exponent is.
    """
    # the powers themselves leave float64: noise has exponents of 100
    found = (alpha.unsqueeze(-1) * values.log()).logsumexp(dim=-1) / math.log(10)
    return torch.where(alpha.isnan(), torch.nan, found)


def of_fits(values: Float[Tensor, "*batch fits numbers"]) -> Values:
    """Measure FARMS: exponents by three fits, each with its standard error and distance.

    Args:
        values: As `windowed_eigenvalues` gives them.

    Returns:
        Them, and how many eigenvalues there are.
    """
    found: Values = {}
    for fit in FITS:
        found |= _told(column_of("farms_alpha", fit), averaged(fit_power_law(values, fit)))
    numbers = values.shape[-2] * values.shape[-1]
    return found | {"farms_eigenvalues": values.new_full(values.shape[:-2], numbers)}


def averaged(laws: PowerLaw) -> PowerLaw:
    """Average over the fits of a weight, the last dimension; errors as of independent fits.

    Args:
        laws: The laws `(..., fits)`.

    Returns:
        The law `(...)`; NaN where one of them is.
    """
    count = laws.alpha.shape[-1]
    error = laws.standard_error.square().sum(dim=-1).sqrt() / count
    rest = (laws.distance.mean(dim=-1), laws.xmin.mean(dim=-1), laws.tail.sum(dim=-1))
    return PowerLaw(laws.alpha.mean(dim=-1), error, *rest)


def _told(name: str, law: PowerLaw) -> Values:
    return {name: law.alpha, f"{name}_sem": law.standard_error, f"{name}_distance": law.distance}
