"""Mode connectivity: trained Bezier curves between two networks, and the values along them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from zoo.metrics.connectivity.curve import Curve, check_points
from zoo.metrics.connectivity.fitting import QUADRATIC, Fit, fit_bends
from zoo.metrics.connectivity.memory import footprint, pairs_at_once
from zoo.metrics.connectivity.path import Look, Path, as_pairs, check_items, take_curves
from zoo.metrics.connectivity.statistics import Statistics
from zoo.training import NetworkStack

POINTS = 9


@dataclass(frozen=True)
class BezierCurves:
    """Trained curves between pairs of networks.

    Attributes:
        train: Loss and error along them, on the items that they were trained on.
        held_out: The same on other items; nothing where none were given.
        bend: Parameters of the bends, without buffers `(n_pairs, n_trained)`; not finite where training left
            the numbers, and then the values are NaN.
    """

    train: Curve
    held_out: Curve | None
    bend: Float[Tensor, "pairs trained"]


def bezier(
    a: nn.Module | NetworkStack,
    b: nn.Module | NetworkStack,
    x: Num[Tensor, "items ..."],
    y: Int[Tensor, "labels ..."],
    *,
    held_out: tuple[Num[Tensor, "others ..."], Int[Tensor, "answers ..."]] | None = None,
    fit: Fit = QUADRATIC,
    points: int = POINTS,
) -> BezierCurves:
    """Train quadratic Bezier curves between pairs of networks, and evaluate along them.

    `(1 - t)^2 a + 2 t (1 - t) c + t^2 b` with fixed ends; the bend c minimises the mean cross-entropy over
    t ~ U(0, 1) (Garipov et al. 2018, eq. 2 and 4). All pairs are trained in one stack, some at a time where
    they are large. Curves are taken in eval mode; running statistics of inner points are estimated anew on x
    (`refit_statistics`), the ends have their own, so that they give exactly what the two networks give.

    Args:
        a: A network, or networks.
        b: Another of the same layout, or as many.
        x: Items to train on `(n_items, ...)`; bytes are pixels.
        y: Classes `(n_items,)`, or `(n_items, places)`.
        held_out: Inputs and classes of other items to evaluate on.
        fit: How the bend is trained.
        points: Number of equidistant t at which curves are taken, at least 2.

    Returns:
        The curves; `train.mode_connectivity` is negative where a barrier is left.

    Raises:
        SpecificationError: Layouts or numbers of networks differ, there are fewer than 2 points, items and
            labels do not fit, or there is one item alone to estimate statistics on.
    """
    first, second = as_pairs(a, b)
    items = check_items(x, y)
    sides = [items] if held_out is None else [items, check_items(*held_out)]
    check_points(points)
    size, renew = footprint(first.module, x), Statistics(first.module, first.layout, x)
    together = pairs_at_once(first.layout, 2 * size.total * min(fit.batch_size, len(x)))
    bends, parts = [], []
    for start in range(0, len(first), together):
        some = slice(start, start + together)
        one, two = first.select(some), second.select(some)
        bends.append(fit_bends(one, two, items, fit))
        path = Path(one, two, bends[-1])
        parts.append(take_curves(path, sides, renew, Look(points), widest=size.widest))
    curves = [Curve.joined(side) for side in zip(*parts, strict=True)]
    return BezierCurves(curves[0], None if held_out is None else curves[1], torch.cat(bends))
