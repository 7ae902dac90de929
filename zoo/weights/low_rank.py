"""Weight matrices of a given rank: structured starting points, rich or lazy (Liu et al. 2023)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.spec import Layout

_TINY = 1e-300
"""Keeps a matrix of zeros from dividing by zero."""


def low_rank(matrix: Float[Tensor, "rows columns"], rank: int) -> Float[Tensor, "rows columns"]:
    """Replace a matrix by the nearest one of a given rank, scaled to the norm that it had.

    The nearest matrix is the truncated singular value decomposition (Eckart and Young 1936), computed in
    float64. Scaling it takes the size of weights out of comparisons between ranks, as Liu et al. 2023,
    section 3, do.

    Args:
        matrix: `(rows, columns)`.
        rank: At least 1.

    Returns:
        Of this rank and of the Frobenius norm of `matrix`, in its type; `matrix` itself where the rank is
        its smaller side or more.

    Example:
        >>> low_rank(torch.diag(torch.tensor([4.0, 3.0])), 1)
        tensor([[5., 0.],
                [0., 0.]])
    """
    if rank >= min(matrix.shape):
        return matrix
    exact = matrix.double()
    left, values, right = torch.linalg.svd(exact, full_matrices=False)
    kept = values[:rank]
    scale = torch.linalg.norm(exact) / torch.linalg.norm(kept).clamp(min=_TINY)
    found: Tensor = (left[:, :rank] * (kept * scale)) @ right[:rank]
    return found.to(matrix.dtype)


def low_rank_weights(vector: Float[Tensor, " params"], layout: Layout, rank: int) -> Float[Tensor, " params"]:
    """Bring every weight matrix of a network to a given rank, each at its own norm.

    Args:
        vector: `(n_params,)`.
        layout: Its layout; entries of the kind `weight` are matrices, kernels as `(out, all the rest)`.
        rank: At least 1.

    Returns:
        `(n_params,)`, a copy; biases, normalisations and buffers as they were.

    Example:
        >>> from zoo.spec import LayoutEntry
        >>> layout = Layout(architecture="mlp", entries=[
        ...     LayoutEntry(name="w", shape=(2, 2), kind="weight"),
        ...     LayoutEntry(name="b", shape=(2,), kind="bias")])
        >>> low_rank_weights(torch.tensor([4.0, 0.0, 0.0, 3.0, 1.0, 2.0]), layout, 1)
        tensor([5., 0., 0., 0., 1., 2.])
    """
    pieces = torch.split(vector, [entry.size for entry in layout.entries])
    return torch.cat(
        [
            low_rank(piece.view(entry.shape[0], -1), rank).flatten() if entry.kind == "weight" else piece
            for entry, piece in zip(layout.entries, pieces, strict=True)
        ]
    )
