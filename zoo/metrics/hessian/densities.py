"""The spectral density of the Hessian, as a sum of points with weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian.chunks import Found, by_chunks
from zoo.metrics.hessian.lanczos import Krylov
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.hessian.vectors import rademacher
from zoo.training import NetworkStack


@dataclass(frozen=True)
class Density:
    """The density of the eigenvalues, estimated by `sum_j weights_j delta(nodes_j)`.

    Attributes:
        nodes: float64 `(points,)` or `(n_models, points)`, from small to large; NaN where a weight or a
            derivative is not finite.
        weights: Of the same shape, at least 0, summing to 1.
    """

    nodes: Float[Tensor, "*models points"]
    weights: Float[Tensor, "*models points"]

    def curve(self, grid: Float[Tensor, " places"], width: float) -> Float[Tensor, "*models places"]:
        """Smooth it by a Gaussian kernel, for pictures.

        Args:
            grid: Where to give the density `(n_places,)`.
            width: Standard deviation of the kernel, above 0, in the unit of the eigenvalues.

        Returns:
            float64 `(n_places,)` or `(n_models, n_places)`, at least 0; its integral is 1.

        Raises:
            SpecificationError: The kernel has no width.

        Example:
            >>> point = Density(torch.tensor([2.0]).double(), torch.tensor([1.0]).double())
            >>> point.curve(torch.tensor([2.0]), width=1.0)  # 1 / sqrt(2 pi)
            tensor([0.3989], dtype=torch.float64)
        """
        if not width > 0:
            raise SpecificationError(
                f"width: expected a standard deviation above 0, got {width}; try 1 % of the largest node"
            )
        away = (grid.double().unsqueeze(-1) - self.nodes.unsqueeze(-2)) / width
        heights = torch.exp(-away.square() / 2) * self.weights.unsqueeze(-2)
        return heights.sum(dim=-1) / (width * math.sqrt(2 * math.pi))


def spectral_density(
    model: nn.Module | NetworkStack,
    x: Num[Tensor, "items_x ..."],
    y: Int[Tensor, "items_y ..."],
    *,
    probes: int = 8,
    steps: int = 32,
) -> Density:
    """Estimate the spectral density of the Hessian by stochastic Lanczos quadrature (Ubaru et al. 2017).

    Of the mean cross-entropy over the items, in eval mode, in all trainable entries. Each vector of random
    signs gives the Gauss quadrature of its own density: Ritz values as nodes, the squares of the first
    coefficients of Ritz vectors as weights, exact for polynomials of degree below `2 steps`. The estimate is
    the mean over the vectors.

    Args:
        model: One network or a stack of them.
        x: Items; bytes are pixels.
        y: Their classes, or those of the places of sequences.
        probes: Random vectors, at least 1.
        steps: Products with the Hessian for each, at least 1.

    Returns:
        The density, of `probes * steps` points.

    Raises:
        SpecificationError: There is no item, a class is unknown, or a number is out of its range.

    Example:
        >>> network = nn.Linear(1, 2).double()
        >>> _ = nn.init.zeros_(network.weight), nn.init.zeros_(network.bias)
        >>> density = spectral_density(network, torch.tensor([[3.0]]), torch.tensor([0]), steps=2)
        >>> density.nodes.max().round(decimals=6), density.weights.sum().round(decimals=6)  # of 5, 0, 0, 0
        (tensor(5., dtype=torch.float64), tensor(1., dtype=torch.float64))
    """
    landscape = Landscape.of(model, x, y)
    if probes < 1 or steps < 1:
        raise SpecificationError(
            f"a density takes at least 1 probe and 1 step, got {probes} and {steps}; 8 and 32 are usual"
        )

    def measure(some: Landscape) -> Found:
        return _quadrature(some, probes, steps)

    shape = (probes * steps,)
    nodes, weights = by_chunks(landscape, measure, [shape, shape])
    return Density(nodes, weights) if isinstance(model, NetworkStack) else Density(nodes[0], weights[0])


def _quadrature(landscape: Landscape, probes: int, steps: int) -> tuple[Tensor, Tensor]:
    """Give nodes and weights of a few networks, each as often at once as there is room."""
    count = len(landscape.stack)
    copies = min(probes, max(1, landscape.rows() // count))
    parts = [
        _gauss(landscape, range(first, min(first + copies, probes)), steps)
        for first in range(0, probes, copies)
    ]
    nodes, weights = (torch.cat(list(part), dim=1) for part in zip(*parts, strict=True))
    nodes, order = nodes.sort(dim=1, stable=True)
    return nodes, weights.gather(1, order) / probes


def _gauss(landscape: Landscape, numbers: range, steps: int) -> tuple[Tensor, Tensor]:
    """Give the quadrature of some probes `(n_models, probes * steps)`; each one's weights sum to 1."""
    weights = landscape.stack.weights
    drawn = torch.stack([rademacher(landscape.size, "density", number) for number in numbers])
    krylov = Krylov(landscape.repeated(len(numbers)), drawn.to(weights).repeat(len(weights), 1))
    krylov.grow(steps)
    ritz = krylov.ritz()
    shares = torch.where(ritz.values.isnan(), torch.nan, ritz.vectors[:, 0].square())
    return ritz.values.reshape(len(weights), -1), shares.reshape(len(weights), -1)
