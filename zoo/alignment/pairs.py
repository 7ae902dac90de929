"""Pairs of networks, row by row: what may be compared, and which units fit each other best."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from zoo.architectures import Symmetry
from zoo.errors import SpecificationError
from zoo.training import NetworkStack


def check_pairs(reference: NetworkStack, other: NetworkStack, symmetry: Symmetry) -> None:
    """Refuse stacks whose networks cannot be compared row by row.

    Args:
        reference: Networks.
        other: As many networks.
        symmetry: The symmetry that both should have.

    Raises:
        SpecificationError: Layouts or numbers of networks differ, or the symmetry is another one's.
    """
    if reference.layout != other.layout:
        raise SpecificationError(
            f"networks are aligned with networks of their own layout: expected {reference.layout.id}, got "
            f"{other.layout.id}; align each layout by itself"
        )
    if len(reference) != len(other):
        raise SpecificationError(
            f"pairs are aligned row by row: expected as many networks on both sides, got {len(reference)} "
            f"and {len(other)}; select the members of each pair first"
        )
    symmetry.check(reference.layout)
    for stack in (reference, other):
        check_finite(stack)


def check_finite(stack: NetworkStack) -> None:
    """Refuse weights that are infinite or not a number.

    Args:
        stack: Networks.

    Raises:
        SpecificationError: There are some.
    """
    broken = (~stack.weights.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise SpecificationError(
            f"only finite weights can be aligned: expected numbers, got infinite ones or NaN in rows "
            f"{broken[:5]}{' and others' if len(broken) > 5 else ''}; leave diverged networks out"
        )


def assign(similarity: Float[Tensor, "pairs units units"]) -> Int[Tensor, "pairs units"]:
    """Find the order of the units that makes the sum of similarities largest, for each pair.

    Args:
        similarity: `(n_pairs, units of the reference, units of the other)`, finite.

    Returns:
        For each unit of the reference, the one of the other that belongs to it; the present order where no
        other is better.

    Example:
        >>> assign(torch.tensor([[[0.0, 1.0], [1.0, 5.0]], [[0.0, 3.0], [3.0, 5.0]]]))
        tensor([[0, 1],
                [1, 0]])
    """
    pairs, units, _ = similarity.shape
    order = torch.arange(units).repeat(pairs, 1)
    # where each unit's own partner is its best, no solver is needed
    open_ones = (similarity.diagonal(dim1=1, dim2=2) < similarity.amax(dim=2)).any(dim=1)
    for pair in open_ones.nonzero().flatten().tolist():
        found = torch.from_numpy(linear_sum_assignment(similarity[pair].cpu().numpy(), maximize=True)[1])
        order[pair] = found
    return order.to(similarity.device)


def by_unit(tensor: Float[Tensor, "models ..."], place: int) -> Float[Tensor, "models units rest"]:
    """Lay out a tensor unit by unit.

    Args:
        tensor: `(n_models, *factors)`.
        place: Which factor the units are.

    Returns:
        `(n_models, n_units, numbers of each)`.
    """
    return tensor.movedim(place + 1, 1).unsqueeze(-1).flatten(2)
