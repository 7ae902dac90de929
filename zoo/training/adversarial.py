"""Adversarial training (Madry et al. 2018): a step sees its inputs moved to where the loss is higher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from zoo.datasets import as_inputs
from zoo.errors import SpecificationError
from zoo.training.convection import convection
from zoo.training.objectives import Objective
from zoo.training.streams import stream_key, substreams, uniform

_STRIDE = 2.5
"""Length of all steps together, in radii: enough to cross the ball (Madry et al. 2018, section 5)."""


@dataclass(frozen=True)
class Attack:
    """Projected gradient descent on the inputs, within a ball of the maximum norm around each.

    It begins at a random place of the ball (Madry et al. 2018, section 3), takes steps of
    `2.5 * radius / steps` along the sign of the gradient, and stays in the ball and in the range of the data.
    One step is FGSM (Goodfellow et al. 2015) from a random start: it ends in a corner of the ball.

    Attributes:
        steps: How many steps it takes, at least 1.
        radii: Radius of each network's ball `(n_models, 1)`; at 0 inputs keep every bit.
        lowest: Smallest number that an input may become, a scalar.
        highest: Largest.
    """

    steps: int
    radii: Float[Tensor, "models 1"]
    lowest: Float[Tensor, ""]
    highest: Float[Tensor, ""]

    def of_rows(self, rows: slice) -> Attack:
        """Take some networks' attack.

        Args:
            rows: Which networks.

        Returns:
            Theirs.
        """
        return replace(self, radii=self.radii[rows])

    def moved(
        self,
        x: Float[Tensor, "models batch ..."],
        keys: Int[Tensor, " models"],
        losses: Callable[[Tensor], Float[Tensor, " models"]],
    ) -> Float[Tensor, "models batch ..."]:
        """Move inputs to where the losses are higher.

        Args:
            x: Inputs.
            keys: Key of each network's random start.
            losses: From inputs to each network's loss, or to a positive multiple of it.

        Returns:
            Inputs no further from `x` than the radius, each coordinate by itself.
        """
        columns = (-1, *[1] * (x.ndim - 1))
        radii = self.radii.view(columns)
        # an input outside of the range, which a training set of the future may hold, is not pulled into it
        floor = torch.minimum(torch.maximum(x - radii, self.lowest), x)
        ceiling = torch.maximum(torch.minimum(x + radii, self.highest), x)
        places = torch.arange(x[0].numel(), device=x.device).view(x.shape[1:])
        drawn = uniform(keys.view(columns), places).to(x.dtype)
        found = (x + (2 * drawn - 1) * radii).clamp(floor, ceiling)
        for _ in range(self.steps):
            point = found.detach().requires_grad_()
            (slope,) = torch.autograd.grad(losses(point).sum(), point)
            # the sign of what is no number is 0 in torch: nothing moves there, the loss itself shall tell
            stride = slope.sign() * (radii * (_STRIDE / self.steps))
            found = (point.detach() + stride).clamp(floor, ceiling)
        return found


def attack_keys(
    order_seeds: Sequence[int], epoch: int, *, steps: int, device: torch.device
) -> Int[Tensor, "steps 1 models"]:
    """Derive the key of each network's random start for each step of an epoch.

    Args:
        order_seeds: Seed of each network's streams.
        epoch: The epoch, from 1.
        steps: Optimiser steps in it.
        device: Where the keys are needed.

    Returns:
        int64, in the form of the keys of one more dropout layer.
    """
    first = torch.tensor([stream_key(seed, "attack", epoch) for seed in order_seeds])
    return substreams(first, torch.arange(steps).view(steps, 1, 1)).to(device)


def input_range(
    x: Num[Tensor, "items ..."], objective: Objective
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Say between which numbers the inputs of training lie, where an attack can move them at all.

    Args:
        x: Items; bytes are pixels.
        objective: What training minimises.

    Returns:
        The lowest and the highest number, scalars on the device of the items.

    Raises:
        SpecificationError: Inputs are tokens, or points of the plane at which an equation is to hold.

    Example:
        >>> from zoo.training.objectives import cross_entropy
        >>> input_range(torch.tensor([[0, 51], [255, 0]], dtype=torch.uint8), cross_entropy)
        (tensor(0.), tensor(1.))
    """
    if objective is convection or not (x.is_floating_point() or x.dtype == torch.uint8):
        what = "points at which an equation is to hold" if objective is convection else f"tokens ({x.dtype})"
        raise SpecificationError(
            "adversarial training moves inputs that are numbers, such as pixels; the inputs of this dataset "
            f"are {what}; leave adversarial_epsilon and adversarial_steps out"
        )
    return as_inputs(x.amin()), as_inputs(x.amax())
