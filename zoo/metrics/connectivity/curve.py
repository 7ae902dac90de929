"""Loss and error along a path between two networks, and what the path says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.errors import SpecificationError

Ties = Literal["cancel", "first"]

_ROUNDING = 1e-9
"""Share of the values below which two deviations are equal: error counts tie often."""


def barrier(values: Float[Tensor, "pairs points"]) -> Float[Tensor, " pairs"]:
    """Give the height of the barrier: `max_t [v(t) - ((1 - t) v(0) + t v(1))]` (Frankle et al. 2020).

    Args:
        values: Loss or error at equidistant t from 0 to 1, `(n_pairs, n_points)`.

    Returns:
        `(n_pairs,)`, at least 0, in the unit of the values; NaN where a value is.

    Example:
        >>> barrier(torch.tensor([[1.0, 4.0, 3.0], [1.0, 1.5, 3.0]]))  # 4 - (1 + 3) / 2
        tensor([2., 0.])
    """
    t = torch.linspace(0, 1, values.shape[1], dtype=values.dtype, device=values.device)
    above = values - (values[:, :1] + t * (values[:, -1:] - values[:, :1]))
    above[:, [0, -1]] = values[:, [0, -1]] - values[:, [0, -1]]  # exactly 0, or NaN
    return above.amax(dim=1)


def mode_connectivity(
    values: Float[Tensor, "pairs points"], ties: Ties = "cancel"
) -> Float[Tensor, " pairs"]:
    """Say whether values along a path rise above its ends: `mc = (v(0) + v(1)) / 2 - v(t*)`.

    `t* = argmax_t |v(t) - (v(0) + v(1)) / 2|` (Yang et al. 2021, eq. 4). Negative: a barrier. Positive: the
    path finds lower values than the ends have, which were not trained to the end. Near 0: well connected.

    The two ends always deviate by the same amount to opposite sides, so that t* is two points wherever a
    path stays between them. The published code takes the first, and the sign is that of which network comes
    first. Here deviations that are equal and opposite cancel: such a path has neither barrier nor valley.

    Args:
        values: Loss or error at equidistant t from 0 to 1, `(n_pairs, n_points)`.
        ties: `cancel`, or `first` as the published code has it.

    Returns:
        `(n_pairs,)`, in the unit of the values; NaN where a value is. With `cancel`, exchanging the ends
        changes nothing.

    Example:
        >>> mode_connectivity(torch.tensor([[1.0, 5.0, 3.0], [3.0, 0.0, 1.0], [1.0, 2.0, 3.0]]))
        tensor([-3.,  2.,  0.])
    """
    deviation = values - (values[:, :1] + values[:, -1:]) / 2
    size = values.abs().amax(dim=1, keepdim=True)
    alike = torch.where(size.isfinite(), _ROUNDING * size, 0.0)  # what rounding tells apart is equal
    if ties == "first":
        largest = deviation.abs() >= deviation.abs().amax(dim=1, keepdim=True) - alike
        found = deviation.gather(1, largest.to(torch.uint8).argmax(dim=1, keepdim=True))
        return torch.where(deviation.isnan().any(dim=1), torch.nan, 0 - found[:, 0])
    half = (values[:, :1] - values[:, -1:]).abs() / 2
    inner = deviation[:, 1:-1]
    up, down = torch.cat([half, inner], dim=1).amax(dim=1), torch.cat([half, -inner], dim=1).amax(dim=1)
    above, below = up - down > alike[:, 0], down - up > alike[:, 0]
    neither = torch.where(up.isnan() | down.isnan(), torch.nan, torch.zeros_like(up))
    return torch.where(above, -up, torch.where(below, down, neither))


@dataclass(frozen=True)
class Curve:
    """Loss and error along paths between pairs of networks, on some items.

    Attributes:
        t: Places, equidistant from 0 (network a) to 1 (network b), `(n_points,)` float64.
        nats: Mean cross-entropy `(n_pairs, n_points)` float64, at least 0, lower is better.
        points: Share of the items that get a wrong class, in percentage points, `(n_pairs, n_points)`
            float64 in [0, 100], lower is better; NaN where a logit is not finite.
    """

    t: Float[Tensor, " points"]
    nats: Float[Tensor, "pairs points"]
    points: Float[Tensor, "pairs points"]

    @property
    def barrier_nats(self) -> Float[Tensor, " pairs"]:
        """The barrier of the loss, in nats."""
        return barrier(self.nats)

    @property
    def barrier_points(self) -> Float[Tensor, " pairs"]:
        """The barrier of the error, in percentage points."""
        return barrier(self.points)

    @property
    def mode_connectivity_nats(self) -> Float[Tensor, " pairs"]:
        """Mode connectivity of the loss, in nats."""
        return mode_connectivity(self.nats)

    @property
    def mode_connectivity(self) -> Float[Tensor, " pairs"]:
        """Mode connectivity of the error, in percentage points."""
        return mode_connectivity(self.points)

    def turned(self, pairs: Bool[Tensor, " pairs"]) -> Curve:
        """Walk along some of the paths from their other end.

        Args:
            pairs: Which `(n_pairs,)`.

        Returns:
            The curves.
        """
        turn = pairs.unsqueeze(1)
        nats, points = (torch.where(turn, v.flip(1), v) for v in (self.nats, self.points))
        return Curve(self.t, nats, points)

    @classmethod
    def joined(cls, parts: Sequence[Curve]) -> Curve:
        """Put the curves of some pairs below those of others.

        Args:
            parts: Curves at the same places.

        Returns:
            All of them.
        """
        return cls(
            parts[0].t, *(torch.cat(v) for v in zip(*((p.nats, p.points) for p in parts), strict=True))
        )


def check_points(points: int) -> None:
    """Refuse a path that does not have both ends.

    Args:
        points: Number of places to look at.

    Raises:
        SpecificationError: There are fewer than 2.
    """
    if points < 2:
        raise SpecificationError(
            f"a path is looked at from end to end: expected at least 2 points, got {points}; ask for more"
        )
