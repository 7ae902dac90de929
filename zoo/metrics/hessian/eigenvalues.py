"""The largest eigenvalues of the Hessian, with their signs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian.chunks import Found, by_chunks
from zoo.metrics.hessian.lanczos import Krylov
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.hessian.search import Search, check_search
from zoo.metrics.hessian.vectors import gaussian
from zoo.training import NetworkStack


def top_eigenvalue(
    model: nn.Module | NetworkStack,
    x: Num[Tensor, "items_x ..."],
    y: Int[Tensor, "items_y ..."],
    *,
    tolerance: float = 1e-3,
    products: int = 128,
) -> Float[Tensor, "*models"]:
    """Find the eigenvalue of the Hessian that is largest in magnitude.

    Of the mean cross-entropy over the items, in eval mode, in all trainable entries. By Lanczos' method with
    full reorthogonalisation, up to a residual `||H u - value u|| <= tolerance |value|`: an eigenvalue is at
    least so close, and in practice much closer, since the error falls with the square of the residual.

    Args:
        model: One network or a stack of them.
        x: Items; bytes are pixels.
        y: Their classes, or those of the places of sequences.
        tolerance: Largest relative residual; in float32 what is below about 1e-5 cannot be told.
        products: Most products with the Hessian, at least 12.

    Returns:
        float64, a scalar or `(n_models,)`, negative at a saddle that falls more steeply than it rises. NaN
        where a weight or a derivative is not finite, or where the products did not suffice.

    Raises:
        SpecificationError: There is no item, a class is unknown, or a number is out of its range.

    Example:
        >>> network = nn.Linear(1, 2).double()
        >>> _ = nn.init.zeros_(network.weight), nn.init.zeros_(network.bias)
        >>> # shares p of one half: (diag p - p p') x (3, 1)(3, 1)' has the eigenvalue 1/2 (9 + 1)
        >>> top_eigenvalue(network, torch.tensor([[3.0]]), torch.tensor([0])).round(decimals=6)
        tensor(5., dtype=torch.float64)
    """
    return top_eigenvalues(model, x, y, count=1, tolerance=tolerance, products=products)[..., 0]


def top_eigenvalues(
    model: nn.Module | NetworkStack,
    x: Num[Tensor, "items_x ..."],
    y: Int[Tensor, "items_y ..."],
    *,
    count: int,
    tolerance: float = 1e-3,
    products: int = 128,
) -> Float[Tensor, "*models count"]:
    """Find the eigenvalues of the Hessian that are largest in magnitude, one after the other.

    Each is looked for orthogonally to the eigenvectors found before, so an eigenvalue of several eigenvectors
    is listed as often. For the rest see `top_eigenvalue`.

    Args:
        model: One network or a stack of them.
        x: Items; bytes are pixels.
        y: Their classes, or those of the places of sequences.
        count: How many, from 1 to the number of trainable entries.
        tolerance: Largest relative residual.
        products: Most products with the Hessian for each, at least 12.

    Returns:
        float64 `(count,)` or `(n_models, count)`, signed, the largest magnitude first; those that are
        undefined are NaN and last.

    Raises:
        SpecificationError: There is no item, a class is unknown, or a number is out of its range.
    """
    landscape = Landscape.of(model, x, y)
    check_search(tolerance, products)
    if not 1 <= count <= landscape.size:
        raise SpecificationError(
            f"count: expected from 1 to the {landscape.size} trainable entries, got {count}; "
            "a matrix has as many eigenvalues as rows"
        )

    def measure(some: Landscape) -> Found:
        return (torch.stack(list(_one_by_one(some, count, tolerance, products)), dim=1),)

    (found,) = by_chunks(landscape, measure, [(count,)])
    order = found.abs().nan_to_num(nan=-1.0).argsort(dim=1, descending=True, stable=True)
    ordered = found.gather(1, order)
    return ordered if isinstance(model, NetworkStack) else ordered[0]


def _one_by_one(landscape: Landscape, count: int, tolerance: float, products: int) -> Iterator[Tensor]:
    """Search, each time orthogonally to what was found before."""
    avoided = scale = None
    for number in range(count):
        search = Search(Krylov(landscape, starts(landscape, number), avoided, scale), tolerance)
        search.run(products)
        vectors = search.vectors[:, None]
        avoided = vectors if avoided is None else torch.cat([avoided, vectors], dim=1)
        scale = search.values.abs() if scale is None else scale
        yield search.values


def starts(landscape: Landscape, number: int = 0) -> Float[Tensor, "models trained"]:
    """Give the vector that the search for an eigenvalue starts at.

    Args:
        landscape: The networks.
        number: Which eigenvalue, from 0.

    Returns:
        `(n_models, n_trained)`, the same for all of them.
    """
    weights = landscape.stack.weights
    return gaussian(landscape.size, "start", number).to(weights).expand(len(weights), -1)
