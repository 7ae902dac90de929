"""A canonical form: one network for all that differ in the order and the scale of their units alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.alignment.pairs import by_unit, check_finite
from zoo.architectures import Symmetry, permute
from zoo.training import NetworkStack
from zoo.weights import unflatten

_SWEEPS = 1000
_SETTLED = 1e-12

Tensors = dict[str, Float[Tensor, "models ..."]]


def canonical(stack: NetworkStack, symmetry: Symmetry) -> NetworkStack:
    """Give networks the order and the scale of their units that all copies of them share.

    First, the scale of ReLU units, where their architecture has that symmetry (`Symmetry.scalable`): what
    writes unit j is multiplied by `c_j = sqrt(||readers_j|| / ||writers_j||)`, what reads it divided by
    that, group after group until no c is further from 1 than 1e-12, or 1,000 times. The sum of all squares
    falls to its only minimum, where both norms of each unit are equal (Stock et al. 2019, arXiv 1902.10416).
    Then the units of each group are sorted by the norm of all their trainable weights, the largest first.

    Permuted and rescaled copies become equal up to rounding, with these exceptions: units whose norms are
    equal keep their order; units with no weights on one of both sides have no balance, and keep their scale.

    Args:
        stack: Networks.
        symmetry: That of their architecture.

    Returns:
        Networks of the same functions, in the floating-point type of the stack.

    Raises:
        SpecificationError: Weights are not finite, or the symmetry is that of other networks.
    """
    symmetry.check(stack.layout)
    check_finite(stack)
    tensors = {
        name: tensor.to(torch.float64, copy=True).view(len(stack), *symmetry.shape(name))
        for name, tensor in unflatten(stack.weights, stack.layout).items()
    }
    _balance(tensors, symmetry)
    trained = {entry.name for entry in stack.layout.entries if entry.kind != "buffer"}
    orders = {
        group: _squares(tensors, symmetry, group, trained).argsort(dim=1, descending=True, stable=True)
        for group in symmetry.groups
    }
    flat = torch.cat([tensor.unsqueeze(-1).flatten(1) for tensor in tensors.values()], dim=1)
    weights = permute(flat, stack.layout, symmetry, orders).to(stack.weights.dtype)
    return replace(stack, weights=weights)


def _squares(
    tensors: Tensors, symmetry: Symmetry, group: str, names: frozenset[str] | set[str]
) -> Float[Tensor, "models units"]:
    """Sum the squares of each unit's numbers in some tensors."""
    places = symmetry.places(group)
    parts = [
        by_unit(tensors[name], place).square().sum(dim=2) for name, place in places.items() if name in names
    ]
    return torch.stack(parts).sum(dim=0)


def _balance(tensors: Tensors, symmetry: Symmetry) -> None:
    """Scale units in place until what writes and what reads each of them has the same norm."""
    for _ in range(_SWEEPS):
        changes = [_rescale(tensors, symmetry, group) for group in symmetry.scalable]
        if max(changes, default=0.0) <= _SETTLED:
            return


def _rescale(tensors: Tensors, symmetry: Symmetry, group: str) -> float:
    """Balance the units of a group, and say how far the largest factor is from 1."""
    writers, places = symmetry.writers(group), symmetry.places(group)
    written = _squares(tensors, symmetry, group, writers)
    read = _squares(tensors, symmetry, group, places.keys() - writers)
    factor = torch.where((written > 0) & (read > 0), (read / written) ** 0.25, 1.0)
    for name, place in places.items():
        wide = [len(factor), *[1] * (tensors[name].ndim - 1)]
        wide[place + 1] = factor.shape[1]
        tensors[name] *= factor.view(wide) if name in writers else 1 / factor.view(wide)
    return float((factor - 1).abs().amax()) if factor.numel() else 0.0
