"""Tanh with its tangent in one operation: what a physics-informed loss spends most of its time on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class TanhTangent(torch.autograd.Function):
    """`h = tanh z` for all items and `d = (1 - h^2) dz` for the first n of them.

    tanh is computed as `2 sigmoid(2 z) - 1`, which torch vectorises on the CPU: several times as fast, and
    within 3e-7 in float32.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both.

        Args:
            ctx: Keeps what the backward pass needs.
            z: `(n_models, items, features)`.
            dz: `(n_models, n, features)`.

        Returns:
            h of the shape of z and d of the shape of dz.
        """
        h = torch.mul(z, 2).sigmoid_().mul_(2).sub_(1)
        slope = 1 - h[:, : dz.shape[1]].square()
        d = dz * slope
        ctx.save_for_backward(h, slope, d)
        return h, d

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiate both.

        Args:
            ctx: What the forward pass kept.
            gradients: Of h and of d.

        Returns:
            Gradients of z and of dz.
        """
        h, slope, d = ctx.saved_tensors
        of_h, of_d = gradients
        count = slope.shape[1]
        of_z = torch.addcmul(of_h, of_h * h, h, value=-1)  # of_h (1 - h^2); torch's own kernel is slower
        of_z[:, :count].addcmul_(h[:, :count] * d, of_d, value=-2)  # d' = -2 h (1 - h^2) dz = -2 h d
        return of_z, of_d * slope
