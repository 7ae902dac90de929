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

    def describe(self) -> tuple[str, str, str, str]:
        """Write the median seconds of both sides, the median ratio, and the range of the ratios.

        Returns:
            Four cells of a table.
        """
        ratios = self.ratios
        return (
            _duration(statistics.median(self.ours)),
            _duration(statistics.median(self.peer)),
            f"{statistics.median(ratios):.1f}x",
            f"{min(ratios):.1f}x to {max(ratios):.1f}x",
        )


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


def _duration(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.2f} ms"
