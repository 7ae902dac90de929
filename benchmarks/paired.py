"""Two ways of doing the same thing, timed in turns, so that a busy machine disturbs both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Seconds of both sides, pair by pair.

    Attributes:
        ours: Seconds of each run of our side.
        peer: Seconds of each run of the peer, in the same order.
    """

    ours: list[float]
    peer: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times faster we are, pair by pair; higher is better."""
        return [peer / ours for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)

    def describe(self) -> tuple[str, str, str, str]:
        """Write the median seconds of both sides, the median ratio, and the range of the ratios.

        Returns:
            Four cells of a table.
        """
        return (
            _duration(statistics.median(self.ours)),
            _duration(statistics.median(self.peer)),
            f"{self.ratio:.1f}x",
            f"{min(self.ratios):.1f}x to {max(self.ratios):.1f}x",
        )


def compare(ours: Callable[[], float], peer: Callable[[], float], *, pairs: int) -> Comparison:
    """Run both sides in turns.

    Args:
        ours: Does our side's work and gives its seconds.
        peer: Does the peer's.
        pairs: Number of pairs, after one that is not counted.

    Returns:
        The seconds.
    """
    found = [(ours(), peer()) for _ in range(pairs + 1)][1:]
    return Comparison([one for one, _ in found], [other for _, other in found])


def seconds(work: Callable[[], object]) -> float:
    """Time one call.

    Args:
        work: What to call.

    Returns:
        Wall time in seconds.
    """
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def repeats(once: float, wanted: float) -> int:
    """Say how often to repeat a piece of work so that its time can be measured.

    Args:
        once: Seconds of one.
        wanted: Seconds of all.

    Returns:
        At least 1.

    Example:
        >>> repeats(0.1, 0.45), repeats(2.0, 0.45)
        (4, 1)
    """
    return max(1, round(wanted / once))


def _duration(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.2f} ms"
