"""The random vectors: functions of what they are for and of their number, the same for every network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.training import stream


def gaussian(size: int, purpose: str, number: int) -> Float[Tensor, " size"]:
    """Draw from the standard normal.

    Args:
        size: How many numbers.
        purpose: What they are for.
        number: Which vector of this purpose.

    Returns:
        `(size,)` float32.
    """
    return torch.randn(size, generator=stream(number, f"hessian:{purpose}"))


def rademacher(size: int, purpose: str, number: int) -> Float[Tensor, " size"]:
    """Draw signs, each by a fair coin: of independent entries those with the least spread of `v' H v`.

    Args:
        size: How many numbers.
        purpose: What they are for.
        number: Which vector of this purpose.

    Returns:
        `(size,)` float32, +1 or -1.
    """
    coins = torch.randint(2, (size,), generator=stream(number, f"hessian:{purpose}"))
    return coins.to(torch.float32) * 2 - 1
