"""Weight matching: the order of a network's units in which its weights lie nearest to another's."""

from __future__ import annotations

from dataclasses import replace

from zoo.alignment.descent import Orders, descend
from zoo.alignment.pairs import check_pairs
from zoo.architectures import DataShape, Symmetry, permute
from zoo.architectures import symmetry as symmetry_of
from zoo.spec import ArchitectureSpecification
from zoo.training import NetworkStack


def match_weights(
    reference: NetworkStack, other: NetworkStack, symmetry: Symmetry, *, seed: int = 0
) -> Orders:
    """Find orders of the units in which the weights of networks lie near those of their partners.

    Weight matching of Git Re-Basin (Ainsworth et al. 2023, arXiv 2209.04836, section 3.2, algorithm 1):
    groups are taken in turn, and the units of one are put into the order that makes the inner product of all
    trainable weights largest, the others being held; until a sweep over all groups gains nothing (1e-12 of
    the product of both norms), or for 100 sweeps. That ends in a local optimum, the global one where there is
    one group alone.

    Where the paper begins at the order as it is, an order is built first from the inputs up, each group by
    the tensors that it shares with inputs, logits and groups already placed. So the units' present order
    decides nothing: a permuted copy always finds back, and two networks end at the same distance however
    their units are labelled. Only if that ended further apart than both began, which is rare, the search
    begins at the present order: the L2 distance of trainable weights never grows.

    Units without weights, or with those of another unit, have no best order: one of those that are equally
    good is given. Accumulated in float64.

    Args:
        reference: Networks.
        other: The networks to be permuted, row i for row i of the reference.
        symmetry: That of their architecture.
        seed: Seed of the order in which groups are taken, the same for all pairs.

    Returns:
        Order of the units of `other` by group, `(n_pairs, size)`, as `zoo.architectures.permute` takes them.

    Raises:
        SpecificationError: The stacks differ in layout or length, weights are not finite, or the symmetry is
            that of other networks.
    """
    check_pairs(reference, other, symmetry)
    return descend(reference, other, symmetry, symmetry.groups, seed=seed)


def align(
    architecture: ArchitectureSpecification, shape: DataShape, reference: NetworkStack, other: NetworkStack
) -> NetworkStack:
    """Permute networks so that their weights lie near those of their partners (`match_weights`).

    Args:
        architecture: The architecture of all of them.
        shape: Shape of their data.
        reference: Networks.
        other: As many networks, row i to be aligned with row i of the reference.

    Returns:
        The networks of `other`, the same functions, with their units in another order.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: The stacks differ in layout or length, weights are not finite, or the architecture
            is another one.
    """
    found = symmetry_of(architecture, shape)
    orders = match_weights(reference, other, found)
    return replace(other, weights=permute(other.weights, other.layout, found, orders))
