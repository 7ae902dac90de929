"""The loss of a physics-informed network: 1D convection (Krishnapriyan et al. 2021, section 3.1)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.training.objectives import Network

PERIOD = 2 * math.pi
"""x runs from 0 to here, t from 0 to 1."""
_ITEMS_PER_EDGE = 4
"""Collocation points for each initial and each boundary point: an edge needs fewer points than the plane."""


def convection(
    network: Network, points: Float[Tensor, "models batch 4"], coefficients: Float[Tensor, "models batch"]
) -> Float[Tensor, " models"]:
    """Say how far networks u(x, t) are from solving `u_t + b u_x = 0`, `u(x, 0) = sin x`, u periodic in x.

    The loss is the mean of `(u_t + b u_x)^2` at collocation points, of `(u(x, 0) - sin x)^2` at initial
    points and of `(u(0, t) - u(2 pi, t))^2` at boundary points, summed. The sum of derivatives is one
    derivative along (b, 1).

    Args:
        network: From `(x, t)` to u.
        points: For each item x and t of a collocation point, x of an initial point, t of a boundary point;
            of the last two those of the first quarter of the items are used, rounded up.
        coefficients: b of each network, the same for all of its items.

    Returns:
        `(n_models,)`, at least 0, lower is better; 0 for the solution `sin(x - b t)`.
    """
    x, t, initial, boundary = points.unbind(dim=-1)
    few = -(-x.shape[1] // _ITEMS_PER_EDGE)
    initial, boundary = initial[:, :few], boundary[:, :few]
    nothing = torch.zeros_like(initial)
    places = [(x, t), (initial, nothing), (nothing, boundary), (nothing + PERIOD, boundary)]
    inputs = torch.cat([torch.stack(place, dim=-1) for place in places], dim=1)
    directions = torch.stack([coefficients, torch.ones_like(coefficients)], dim=-1)
    values, residual = network.along(inputs, directions)
    _, start, left, right = torch.split(values.squeeze(-1), [x.shape[1], few, few, few], dim=1)
    losses: Tensor = residual.squeeze(-1).square().mean(dim=1)
    return losses + (start - initial.sin()).square().mean(dim=1) + (left - right).square().mean(dim=1)
