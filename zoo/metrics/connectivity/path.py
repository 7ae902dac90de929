"""Paths between pairs of networks, and what networks on them make of items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from zoo.datasets import Items
from zoo.errors import SpecificationError
from zoo.metrics.connectivity.curve import Curve, check_points
from zoo.metrics.connectivity.memory import items_at_once
from zoo.metrics.connectivity.statistics import Statistics
from zoo.metrics.evaluation import accuracy, cross_entropy
from zoo.training import NetworkStack, StackNetwork


def as_pairs(a: nn.Module | NetworkStack, b: nn.Module | NetworkStack) -> tuple[NetworkStack, NetworkStack]:
    """See two networks, or two stacks of them, as pairs.

    Args:
        a: First network of each pair.
        b: Second network of each pair.

    Returns:
        Both as stacks of equal length.

    Raises:
        SpecificationError: They differ in layout, layers, type or number, or there is none.
    """
    first, second = (one if isinstance(one, NetworkStack) else NetworkStack.of(one) for one in (a, b))
    if first.layout.entries != second.layout.entries:
        raise SpecificationError(
            f"a path joins networks of one layout: expected {second.layout.id} as the other end has, got "
            f"{first.layout.id}; compare networks of the same architecture"
        )
    if repr(first.module) != repr(second.module):
        raise SpecificationError(
            f"a path joins networks of one architecture: expected {type(second.module).__name__} with the "
            "same layers as the other end has, got others under the same shapes, such as another activation"
        )
    if first.weights.dtype != second.weights.dtype:
        raise SpecificationError(
            f"a path joins networks of one type of numbers: expected {second.weights.dtype}, got "
            f"{first.weights.dtype}; convert one of them"
        )
    if len(first) != len(second) or not len(first):
        raise SpecificationError(
            f"pairs are made row by row: expected as many networks on both sides, at least 1, got "
            f"{len(first)} and {len(second)}; select the members of each pair first"
        )
    return first, second


def check_items(x: Num[Tensor, "items ..."], y: Num[Tensor, "labels ..."]) -> Items:
    """Refuse items without labels.

    Args:
        x: Inputs.
        y: Classes.

    Returns:
        Both as items.

    Raises:
        SpecificationError: Their numbers differ, there is none, or a label is no class.
    """
    if len(x) != len(y) or not len(x):
        raise SpecificationError(
            f"a curve is taken over items with a label each: expected equal numbers, at least 1, got "
            f"{len(x)} inputs and {len(y)} labels; give both of the same items"
        )
    if y.is_floating_point() or y.is_complex() or int(y.min()) < 0:
        raise SpecificationError(
            f"a label is the number of a class, from 0: expected whole numbers, got {y.dtype} from "
            f"{y.min().item():g}; leave items without a class out"
        )
    return Items(x, y)


@dataclass(frozen=True)
class Path:
    """Paths from networks a to networks b, row by row: straight, or bent towards a third point.

    Straight: `(1 - t) a + t b`. Bent: the quadratic Bezier curve `(1 - t)^2 a + 2 t (1 - t) c + t^2 b`
    (Garipov et al. 2018, eq. 4).

    Attributes:
        a: Networks at t = 0.
        b: Networks at t = 1.
        bend: Parameters c without buffers `(n_pairs, n_trained)`; nothing for straight lines.
    """

    a: NetworkStack
    b: NetworkStack
    bend: Float[Tensor, "pairs trained"] | None = None

    def at(self, points: int) -> Iterator[NetworkStack]:
        """Walk from end to end.

        Args:
            points: Number of equidistant places, at least 2.

        Yields:
            The networks at each place. The ends are a and b themselves; in between, buffers are those of a.
        """
        network = StackNetwork(self.a.module, self.a.layout)
        (start, buffers), (end, _) = network.split(self.a.weights), network.split(self.b.weights)
        t = torch.linspace(0, 1, points, dtype=torch.float64)
        places = list(zip(t.flip(0).tolist(), t.tolist(), strict=True))  # 1 - t as exact as t
        yield self.a
        for s, t_ in places[1:-1]:
            weights = network.join(self._between(start, end, s, t_), buffers)
            yield replace(self.a, weights=weights)
        yield self.b

    def _between(self, start: Tensor, end: Tensor, s: float, t: float) -> Tensor:
        if self.bend is None:
            return start * s + end * t
        return bezier_point(start, self.bend, end, t=t, out=torch.empty_like(start))


def bezier_point(
    start: Float[Tensor, "pairs trained"],
    bend: Float[Tensor, "pairs trained"],
    end: Float[Tensor, "pairs trained"],
    *,
    t: float,
    out: Float[Tensor, "pairs trained"],
) -> Float[Tensor, "pairs trained"]:
    """Give a point of quadratic Bezier curves: `(1 - t)^2 a + 2 t (1 - t) c + t^2 b`.

    Args:
        start: a.
        bend: c.
        end: b.
        t: Place in [0, 1].
        out: Where to write it: new memory at every step would cost more than the arithmetic.

    Returns:
        The points, which are `out`.
    """
    s = 1 - t
    return torch.mul(start, s * s, out=out).add_(end, alpha=t * t).add_(bend, alpha=2 * s * t)


@dataclass(frozen=True)
class Look:
    """How curves are taken.

    Attributes:
        points: Number of equidistant places.
        refit_ends: Whether running statistics are estimated anew at the ends too, not only in between. Ends
            with statistics of their own give exactly what these networks give.
        weight_decay: d of the term `d / 2 |w|^2` over trained parameters that counts as loss.
    """

    points: int
    refit_ends: bool = False
    weight_decay: float = 0.0


@torch.no_grad()
def take_curves(
    path: Path, sides: Sequence[Items], statistics: Statistics, look: Look, *, widest: int
) -> list[Curve]:
    """Evaluate the networks along paths.

    Args:
        path: The paths.
        sides: Items to take the curves over.
        statistics: Estimates running statistics along the paths.
        look: How.
        widest: Numbers in the largest activation of a network for one item.

    Returns:
        A curve for each side.

    Raises:
        SpecificationError: There are fewer than 2 points.
    """
    check_points(look.points)
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in sides]
    for place, networks in enumerate(path.at(look.points)):
        inner = 0 < place < look.points - 1
        refitted = statistics.refitted(networks) if inner or look.refit_ends else networks
        for side, values in zip(sides, found, strict=True):
            loss, error = _assess(refitted, side, items_at_once(len(networks), widest))
            values.append((loss + _decay(networks, look.weight_decay), error))
    t = torch.linspace(0, 1, look.points, dtype=torch.float64)
    return [Curve(t, *(torch.stack(v, dim=1) for v in zip(*side, strict=True))) for side in found]


def _assess(networks: NetworkStack, items: Items, batch: int) -> tuple[Tensor, Tensor]:
    """Give loss in nats and error in percentage points, some items at a time."""
    sums = torch.zeros(2, len(networks), dtype=torch.float64, device=networks.weights.device)
    for x, y in zip(torch.split(items.x, batch), torch.split(items.y, batch), strict=True):
        logits, labels = networks.evaluate(x).flatten(1, -2), y.flatten()
        sums[0] += cross_entropy(logits, labels) * len(labels)
        sums[1] += accuracy(logits, labels) * len(labels)
    loss, right = sums / items.y.numel()
    return loss, 100 * (1 - right)


def _decay(networks: NetworkStack, weight_decay: float) -> Tensor | float:
    if not weight_decay:
        return 0.0
    network = StackNetwork(networks.module, networks.layout)
    parameters, _ = network.split(networks.weights)
    return weight_decay / 2 * parameters.double().square().sum(dim=1)
