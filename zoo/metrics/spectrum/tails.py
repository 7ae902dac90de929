"""Exponents and bulks of whole weight matrices, as functions of a weight."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.spectra import Fit, PowerLaw, fit_power_law, measures, slices
from zoo.spectra import bulk as bulks
from zoo.spectra.measures import full_eigenvalues
from zoo.spectra.modes import Mode, chosen_mode
from zoo.spectra.paper import paper_eigenvalues, paper_fit


def eigenvalues(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch numbers"]:
    """Compute the eigenvalues of `W^T W`, those of the k x k slices of a kernel together.

    They are the squared singular values, of the smaller side, not divided by anything, as WeightWatcher has
    them.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; of any floating type.

    Returns:
        `(..., numbers)` float64, at least 0, ascending; NaN where an entry is not finite.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> import torch
        >>> eigenvalues(torch.diag(torch.tensor([3.0, -4.0])))
        tensor([ 9., 16.], dtype=torch.float64)
    """
    return full_eigenvalues(weight)


def power_law(weight: Float[Tensor, "*shape"], *, fit: Fit = "median", mode: Mode = "clamped") -> PowerLaw:
    """Fit a power law to the tail of the eigenvalues of whole matrices.

    See `zoo.spectra.fit_power_law` for the fits. Undefined for fewer than 20 eigenvalues, for eigenvalues
    more than half of which are zero, for a tail of equal values, and where an entry is not finite.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; of any floating type.
        fit: Where the tail begins: `median`, `xmin_peak`, or `goodness_of_fit`, which is what WeightWatcher
            calls alpha.
        mode: `clamped`, or `paper` for the numbers of the released code of Hu et al. 2025 without its
            windows.

    Returns:
        Exponent, standard error, Kolmogorov-Smirnov distance, start and size of the tail, each `(...)`
        float64, NaN where undefined.

    Raises:
        UndefinedMetricError: The weight is no matrix.
        UnknownNameError: There is no such fit or mode.

    Example:
        >>> import torch
        >>> ranks = torch.arange(999.5, 0, -1, dtype=torch.float64) / 1000
        >>> law = power_law(torch.diag(ranks.pow(-0.25)))  # eigenvalues of density x^-3
        >>> round(law.alpha.item(), 2), law.tail.item()
        (3.0, 500.0)
    """
    if chosen_mode(mode) == "paper":
        laws = paper_fit(paper_eigenvalues(weight, None), fit)
        return PowerLaw(*(part[..., 0] for part in laws))
    return fit_power_law(full_eigenvalues(weight), fit)


def alpha(
    weight: Float[Tensor, "*shape"], *, fit: Fit = "median", mode: Mode = "clamped"
) -> Float[Tensor, "*batch"]:
    """Measure the exponent of the tail of the eigenvalues: the smaller, the heavier.

    It drifts with the aspect ratio of the matrix; `zoo.metrics.farms.alpha` does not.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; of any floating type.
        fit: Where the tail begins; see `power_law`.
        mode: `clamped` or `paper`; see `power_law`.

    Returns:
        `(...)` float64, above 1; NaN where undefined, see `power_law`.

    Raises:
        UndefinedMetricError: The weight is no matrix.
        UnknownNameError: There is no such fit or mode.

    Example:
        >>> import torch
        >>> ranks = torch.arange(999.5, 0, -1, dtype=torch.float64) / 1000
        >>> alpha(torch.diag(ranks.pow(-0.25))).round(decimals=2)  # eigenvalues of density x^-3
        tensor(3., dtype=torch.float64)
    """
    return power_law(weight, fit=fit, mode=mode).alpha


def alpha_hat(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
    """Measure the weighted exponent: `alpha log10(lambda_max)`, WeightWatcher's `alpha_weighted`.

    With the exponent of the fit `goodness_of_fit` (Martin et al. 2021, eq. 9).

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`.

    Returns:
        `(...)` float64; NaN where the exponent is undefined.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> import torch
        >>> ranks = torch.arange(999.5, 0, -1, dtype=torch.float64) / 1000
        >>> round(alpha_hat(torch.diag(ranks.pow(-0.25))).item() / 1.65, 1)  # largest: 2000^0.5, log 1.65
        3.0
    """
    values = full_eigenvalues(weight)
    return fit_power_law(values, "goodness_of_fit").alpha * values[..., -1].log10()


def log_alpha_norm(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
    """Measure `log10 sum_i lambda_i^alpha`, WeightWatcher's `log_alpha_norm`.

    With the exponent of the fit `goodness_of_fit` (Martin et al. 2021, eq. 10).

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`.

    Returns:
        `(...)` float64; NaN where the exponent is undefined.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> import torch
        >>> ranks = torch.arange(999.5, 0, -1, dtype=torch.float64) / 1000
        >>> weight = torch.diag(ranks.pow(-0.25))
        >>> (log_alpha_norm(weight) > alpha_hat(weight)).item()  # the largest alone gives alpha_hat
        True
    """
    values = full_eigenvalues(weight)
    return measures.log_alpha_norm(values, fit_power_law(values, "goodness_of_fit").alpha)


def effective_rank(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
    """Measure the effective rank: `exp` of the entropy of the singular values over their sum.

    Roy and Vetterli 2007, definition 2. Undefined when the matrix is zero or not finite.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`.

    Returns:
        `(...)` float64, from 1 to the number of eigenvalues; NaN where undefined.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> import torch
        >>> effective_rank(torch.eye(7)).round(decimals=6)
        tensor(7., dtype=torch.float64)
    """
    return bulks.effective_rank(full_eigenvalues(weight))


def bulk(weight: Float[Tensor, "*shape"]) -> bulks.Bulk:
    """Fit the Marchenko-Pastur bulk and count the eigenvalues above it.

    See `zoo.spectra.bulk.fit_bulk`. Of a kernel, the bulk of its slices together.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`.

    Returns:
        Variance of the entries in the bulk, its upper edge in the unit of eigenvalues, and the number of
        eigenvalues above, each `(...)` float64; NaN where an entry is not finite.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> import torch
        >>> weight = torch.randn(60, 40, generator=torch.Generator().manual_seed(1))
        >>> weight += torch.full_like(weight, 2.0)  # one direction that is no noise
        >>> bulk(weight).spikes.item(), round(bulk(weight).variance.item(), 1)
        (1.0, 1.1)
    """
    rows, columns = slices(weight).shape[-2:]
    return bulks.fit_bulk(full_eigenvalues(weight), rows, columns)
