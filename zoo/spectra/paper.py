"""FARMS as its authors released it, with what goes wrong in it, to compare numbers with theirs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import unknown_name
from zoo.spectra.fits import FITS, Fit, PowerLaw, law_from, peak_edge
from zoo.spectra.matrices import slices
from zoo.spectra.scan import best_start
from zoo.spectra.threads import threads_for
from zoo.spectra.windows import Windows

_FEWEST = 5
"""Eigenvalues below which a linear layer is left out."""
_KERNEL_NORM = 0.5
"""Factor of the eigenvalues of kernels."""


def paper_eigenvalues(
    weight: Float[Tensor, "*shape"], windows: Windows | None
) -> Float[Tensor, "*batch fits numbers"]:
    """Compute eigenvalues as the code of Hu et al. 2025 does: float32, and windows that do not fit.

    A side between half a window and a window keeps its last `window - side` places before the side itself
    alone: 64 rows under a window of 100 become 36. A side of at most half a window stays whole, so the
    window has another aspect ratio than asked for.

    Args:
        weight: As for `as_matrices`.
        windows: How to cut; nothing for the full matrices.

    Returns:
        `(..., fits, numbers)` float32, ascending.

    Raises:
        SpecificationError: A number in `windows` is out of its range.
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> paper_eigenvalues(torch.ones(64, 64), Windows()).shape
        torch.Size([1, 36])
    """
    parts = slices(weight).float()
    kernel = weight.ndim >= 4
    parts = parts * math.sqrt(_KERNEL_NORM) if kernel else parts
    if windows is None:
        found = _squares(parts).flatten(-2).unsqueeze(-2)
    elif kernel:
        found = _blocks(parts, windows.checked().aspect_ratio)
    else:
        found = _grid(parts.squeeze(-3), windows.checked())
    return found.sort(dim=-1).values


def _squares(matrices: Tensor) -> Tensor:
    finite = matrices.isfinite().flatten(-2).all(dim=-1)[..., None]
    with threads_for(min(matrices.shape[-2:])):
        values: Tensor = torch.linalg.svdvals(torch.where(finite[..., None], matrices, 0.0))
    return torch.where(finite, values.square(), torch.nan)


def _blocks(parts: Tensor, aspect_ratio: float) -> Tensor:
    tall = parts.mT if parts.shape[-2] < parts.shape[-1] else parts
    rows, columns = tall.shape[-2:]
    high = max(1, int(columns // aspect_ratio)) if aspect_ratio > 1 else columns
    wide = columns if aspect_ratio > 1 else max(1, int(columns // (1 / aspect_ratio)))
    cut = [_squares(tall[..., i * high : (i + 1) * high, :wide]) for i in range(rows // columns)]
    return torch.stack([values.flatten(-2) for values in cut], dim=-2)


def _grid(matrices: Tensor, windows: Windows) -> Tensor:
    high, wide = windows.rows, int(windows.rows * windows.aspect_ratio)
    if not wide:
        return matrices.new_empty((*matrices.shape[:-2], 1, 0))
    down = _pieces(matrices.shape[-2], high, windows.per_dim)
    across = _pieces(matrices.shape[-1], wide, windows.per_dim)
    found = [_squares(matrices[..., rows, columns]) for rows in down for columns in across]
    return torch.cat(found, dim=-1).unsqueeze(-2)


def _pieces(length: int, window: int, count: int) -> list[slice]:
    step = max(1, (length - window) // max(1, count - 1))
    number = min(count, max(1, (length - window) // step + 1))
    first = [min(i * step, length - window) for i in range(number)]
    return [slice(start, start + window) for start in first]  # a negative start counts from the end


def paper_fit(eigenvalues: Float[Tensor, "*batch fits numbers"], fit: Fit) -> PowerLaw:
    """Fit as the code of Hu et al. 2025 does; `xmin_peak` compares a logarithm with eigenvalues.

    Args:
        eigenvalues: `(..., fits, numbers)`, as `paper_eigenvalues` gives them.
        fit: Where the tail begins.

    Returns:
        The law of each fit, float64; NaN below 5 values, and where the released code gives no number.

    Raises:
        UnknownNameError: There is no such fit.
    """
    if fit not in FITS:
        raise unknown_name("fit", fit, FITS)
    *shape, count = eigenvalues.shape
    if count < _FEWEST:
        return PowerLaw(*(eigenvalues.new_full(shape, torch.nan, dtype=torch.float64) for _ in range(5)))
    values = eigenvalues.double().reshape(-1, count)
    allowed = values > 0
    logs = torch.where(allowed, values, 1.0).log()
    if fit == "median":
        start = torch.where(values[:, count // 2] > 0, count // 2, -1)
    elif fit == "xmin_peak":
        peak = peak_edge(logs, allowed).exp()
        start = best_start(logs, allowed & (values >= (0.95 * peak).log10()) & (values <= 1.5 * peak))
    else:
        start = best_start(logs, allowed)
    return PowerLaw(*(part.reshape(shape) for part in law_from(values, logs, start)))
