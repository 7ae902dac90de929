"""The trace of the Hessian, estimated with its standard error; and with it the top eigenvalue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian.chunks import Found, by_chunks
from zoo.metrics.hessian.eigenvalues import starts
from zoo.metrics.hessian.lanczos import Krylov
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.hessian.search import FIRST, Search, check_search
from zoo.metrics.hessian.vectors import rademacher
from zoo.training import NetworkStack


@dataclass(frozen=True)
class Trace:
    """A trace.

    Attributes:
        value: float64, a scalar or `(n_models,)`; NaN where a weight or a derivative is not finite.
        standard_error: Of the value, of the same shape, at least 0; 0 where it is exact.
    """

    value: Float[Tensor, "*models"]
    standard_error: Float[Tensor, "*models"]


@dataclass(frozen=True)
class Curvature:
    """The two numbers by which a Hessian is mostly described.

    Attributes:
        top_eigenvalue: As `top_eigenvalue` finds it.
        trace: As `trace` estimates it by Hutch++.
    """

    top_eigenvalue: Float[Tensor, "*models"]
    trace: Trace


def trace(
    model: nn.Module | NetworkStack,
    x: Num[Tensor, "items_x ..."],
    y: Int[Tensor, "items_y ..."],
    *,
    probes: int = 32,
    sketch: int = 0,
) -> Trace:
    """Find the trace of the Hessian of the mean cross-entropy, in eval mode, in all trainable entries.

    It is exact where the network is a chain of piecewise linear layers (linear, convolution, ReLU, pools) and
    tells at most 32 classes apart. Then only the Gauss-Newton part of the Hessian has a diagonal, and the
    trace is `mean_i sum_c p_ic ||gradient of log p_ic||^2`, for the cost of two to ten products.

    Elsewhere it is estimated. Hutchinson (1990): the mean of `v' H v` over vectors v of random signs. With a
    sketch, Hutch++ (Meyer et al. 2021): of an orthonormal basis Q the part `tr Q' H Q` is exact, and only
    what is orthogonal to Q is estimated. Q is the Krylov space of one vector, which takes one product a
    dimension, not two (Chen and Hallman 2023, arXiv 2205.01736).

    Use the sketch for networks that are trained: a few eigenvalues hold most of their Hessian, and 12
    dimensions divided the standard error by 2 to 10 in perceptrons on digits. Untrained ones gain nothing.

    Args:
        model: One network or a stack of them.
        x: Items; bytes are pixels.
        y: Their classes, or those of the places of sequences.
        probes: Random vectors, at least 2; from as many as there are trainable entries on the trace is exact.
        sketch: Dimensions of Q; 0 for Hutchinson's estimate.

    Returns:
        The trace and its standard error, which is 0 where the trace is exact.

    Raises:
        SpecificationError: There is no item, a class is unknown, or a number is out of its range.

    Example:
        >>> network = nn.Linear(1, 2)
        >>> _ = nn.init.zeros_(network.weight), nn.init.zeros_(network.bias)
        >>> trace(network, torch.tensor([[3.0]]), torch.tensor([0]), probes=4).value
        tensor(5., dtype=torch.float64)
    """
    landscape = Landscape.of(model, x, y)
    _check_probes(probes, sketch)

    def measure(some: Landscape) -> Found:
        return _trace(some, Krylov(some, starts(some)), probes, sketch)

    value, error = by_chunks(landscape, measure, [(), ()])
    return Trace(value, error) if isinstance(model, NetworkStack) else Trace(value[0], error[0])


def curvature(
    model: nn.Module | NetworkStack,
    x: Num[Tensor, "items_x ..."],
    y: Int[Tensor, "items_y ..."],
    *,
    tolerance: float = 1e-3,
    products: int = 128,
    probes: int = 32,
) -> Curvature:
    """Find the top eigenvalue and the trace from one linearisation and one Krylov space.

    Where the trace has to be estimated, the first 12 dimensions of the search for the eigenvalue are its
    sketch, which so costs nothing.

    Args:
        model: One network or a stack of them.
        x: Items; bytes are pixels.
        y: Their classes, or those of the places of sequences.
        tolerance: Of the eigenvalue; see `top_eigenvalue`.
        products: Of the eigenvalue; see there.
        probes: Of the trace; see `trace`.

    Returns:
        Both.

    Raises:
        SpecificationError: There is no item, a class is unknown, or a number is out of its range.
    """
    landscape = Landscape.of(model, x, y)
    check_search(tolerance, products)
    _check_probes(probes, FIRST)

    def measure(some: Landscape) -> Found:
        krylov = Krylov(some, starts(some))
        value, error = _trace(some, krylov, probes, FIRST)
        search = Search(krylov, tolerance)
        search.run(products)
        return search.values, value, error

    top, value, error = by_chunks(landscape, measure, [(), (), ()])
    if isinstance(model, NetworkStack):
        return Curvature(top, Trace(value, error))
    return Curvature(top[0], Trace(value[0], error[0]))


def _check_probes(probes: int, sketch: int) -> None:
    if probes < 2:
        raise SpecificationError(
            f"probes: expected at least 2, got {probes}; one alone does not tell how far it is off"
        )
    if sketch < 0:
        raise SpecificationError(f"sketch: expected at least 0 dimensions, got {sketch}; 0 is none")


def _trace(landscape: Landscape, krylov: Krylov, probes: int, sketch: int) -> tuple[Tensor, Tensor]:
    """Give traces and their standard errors; new Krylov spaces grow by the sketch where it is needed."""
    size, exact = landscape.size, krylov.active.product.trace()
    if exact is None and probes >= size:
        exact = torch.cat(list(_forms(landscape, torch.eye(size).unbind(), krylov)), dim=1).sum(dim=1)
    if exact is not None:
        value = torch.where(exact.isfinite(), exact, torch.nan)
        return value, value * 0
    krylov.grow(sketch)
    drawn = [rademacher(size, "trace", number) for number in range(probes)]
    forms = torch.cat(list(_forms(landscape, drawn, krylov)), dim=1)
    return krylov.trace() + forms.mean(dim=1), forms.std(dim=1) / probes**0.5


def _forms(
    landscape: Landscape, vectors: Sequence[Tensor], krylov: Krylov
) -> Iterator[Float[Tensor, "models some"]]:
    """Compute `v' H v` of what of each vector is orthogonal to the Krylov spaces."""
    weights, basis = landscape.stack.weights, krylov.basis[:, : krylov.dimensions]
    groups = -(-len(vectors) // max(1, landscape.rows() // len(weights)))
    copies = -(-len(vectors) // groups)  # of each network, so that several vectors go at once
    product = landscape.repeated(copies).product() if copies > 1 else krylov.active.product
    for first in range(0, len(vectors), copies):
        some = torch.stack(list(vectors[first : first + copies])).to(weights)
        wide = nn.functional.pad(some, (0, 0, 0, copies - len(some))).expand(len(weights), -1, -1)
        if krylov.dimensions:
            wide = torch.baddbmm(wide, torch.bmm(wide, basis.mT), basis, alpha=-1)
        images = product(wide.flatten(0, 1)).view(wide.shape)
        yield (images * wide).sum(dim=2, dtype=torch.float64)[:, : len(some)]
