"""Weights as matrices: what is a matrix, and what a kernel that holds several."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.errors import UndefinedMetricError


def as_matrices(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "... out fan_in"]:
    """See weights as matrices from fan-in to outputs.

    Two and three dimensions are a matrix and a stack of matrices. From four dimensions on, the last four are
    a kernel `(out, in, k, k)`, which becomes `(out, in * k * k)`.

    Args:
        weight: `(out, in)`, `(n, out, in)`, `(out, in, k, k)`, or `(..., out, in, k, k)`.

    Returns:
        `(..., out, fan_in)`, a view where possible.

    Raises:
        UndefinedMetricError: It has fewer than two dimensions, or no element, or is no floating tensor.

    Example:
        >>> import torch
        >>> as_matrices(torch.zeros(8, 4, 3, 3)).shape
        torch.Size([8, 36])
    """
    _check(weight)
    return weight if weight.ndim < 4 else weight.flatten(-3)


def slices(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "... slices out in"]:
    """See weights as the matrices that they are made of: a kernel is one matrix for each of its places.

    As WeightWatcher and FARMS take convolutions apart (Hu et al. 2025, section 3).

    Args:
        weight: As for `as_matrices`.

    Returns:
        `(..., k * k, out, in)`, a view where possible; one slice for a matrix.

    Raises:
        UndefinedMetricError: It has fewer than two dimensions, or no element, or is no floating tensor.

    Example:
        >>> import torch
        >>> slices(torch.zeros(8, 4, 3, 3)).shape, slices(torch.zeros(5, 8, 4)).shape
        (torch.Size([9, 8, 4]), torch.Size([5, 1, 8, 4]))
    """
    _check(weight)
    return weight.unsqueeze(-3) if weight.ndim < 4 else weight.flatten(-2).movedim(-1, -3)


def _check(weight: object) -> None:
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        got = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise UndefinedMetricError(
            f"expected a torch tensor of floating numbers, got {got}; torch.as_tensor(weight) makes one of "
            "an array, weight.float() of whole numbers"
        )
    if weight.ndim < 2 or weight.numel() == 0:
        raise UndefinedMetricError(
            f"expected a matrix (..., out, in) or a kernel (..., out, in, k, k), got shape "
            f"{tuple(weight.shape)}; vectors, scalars and empty tensors have no spectrum"
        )
