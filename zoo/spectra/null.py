"""The null: what a measure gives on random matrices of the same shape and variance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.spectra.fits import FITS
from zoo.spectra.matrices import as_matrices, slices
from zoo.spectra.measures import column_of, full_eigenvalues, of_fits, of_full
from zoo.spectra.windows import Windows, windowed_eigenvalues

DRAWS = 16
_DRAWS_OF_LARGE, _LARGE = 3, 1 << 20
"""Matrices drawn of a shape with more entries than that, whose measures hardly differ."""
_SEED = 1967
_EXPONENTS = tuple(column_of("alpha", fit) for fit in FITS) + tuple(column_of("farms_alpha", f) for f in FITS)
_BY_EXPONENT = dict.fromkeys(("alpha_hat", "log_alpha_norm"), "alpha_goodness_of_fit")
NULL_MEASURES = (
    *_EXPONENTS,
    "alpha_hat",
    "log_alpha_norm",
    "spectral_norm",
    "stable_rank",
    "effective_rank",
    "spikes",
)
"""The measures that have a null; a Frobenius norm is given by the variance."""


def null(
    shape: tuple[int, ...], mean_square: Float[Tensor, " weights"], windows: Windows
) -> dict[str, tuple[Float[Tensor, " weights"], Float[Tensor, " weights"]]]:
    """Measure random matrices: independent normal entries, mean 0, of the same shape and mean square.

    Drawn once for a shape and scaled: the draws are the same for all weights of that shape.

    Args:
        shape: `(out, in)` or `(out, in, k, k)`.
        mean_square: Mean square of the entries of each weight.
        windows: How FARMS cuts.

    Returns:
        Mean and standard deviation over the draws, of each of `NULL_MEASURES`; NaN where a measure is
        undefined for the shape.

    Example:
        >>> mean, deviation = null((64, 64), torch.tensor([0.01]), Windows())["spectral_norm"]
        >>> abs(mean.item() - 0.1 * 2 * 8) < 3 * deviation.item() + 0.05
        True
    """
    unit = _unit(shape, windows)
    known = (mean_square > 0) & mean_square.isfinite()
    scale = torch.where(known, mean_square, torch.nan).double().unsqueeze(-1)
    found = {}
    for name in NULL_MEASURES:
        drawn = unit[name].unsqueeze(0)
        if name in _BY_EXPONENT:
            drawn = drawn + unit[_BY_EXPONENT[name]] * scale.log10()
        elif name == "spectral_norm":
            drawn = drawn * scale.sqrt()
        else:
            drawn = torch.where(scale.isnan(), torch.nan, drawn)
        found[name] = drawn.mean(dim=-1), drawn.std(dim=-1)
    return found


@lru_cache(maxsize=512)
def _unit(shape: tuple[int, ...], windows: Windows) -> Mapping[str, Float[Tensor, " draws"]]:
    """Measure the draws of a shape, of variance 1."""
    size = torch.Size(shape).numel()
    draws = DRAWS if size <= _LARGE else _DRAWS_OF_LARGE
    parts = []
    for draw in range(draws):
        generator = torch.Generator().manual_seed(_SEED + draw)
        weight = torch.randn(1, *shape, generator=generator)
        values = full_eigenvalues(weight)
        largest = torch.linalg.matrix_norm(as_matrices(weight).double(), ord=2)
        total = weight.double().square().sum()
        rows, columns = slices(weight).shape[-2:]
        parts.append(
            of_full(values, rows, columns)
            | of_fits(windowed_eigenvalues(weight, windows))
            | {"spectral_norm": largest, "stable_rank": total / largest.square()}
        )
    return {name: torch.cat([part[name] for part in parts]) for name in NULL_MEASURES}
