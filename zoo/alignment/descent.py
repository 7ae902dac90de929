"""Coordinate descent over groups of units, for many pairs of networks at once."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo.alignment.pairs import assign, by_unit
from zoo.architectures import Symmetry
from zoo.architectures.symmetries import take_units
from zoo.training import NetworkStack, stream
from zoo.weights import unflatten

_SWEEPS = 100
_LEAST_GAIN = 1e-12
_NUMBERS_AT_ONCE = 2**20
"""Numbers of one side of the pairs in memory at once, one pair at least: 8 MB, which caches hold."""

Orders = dict[str, Int[Tensor, "pairs units"]]
"""Order of the units by group, a row for each pair."""
Places = dict[str, int]
"""Tensors that a group permutes, and on which of their factors."""


def descend(
    reference: NetworkStack, other: NetworkStack, symmetry: Symmetry, groups: Collection[str], *, seed: int
) -> Orders:
    """Put the units of some groups into the order in which weights lie nearest to those of the reference.

    Args:
        reference: Networks.
        other: As many, of the same layout; all weights finite.
        symmetry: That of their architecture.
        groups: The groups that may be permuted.
        seed: Seed of the order in which they are taken.

    Returns:
        Order of the units of `other` by group, `(n_pairs, size)`.
    """
    rows = max(1, _NUMBERS_AT_ONCE // reference.layout.size)
    found = []
    for start in range(0, max(1, len(reference)), rows):
        one, two = (stack.select(slice(start, start + rows)) for stack in (reference, other))
        found.append(_from_below(one, two, symmetry, groups, seed=seed))
    return {group: torch.cat([orders[group] for orders in found]) for group in groups}


def _from_below(
    reference: NetworkStack, other: NetworkStack, symmetry: Symmetry, groups: Collection[str], *, seed: int
) -> Orders:
    found = _Descent(reference, other, symmetry, groups)
    as_it_was = found.value.clone()
    found.rise()
    found.run(seed)
    worse = (found.value < as_it_was).nonzero().flatten()
    if len(worse):  # begin at the present order instead, from which it only gets better
        one, two = (stack.select(worse.tolist()) for stack in (reference, other))
        again = _Descent(one, two, symmetry, groups)
        again.run(seed)
        for group, order in again.orders.items():
            found.orders[group][worse] = order
    return found.orders


class _Descent:
    """Pairs on their way; those that have settled are left alone, so that no pair feels its neighbours.

    Attributes:
        value: Inner product of the weights of each pair, the units being in their present order.
        least: What counts as a gain of it.
        orders: The present order.
    """

    def __init__(
        self, reference: NetworkStack, other: NetworkStack, symmetry: Symmetry, groups: Collection[str]
    ) -> None:
        pairs, device = len(other), other.weights.device
        self._symmetry = symmetry
        self._reference, self._other = _factored(reference, symmetry), _factored(other, symmetry)
        self._open = torch.arange(pairs, device=device)
        self._places: dict[str, Places] = {
            group: {name: place for name, place in symmetry.places(group).items() if name in self._other}
            for group in symmetry.groups
            if group in groups
        }
        self.value = _inner(self._reference, self._other)
        self.least = (
            _LEAST_GAIN * (_inner(self._reference, self._reference) * _inner(self._other, self._other)).sqrt()
        )
        self.orders = {
            group: torch.arange(symmetry.groups[group], device=device).repeat(pairs, 1) for group in groups
        }

    def rise(self) -> None:
        """Order group after group, from the inputs up, by the tensors whose other groups have their order.

        A copy of the reference whose units are permuted finds back by this alone.
        """
        waiting = set(self._places)
        for group, places in self._places.items():
            waiting.remove(group)
            known = {
                name: place
                for name, place in places.items()
                if waiting.isdisjoint(factor.group for factor in self._symmetry.factors(name))
            }
            self._move(group, assign(self._similarity(known)), self._open)
        self.value = _inner(self._reference, self._other)

    def run(self, seed: int) -> None:
        """Sweep until all pairs have settled."""
        groups = list(self._places)
        for sweep in range(_SWEEPS):
            if not len(self._open):
                break
            gained = torch.zeros_like(self._open, dtype=torch.bool)
            for place in torch.randperm(len(groups), generator=stream(seed, "alignment", sweep)).tolist():
                gained |= self._improve(groups[place])
            self._leave(gained)

    def _improve(self, group: str) -> Bool[Tensor, " pairs"]:
        """Put one group into its best order, and say for which open pairs that gained something."""
        similarity = self._similarity(self._places[group])
        order = assign(similarity)
        best = similarity.gather(2, order[:, :, None]).sum(dim=(1, 2))
        gain = best - similarity.diagonal(dim1=1, dim2=2).sum(dim=1)
        better = gain > self.least[self._open]
        self.value[self._open[better]] += gain[better]
        self._move(group, order[better], better.nonzero().flatten())
        return better

    def _similarity(self, places: Places) -> Float[Tensor, "pairs units units"]:
        """Give the inner products of all weights of a unit here with those of a unit there."""
        products = [
            torch.bmm(by_unit(self._reference[name], place), by_unit(self._other[name], place).mT)
            for name, place in places.items()
        ]
        return torch.stack(products).sum(dim=0)

    def _move(self, group: str, order: Int[Tensor, "some units"], pairs: Int[Tensor, " some"]) -> None:
        """Reorder the units of some of the open pairs."""
        for name, place in self._places[group].items():
            self._other[name][pairs] = take_units(self._other[name][pairs], order, place)
        rows = self._open[pairs]
        self.orders[group][rows] = self.orders[group][rows].gather(1, order)

    def _leave(self, gained: Bool[Tensor, " pairs"]) -> None:
        """Leave the pairs alone that gained nothing."""
        if not gained.all():
            self._open = self._open[gained]
            self._reference = {name: tensor[gained] for name, tensor in self._reference.items()}
            self._other = {name: tensor[gained] for name, tensor in self._other.items()}


def _factored(stack: NetworkStack, symmetry: Symmetry) -> dict[str, Float[Tensor, "pairs ..."]]:
    """Give what is trained, in float64, each factor an axis of its own; a copy."""
    trained = {entry.name for entry in stack.layout.entries if entry.kind != "buffer"}
    return {
        name: tensor.to(torch.float64, copy=True).view(len(stack), *symmetry.shape(name))
        for name, tensor in unflatten(stack.weights, stack.layout).items()
        if name in trained
    }


def _inner(one: dict[str, Tensor], other: dict[str, Tensor]) -> Float[Tensor, " pairs"]:
    products = [(tensor * other[name]).unsqueeze(-1).flatten(1).sum(dim=1) for name, tensor in one.items()]
    return torch.stack(products).sum(dim=0)
