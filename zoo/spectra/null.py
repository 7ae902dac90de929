"""The null: what a measure gives on random matrices of the same shape and variance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor

from zoo.spectra.fits import FITS
from zoo.spectra.matrices import as_matrices
from zoo.spectra.measures import Values, column_of, full_eigenvalues, of_fits, of_full
from zoo.spectra.windows import Windows, windowed_eigenvalues

DRAWS = 16
_LARGE = 1 << 20
"""Entries of a shape above which only eigenvalues and windows are drawn: memory and time stay small."""
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

    Drawn once for a shape and scaled: the draws are the same for all weights of that shape. Of more than a
    million entries, eigenvalues are drawn from their law (`gaussian_eigenvalues`), not the matrix.

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


class _Drawn(NamedTuple):
    """What is measured of one draw of variance 1: eigenvalues of slices and of windows, two squared norms."""

    whole: Float[Tensor, "1 numbers"]
    cut: Float[Tensor, "1 fits others"]
    largest: Float[Tensor, " 1"]
    total: Float[Tensor, " 1"]


@lru_cache(maxsize=512)
def _unit(shape: tuple[int, ...], windows: Windows) -> Mapping[str, Float[Tensor, " draws"]]:
    """Measure the draws of a shape, of variance 1."""
    take = _of_matrix if math.prod(shape) <= _LARGE else _of_law
    rows, columns = shape[:2]
    parts = [_measured(take(shape, windows, draw), rows, columns) for draw in range(DRAWS)]
    return {name: torch.cat([part[name] for part in parts]) for name in NULL_MEASURES}


def _measured(drawn: _Drawn, rows: int, columns: int) -> Values:
    norms = {"spectral_norm": drawn.largest.sqrt(), "stable_rank": drawn.total / drawn.largest}
    return of_full(drawn.whole, rows, columns) | of_fits(drawn.cut) | norms


def _of_matrix(shape: tuple[int, ...], windows: Windows, draw: int) -> _Drawn:
    """Draw the matrix, or the kernel."""
    generator = torch.Generator().manual_seed(_SEED + draw)
    weight = torch.randn(1, *shape, generator=generator)
    largest = torch.linalg.matrix_norm(as_matrices(weight).double(), ord=2).square()
    total = weight.double().square().sum().unsqueeze(0)
    return _Drawn(full_eigenvalues(weight), windowed_eigenvalues(weight, windows), largest, total)


def _of_law(shape: tuple[int, ...], windows: Windows, draw: int) -> _Drawn:
    """Draw eigenvalues from their law, and of a matrix no more than its windows cover."""
    # drawn apart: each is right, but not how whole matrix, slices and windows of a draw depend on each other
    rng = np.random.default_rng((_SEED, draw))
    rows, columns, slices_of_it = *shape[:2], math.prod(shape[2:])
    whole = gaussian_eigenvalues(slices_of_it, rows, columns, rng)
    if len(shape) > 2:
        flat = gaussian_eigenvalues(1, rows, columns * slices_of_it, rng)
        return _Drawn(whole[None], _blocks(shape, windows, rng)[None], flat[-1:], flat.sum()[None])
    covered = rng.standard_normal((1, *_covered(rows, columns, windows)), dtype=np.float32)
    cut = windowed_eigenvalues(torch.from_numpy(covered), windows)
    return _Drawn(whole[None], cut, whole[-1:], whole.sum()[None])


def _covered(rows: int, columns: int, windows: Windows) -> tuple[int, int]:
    """Give the size of a matrix whose windows are as many, as large, and overlap as those of a larger one."""
    high, wide = windows.fitting(rows, columns)
    # where windows do not touch, what lies between them is left out; one more, since a side is rounded down
    return min(rows, windows.per_dim * high + 1), min(columns, windows.per_dim * wide + 1)


def _blocks(shape: tuple[int, ...], windows: Windows, rng: np.random.Generator) -> Tensor:
    """Draw the eigenvalues of the blocks that a kernel is cut into `(fits, numbers)`."""
    short, long, ratio = min(shape[:2]), max(shape[:2]), windows.aspect_ratio
    narrow = max(1, int(short // ratio if ratio > 1 else short * ratio))
    fits = range(long // short)
    return torch.stack([gaussian_eigenvalues(math.prod(shape[2:]), short, narrow, rng) for _ in fits])


def gaussian_eigenvalues(
    count: int, rows: int, columns: int, rng: np.random.Generator
) -> Float[Tensor, " numbers"]:
    """Draw the eigenvalues of `W^T W` for independent standard normal entries, without the entries.

    They are those of `B^T B`, B bidiagonal with chi variables of `m, ..., m - n + 1` degrees of freedom on
    the diagonal and `n - 1, ..., 1` beside it, m the longer side (Dumitriu and Edelman 2002, section 3.2).

    Args:
        count: How many matrices.
        rows: Their rows.
        columns: Their columns.
        rng: Where the numbers come from.

    Returns:
        `count * min(rows, columns)` eigenvalues, of all matrices together, float64, at least 0, ascending.

    Example:
        >>> found = gaussian_eigenvalues(1, 4000, 20, np.random.default_rng(0))
        >>> len(found), round(found.mean().item() / 4000, 1)  # each column has 4000 squares of mean 1
        (20, 1.0)
    """
    long, short = max(rows, columns), min(rows, columns)
    diagonal = rng.chisquare(np.arange(long, long - short, -1), size=(count, short))
    beside = np.zeros_like(diagonal)  # a zero after each matrix: one tridiagonal matrix holds all of them
    if short > 1:
        beside[:, :-1] = rng.chisquare(np.arange(short - 1, 0, -1), size=(count, short - 1))
    main = diagonal.copy()
    main[:, 1:] += beside[:, :-1]
    off = np.sqrt(diagonal * beside).ravel()[:-1]
    found = eigvalsh_tridiagonal(main.ravel(), off, lapack_driver="sterf")
    return torch.from_numpy(found).clamp(min=0)
