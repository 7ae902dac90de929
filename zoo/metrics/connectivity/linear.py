"""Linear barriers: loss and error along the straight line between two networks."""

from __future__ import annotations

from jaxtyping import Int, Num
from torch import Tensor, nn

from zoo.metrics.connectivity.curve import Curve, check_points
from zoo.metrics.connectivity.memory import footprint, pairs_at_once
from zoo.metrics.connectivity.path import Look, Path, as_pairs, check_items, take_curves
from zoo.metrics.connectivity.statistics import Statistics
from zoo.training import NetworkStack

POINTS = 25


def linear_barrier(
    a: nn.Module | NetworkStack,
    b: nn.Module | NetworkStack,
    x: Num[Tensor, "items ..."],
    y: Int[Tensor, "labels ..."],
    points: int = POINTS,
    *,
    statistics: Num[Tensor, "others ..."] | None = None,
) -> Curve:
    """Evaluate pairs of networks along the straight line `(1 - t) a + t b` (Frankle et al. 2020).

    In eval mode. Where networks keep running statistics, those of inner points are estimated anew
    (`refit_statistics`); the ends have their own. Hidden units have no natural order: align b with a first
    (`zoo.alignment.align`) for the barrier that relabelling cannot remove.

    Args:
        a: A network, or networks.
        b: Another of the same layout, or as many.
        x: Items `(n_items, ...)`; bytes are pixels.
        y: Classes `(n_items,)`, or `(n_items, places)`.
        points: Number of equidistant t, both ends among them, at least 2.
        statistics: Items that running statistics are estimated on; x itself where none are given.

    Returns:
        The curves, one a pair; `barrier_nats` and `barrier_points` say how high they rise, at least 0.

    Raises:
        SpecificationError: Layouts or numbers of networks differ, there are fewer than 2 points, items and
            labels do not fit, or there is one item alone to estimate statistics on.

    Example:
        >>> import torch
        >>> _ = (a := nn.Linear(1, 2, bias=False)).weight.data.copy_(torch.tensor([[1.0], [0.0]]))
        >>> _ = (b := nn.Linear(1, 2, bias=False)).weight.data.copy_(torch.tensor([[3.0], [0.0]]))
        >>> curve = linear_barrier(a, b, torch.ones(1, 1), torch.tensor([1]), points=3)
        >>> curve.nats, curve.barrier_nats  # log(1 + e^z) for z = 1, 2, 3: convex, so no barrier
        (tensor([[1.3133, 2.1269, 3.0486]], dtype=torch.float64), tensor([0.], dtype=torch.float64))
    """
    first, second = as_pairs(a, b)
    items = check_items(x, y)
    check_points(points)
    size = footprint(first.module, x)
    renew = Statistics(first.module, first.layout, x if statistics is None else statistics)
    together = pairs_at_once(first.layout, size.widest)
    parts = []
    for start in range(0, len(first), together):
        some = slice(start, start + together)
        path = Path(first.select(some), second.select(some))
        parts += take_curves(path, [items], renew, Look(points), widest=size.widest)
    return Curve.joined(parts)
