"""The 1D convection equation (Krishnapriyan et al. 2021, section 3.1), for physics-informed networks."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.datasets.base import Dataset, DatasetFamily, DatasetOptions, Items, Kind, Sizes
from zoo.spec import DataShape

SHAPE = DataShape((2,), 1)
PERIOD = 2 * math.pi
"""x runs from 0 to here, t from 0 to 1."""
GRID = (256, 100)
"""Points of the test grid along x, without the end, which is the beginning; and along t, with both ends."""
VAL = 1000
_VAL_SEED = 2**32 - 1
"""Above all seeds of training points, so that none gives the points of val; torch takes 32 bits of a seed."""


class ConvectionOptions(DatasetOptions):
    """Options of `convection`.

    Attributes:
        coefficient: b, the speed of the wave: the higher, the harder.
        points: Collocation points, and as many initial and boundary points.
        points_seed: Seed of these points.
    """

    coefficient: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)
    points: int = Field(default=1000, ge=1, le=2**24)
    points_seed: int = Field(default=0, ge=0, lt=2**31)


class _Points(NamedTuple):
    train: Float[Tensor, "points 4"]
    val: Float[Tensor, "val 2"]
    test: Float[Tensor, "test 2"]


def _drawn(count: int, ends: tuple[float, ...], seed: int) -> Float[Tensor, "count ends"]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, len(ends), generator=generator) * torch.tensor(ends)


@lru_cache(maxsize=4)
def _points(count: int, seed: int) -> _Points:
    """Draw the points; those of equal arguments are one object, so that a stack has one copy of them."""
    along_x, along_t = GRID
    x = torch.arange(along_x, dtype=torch.float64) * (PERIOD / along_x)
    t = torch.arange(along_t, dtype=torch.float64) / (along_t - 1)
    return _Points(
        _drawn(count, (PERIOD, 1.0, PERIOD, 1.0), seed),
        _drawn(VAL, (PERIOD, 1.0), _VAL_SEED),
        torch.cartesian_prod(x, t).to(torch.float32),
    )


def solution(points: Float[Tensor, "*shape 2"], coefficient: float) -> Float[Tensor, "*shape"]:
    """Solve `u_t + b u_x = 0`, `u(x, 0) = sin x`, u periodic in x: `u(x, t) = sin(x - b t)`.

    Args:
        points: x and t of each point.
        coefficient: b.

    Returns:
        u in float32, computed in float64 at the points as they are in float32.

    Example:
        >>> solution(torch.tensor([[0.0, 0.5]]), math.pi)
        tensor([-1.])
    """
    x, t = points.to(torch.float64).unbind(dim=-1)
    return (x - coefficient * t).sin().to(torch.float32)


class Convection(DatasetFamily):
    """Points of the plane (x, t), `0 <= x < 2 pi`, `0 <= t <= 1`.

    A training item has x and t of a collocation point, x of an initial point and t of a boundary point, as
    `zoo.training.convection` takes them, and the coefficient in place of a label: no solution is shown. Items
    of val (random points) and of test (the regular grid of 256 x 100 points) have the exact solution.

    Licence: none is needed, these are facts of mathematics. Source of the task: A. Krishnapriyan et al.,
    Characterizing possible failure modes in physics-informed neural networks, NeurIPS 2021.
    """

    name = "convection"
    options = ConvectionOptions
    kind: ClassVar[Kind] = "convection"
    shared = frozenset({"coefficient"})

    def shape(self, _options: DatasetOptions, /) -> DataShape:
        """Give the shape of inputs and outputs.

        Returns:
            From x and t to u.
        """
        return SHAPE

    def sizes(self, options: DatasetOptions, /) -> Sizes:
        """Count the training items.

        Args:
            options: Its `ConvectionOptions`.

        Returns:
            As many as there are points.
        """
        return Sizes(ConvectionOptions.model_validate(options.model_dump()).points)

    def load(self, options: DatasetOptions, /) -> Dataset:
        """Draw the points and solve the equation.

        Args:
            options: Its `ConvectionOptions`.

        Returns:
            float32 throughout. The inputs of equal points are the same tensors, whatever the coefficient.
        """
        own = ConvectionOptions.model_validate(options.model_dump())
        points = _points(own.points, own.points_seed)
        val, test = (Items(side, solution(side, own.coefficient)) for side in (points.val, points.test))
        return Dataset(
            name=self.name,
            train=Items(points.train, torch.full((own.points,), own.coefficient)),
            val=val,
            test=test,
            classes=SHAPE.classes,
            licence="none: facts of mathematics",
            source="the exact solution, as in A. Krishnapriyan et al., NeurIPS 2021",
            kind=self.kind,
            inputs=SHAPE.inputs,
        )


CONVECTION = Convection()
