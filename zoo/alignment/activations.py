"""Activation matching: the order of a network's units in which they behave like another's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.func import functional_call

from zoo.alignment.descent import Orders, descend
from zoo.alignment.pairs import assign, check_pairs
from zoo.architectures import Symmetry, permute
from zoo.datasets import as_inputs
from zoo.errors import SpecificationError
from zoo.training import NetworkStack
from zoo.weights import unflatten

Seen = dict[str, Float[Tensor, "units seen"]]
"""What units did, by group: items, and positions of images or sequences, in a row."""


def match_activations(
    reference: NetworkStack, other: NetworkStack, symmetry: Symmetry, x: Num[Tensor, "items ..."]
) -> Orders:
    """Find orders of the units in which they are most correlated with those of their partners.

    For each group, the order that makes the sum of the units' correlations largest (Li et al. 2016, arXiv
    1511.07543; Git Re-Basin, section 3.1, which takes inner products), over items and, of images and
    sequences, positions. Units that are always the same, such as dead ones, correlate 0 with all.

    Units are seen where `Symmetry.views` says: after their non-linearity, after their BatchNorm within
    blocks of a ResNet, at the end of the last block for a residual stream. Attention heads are not seen one
    by one: they are matched by their weights (`match_weights`), the other groups being in their new order.

    The activations of two networks on all items are in memory at once: a few hundred items do.

    Args:
        reference: Networks.
        other: The networks to be permuted, row i for row i of the reference.
        symmetry: That of their architecture.
        x: `(n_items, ...)`; bytes are pixels.

    Returns:
        Order of the units of `other` by group, `(n_pairs, size)`, as `zoo.architectures.permute` takes them.

    Raises:
        SpecificationError: The stacks differ in layout or length, weights or activations are not finite,
            there are no items, or the symmetry is that of other networks.
    """
    check_pairs(reference, other, symmetry)
    if not len(x):
        raise SpecificationError("units are compared on items: expected at least one, got none; give some")
    orders = {group: assign(found) for group, found in _correlations(reference, other, symmetry, x).items()}
    moved = replace(other, weights=permute(other.weights, other.layout, symmetry, orders))
    unseen = [group for group in symmetry.groups if group not in orders]
    return orders | descend(reference, moved, symmetry, unseen, seed=0)


def _correlations(
    reference: NetworkStack, other: NetworkStack, symmetry: Symmetry, x: Num[Tensor, "items ..."]
) -> dict[str, Float[Tensor, "pairs units units"]]:
    found = {
        group: torch.zeros(len(reference), size, size, dtype=torch.float64, device=x.device)
        for group, size in symmetry.groups.items()
        if group in symmetry.views
    }
    for row in range(len(reference)):
        one, two = (_watch(stack.select([row]), symmetry, x) for stack in (reference, other))
        for group, matrix in found.items():
            matrix[row] = _standard(one[group]) @ _standard(two[group]).mT
    return found


def _standard(seen: Float[Tensor, "units seen"]) -> Float[Tensor, "units seen"]:
    """Centre each unit and give it the norm 1, or 0 where it never changes."""
    if not seen.isfinite().all():
        raise SpecificationError(
            "units are compared by what they do: expected finite activations, got infinite ones or NaN; "
            "leave out networks that overflow on these items"
        )
    centred = seen.double() - seen.double().mean(dim=1, keepdim=True)
    norm = centred.norm(dim=1, keepdim=True)
    return torch.where(norm > 1e-12 * seen.double().norm(dim=1, keepdim=True), centred / norm, 0.0)


def _watch(network: NetworkStack, symmetry: Symmetry, x: Num[Tensor, "items ..."]) -> Seen:
    """Run one network, and keep what its units did."""
    inputs = as_inputs(x)
    inputs = inputs.to(network.weights.dtype) if inputs.is_floating_point() else inputs
    with torch.no_grad(), _watched(network.module.eval(), symmetry) as seen:
        functional_call(network.module, unflatten(network.weights[0], network.layout), (inputs,))
    return seen


@contextmanager
def _watched(module: nn.Module, symmetry: Symmetry) -> Iterator[Seen]:
    seen: Seen = {}

    def keep(group: str, axis: int, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        seen[group] = output.movedim(axis, 0).flatten(1)

    handles = [
        module.get_submodule(view.module).register_forward_hook(partial(keep, group, view.axis))
        for group, view in symmetry.views.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
