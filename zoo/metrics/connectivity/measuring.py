"""Curves between all pairs of a subject, by the settings of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from zoo.alignment import align
from zoo.datasets import Items
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.connectivity.curve import Curve, Ties, mode_connectivity
from zoo.metrics.connectivity.fitting import Fit, fit_bends
from zoo.metrics.connectivity.memory import Footprint, footprint, pairs_at_once
from zoo.metrics.connectivity.pairs import Pairs
from zoo.metrics.connectivity.path import Look, Path, take_curves
from zoo.metrics.connectivity.statistics import Statistics
from zoo.metrics.networks import landscape_items

_STRAIGHT = ("", "aligned_")
"""What begins the names of values and arrays of straight lines: units as they are, and after matching."""
_ARRAYS = ("train_points", "test_points", "train_nats", "test_nats")
_LEAST = 2
"""Items of a side, below which nothing is measured: statistics of a batch need two."""
OTHER_PAIR = "the protocol looks at the pair of the two lowest seeds of a cell alone"


@dataclass(frozen=True)
class Protocol:
    """How curves of a metric are made and taken.

    Attributes:
        look: How curves are taken.
        items: Items of a side that they are taken over, at most; nothing for all.
        ties: Which of several extremes counts.
        first_pair: Whether the pair of the two lowest seeds of each cell is measured alone.
    """

    look: Look
    items: int | None = None
    ties: Ties = "cancel"
    first_pair: bool = False


class _Ground:
    """What the curves of a subject are taken over.

    Args:
        subject: The subject.
        items: Items of a side, at most; nothing for all.
    """

    def __init__(self, subject: Subject, items: int | None) -> None:
        self._module, self._layout = subject.skeleton(), subject.layout
        self.seen = landscape_items(subject, "train")
        self.train, self.test = _few(subject, "train", items), _few(subject, "test", items)

    @property
    def reason(self) -> str | None:
        """Why curves cannot be taken, if they cannot."""
        counts = {"train": len(self.train), "test": len(self.test)}
        short = [f"{count} {side} items" for side, count in counts.items() if count < _LEAST]
        return f"curves are taken over at least {_LEAST} items, there are {short[0]}" if short else None

    @cached_property
    def _footprint(self) -> Footprint:
        return footprint(self._module, self.seen.x)

    @cached_property
    def _statistics(self) -> Statistics:
        return Statistics(self._module, self._layout, self.train.x)

    def together(self, fit: Fit | None) -> int:
        """Say how many pairs to take at once."""
        size = self._footprint
        return pairs_at_once(self._layout, size.widest if fit is None else 2 * fit.batch_size * size.total)

    def curves(self, path: Path, look: Look) -> tuple[Curve, Curve]:
        """Take the curves of train and test items."""
        found = take_curves(
            path, [self.train, self.test], self._statistics, look, widest=self._footprint.widest
        )
        return found[0], found[1]


def _few(subject: Subject, side: Literal["train", "test"], most: int | None) -> Items:
    items = landscape_items(subject, side)
    return items if most is None or len(items) <= most else landscape_items(subject, side, most)


def _arrays(prefix: str, train: Curve, test: Curve) -> dict[str, Tensor]:
    arrays = (train.points, test.points, train.nats, test.nats)
    return {f"{prefix}{name}": array for name, array in zip(_ARRAYS, arrays, strict=True)}


def measure_straight(subject: Subject, metric: Metric, protocol: Protocol) -> Measurement:
    """Take straight lines between all pairs, as they are and after weight matching.

    Args:
        subject: The subject.
        metric: Whose columns are filled in.
        protocol: How.

    Returns:
        Barriers, and the curves.
    """
    names = ["t", *(prefix + name for prefix in _STRAIGHT for name in _ARRAYS)]
    pairs, ground = Pairs(subject, metric, names), _Ground(subject, protocol.items)
    if ground.reason is not None:
        pairs.refuse(ground.reason)
    for some in pairs.some(ground.together(None)):
        matched = align(subject.architecture, subject.judged.shape, some.a, some.b)
        values: dict[str, Tensor] = {}
        series: dict[str, Tensor] = {}
        for prefix, other in zip(_STRAIGHT, (some.b, matched), strict=True):
            train, test = ground.curves(Path(some.a, other), protocol.look)
            values |= _barriers(prefix, {"train": train, "test": test})
            train, test = train.turned(some.turned), test.turned(some.turned)
            series |= {"t": train.t} | _arrays(prefix, train, test)
        pairs.fill(some, values, series)
    return pairs.measurement()


def _barriers(prefix: str, sides: Mapping[str, Curve]) -> dict[str, Tensor]:
    nats = {f"{prefix}barrier_{side}_nats": curve.barrier_nats for side, curve in sides.items()}
    return nats | {f"{prefix}barrier_{side}_points": curve.barrier_points for side, curve in sides.items()}


def measure_bent(subject: Subject, metric: Metric, protocol: Protocol, fit: Fit) -> Measurement:
    """Train Bezier curves between all pairs.

    Args:
        subject: The subject.
        metric: Whose columns are filled in; they begin with the metric's name.
        protocol: How curves are taken.
        fit: How they are trained.

    Returns:
        Mode connectivity, and the curves.
    """
    pairs, ground = Pairs(subject, metric, ["t", *_ARRAYS]), _Ground(subject, protocol.items)
    if ground.reason is not None:
        pairs.refuse(ground.reason)
    if protocol.first_pair:
        pairs.refuse(OTHER_PAIR, pairs.beside_the_lowest_seeds())
    for some in pairs.some(ground.together(fit)):
        path = Path(some.a, some.b, fit_bends(some.a, some.b, ground.seen, fit))
        train, test = ground.curves(path, protocol.look)
        ends = {"": train.points, "_test": test.points, "_nats": train.nats, "_test_nats": test.nats}
        values = {metric.name + end: mode_connectivity(v, protocol.ties) for end, v in ends.items()}
        train, test = train.turned(some.turned), test.turned(some.turned)
        pairs.fill(some, values, {"t": train.t} | _arrays("", train, test))
    return pairs.measurement()
