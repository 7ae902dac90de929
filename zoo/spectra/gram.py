"""Eigenvalues of `W^T W`, of many matrices at once, however long they are."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.spectra.threads import threads_for

_BLOCK = 1 << 22
"""Numbers that are in float64 at once, beside the Gram matrices."""


def eigenvalues(matrices: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch shorter"]:
    """Compute the squared singular values of matrices.

    As eigenvalues of the smaller Gram matrix in float64, as fast as singular values in float32. Their error
    is about 1e-16 of the largest, below what rounding to float32 has done to the weights already. An
    eigenvalue within rounding is given as 0: at most `(eps (sqrt(m) + sqrt(n)) r)^2` for weights of rounding
    unit eps and root mean square r, or `min(m, n) eps64` of the largest. Float64 weights with singular values
    below about 1e-7 of the largest, and matrices whose rows or columns differ by as much in size, lose some
    by this; they need `torch.linalg.svdvals`. What rounding does while a network trains is not seen.

    Args:
        matrices: `(..., rows, columns)` of any floating type. Long ones are read in pieces.

    Returns:
        `(..., min(rows, columns))` float64, at least 0, ascending; NaN for a matrix with an entry that is
        not finite.

    Example:
        >>> eigenvalues(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
        tensor([ 9., 16.], dtype=torch.float64)
    """
    values, _ = computed(matrices)
    rows, columns = matrices.shape[-2:]
    mean_square = values.sum(dim=-1, keepdim=True) / (rows * columns)
    entries = (torch.finfo(matrices.dtype).eps * (rows**0.5 + columns**0.5)) ** 2 * mean_square
    products = min(rows, columns) * torch.finfo(torch.float64).eps * values[..., -1:]
    return torch.where(values <= torch.maximum(entries, products), 0.0, values)


def computed(
    matrices: Float[Tensor, "*batch rows columns"],
) -> tuple[Float[Tensor, "*batch shorter"], Float[Tensor, "*batch"]]:
    """Compute the eigenvalues as they come, within rounding of zero too, and their sum.

    Args:
        matrices: `(..., rows, columns)` of any floating type.

    Returns:
        `(..., min(rows, columns))` float64, at least 0, ascending, and the sum of the squared entries
        `(...)`; NaN for a matrix with an entry that is not finite, or whose square is not.

    Example:
        >>> computed(torch.diag(torch.tensor([3.0, 4.0])))
        (tensor([ 9., 16.], dtype=torch.float64), tensor(25., dtype=torch.float64))
    """
    tall = matrices.mT if matrices.shape[-2] < matrices.shape[-1] else matrices
    with threads_for(tall.shape[-1]):
        gram = gram_of(tall.detach())
        finite = gram.isfinite().flatten(-2).all(dim=-1)
        values = torch.linalg.eigvalsh(torch.where(finite[..., None, None], gram, 0.0)).clamp(min=0)
    total = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return torch.where(finite[..., None], values, torch.nan), torch.where(finite, total, torch.nan)


def gram_of(tall: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch columns columns"]:
    """Sum `W^T W` over pieces of rows, each brought to float64 by itself: no copy of a large matrix.

    Args:
        tall: `(..., rows, columns)`.

    Returns:
        `(..., columns, columns)` float64.

    Example:
        >>> gram_of(torch.tensor([[3.0], [4.0]]))
        tensor([[25.]], dtype=torch.float64)
    """
    rows, columns = tall.shape[-2:]
    step = max(1, _BLOCK // max(1, tall.numel() // rows))
    gram = tall.new_zeros((*tall.shape[:-2], columns, columns), dtype=torch.float64)
    for first in range(0, rows, step):
        piece = tall[..., first : first + step, :].double()
        gram += piece.mT @ piece
    return gram
