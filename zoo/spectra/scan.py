"""The search for the tail that a power law fits best, exact, without trying every value on every tail."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo.spectra.threads import threads_for

_LOOKS = 32
"""Places of a tail at which its distance is looked at first; the distance is at least what is found there."""
_ROUND = 16
"""Tails whose distance is then computed in full at once."""
_NUMBERS = 1 << 18
"""Numbers in memory at once: what fits into a cache is twice as fast."""
EQUAL = 1e-9
"""Mean logarithm of the tail over its start below which all of it is one value, up to rounding."""


def best_start(
    logs: Float[Tensor, "rows numbers"], allowed: Bool[Tensor, "rows numbers"]
) -> Int[Tensor, " rows"]:
    """Find where the tail begins whose power law has the smallest Kolmogorov-Smirnov distance.

    A few places of each tail give a lower bound of its distance. Tails are then computed in full, those of
    the lowest bounds first, until no bound is below the smallest distance: the result is that of trying all.

    Args:
        logs: Logarithms of the values, ascending `(rows, n)`.
        allowed: Where a tail may begin; never at the last value.

    Returns:
        The first such place in each row; -1 where there is none.

    Example:
        >>> logs = torch.tensor([[0.0, 1.0, 1.5, 1.8, 5.0]]).double()
        >>> best_start(logs, torch.tensor([[False, True, False, True, True]]))
        tensor([1])
    """
    step = max(1, _NUMBERS // (logs.shape[1] * max(_LOOKS, _ROUND)))
    with threads_for(_ROUND):  # pieces of a cache's size have no use for more
        parts = [_best(logs[i : i + step], allowed[i : i + step]) for i in range(0, len(logs), step)]
    return torch.cat(parts)


def _best(logs: Tensor, allowed: Tensor) -> Tensor:
    rows, count = logs.shape
    places = torch.arange(count)
    tails = (count - places).double()
    excess = logs.flip(1).cumsum(1).flip(1) - tails * logs
    usable = allowed & (excess > EQUAL * tails) & (places < count - 1)
    slope = torch.where(usable, -tails / torch.where(usable, excess, 1.0), 0.0)  # 1 - alpha

    looks = places.unsqueeze(1) + (torch.arange(_LOOKS) * tails.unsqueeze(1) / _LOOKS).long()
    shares = (looks - places.unsqueeze(1)) / tails.unsqueeze(1)
    beyond = logs[:, looks] - logs.unsqueeze(2)
    bound = (1 - torch.exp(slope.unsqueeze(2) * beyond) - shares).abs().amax(dim=2)
    bound, order = torch.where(usable, bound, torch.inf).sort(dim=1, stable=True)

    best = torch.full((rows,), torch.inf, dtype=torch.float64)
    start = torch.full((rows,), -1)
    open_rows = torch.arange(rows)
    for first in range(0, count, _ROUND):
        # equal distances: the first place wins, so equal bounds have to be looked at too
        open_rows = open_rows[
            (bound[open_rows, first] <= best[open_rows]) & bound[open_rows, first].isfinite()
        ]
        if not len(open_rows):
            break
        tried = order[open_rows, first : first + _ROUND]
        distance = _distances(logs[open_rows], tried, slope[open_rows].gather(1, tried))
        distance[bound[open_rows, first : first + _ROUND].isinf()] = torch.inf
        smallest = distance.amin(dim=1)
        place = torch.where(distance == smallest.unsqueeze(1), tried, count).amin(dim=1)
        old_best, old_start = best[open_rows], start[open_rows]
        better = (smallest < old_best) | ((smallest == old_best) & (place < old_start))
        best[open_rows] = torch.where(better, smallest, old_best)
        start[open_rows] = torch.where(better, place, old_start)
    return start


def _distances(logs: Tensor, starts: Tensor, slope: Tensor) -> Tensor:
    """Give the distance of some tails of each row `(rows, tails)`."""
    count = logs.shape[1]
    places = torch.arange(count)
    first = starts.unsqueeze(2)
    beyond = logs.unsqueeze(1) - logs.gather(1, starts).unsqueeze(2)
    gap = 1 - torch.exp(slope.unsqueeze(2) * beyond.clamp(min=0)) - (places - first) / (count - first)
    return torch.where(places >= first, gap.abs(), 0.0).amax(dim=2)
