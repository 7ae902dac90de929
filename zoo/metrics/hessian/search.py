"""The search for the eigenvalue that is largest in magnitude, of many networks at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from zoo.errors import SpecificationError
from zoo.metrics.hessian.lanczos import Krylov, Ritz

FIRST, MORE = 12, 4
"""Products before the first look at the spectrum, and between two later ones."""


class Search:
    """Grows Krylov spaces until the eigenvalue is known; networks that are done take no part from then on.

    What is found of a network is what is found at the first look at which its own space suffices, so it does
    not depend on the others.

    Args:
        krylov: The spaces.
        tolerance: Largest relative residual.

    Attributes:
        values: `(n_models,)` float64; NaN where not found.
        vectors: Eigenvectors `(n_models, n_trained)`.
    """

    def __init__(self, krylov: Krylov, tolerance: float) -> None:
        self._krylov, self._tolerance = krylov, tolerance
        count, _, size = krylov.basis.shape
        self.values = krylov.basis.new_full((count,), torch.nan, dtype=torch.float64)
        self.vectors = krylov.basis.new_full((count, size), torch.nan)
        self._done = torch.zeros(count, dtype=torch.bool, device=krylov.basis.device)

    def run(self, products: int) -> None:
        """Search.

        Args:
            products: Dimension at which to give up.
        """
        self._krylov.grow(max(0, FIRST - self._krylov.dimensions))
        while True:
            done = self._look()
            if done.all() or self._krylov.dimensions >= products:
                return
            if self._krylov.active.worth_leaving(done):
                self._krylov.keep(~done)
            self._krylov.grow(MORE)

    def _look(self) -> Bool[Tensor, " active"]:
        """Write down what is known by now, and say which networks are done."""
        ritz, rows = self._krylov.ritz(), self._krylov.active.rows
        place, known = leading(ritz, self._tolerance)
        for one in (known & ~self._done[rows]).nonzero()[:, 0].tolist():
            row, best = rows[one], place[one]
            self.values[row] = ritz.values[one, best]
            pieces = ritz.vectors[one, :, best].to(self.vectors.dtype)
            self.vectors[row] = pieces @ self._krylov.basis[one, : len(pieces)]
        self._done[rows] |= known | ritz.values.isnan().any(dim=1)
        return self._done[rows]


def leading(ritz: Ritz, tolerance: float) -> tuple[Int[Tensor, " models"], Bool[Tensor, " models"]]:
    """Find the Ritz value that is largest in magnitude, and say whether it is the eigenvalue that is.

    It is at one end of the spectrum. Known it is when its residual is small and the other end, where its
    residual is not small as well, does not reach as far.

    Args:
        ritz: Ritz values and residuals.
        tolerance: Largest relative residual.

    Returns:
        Its place `(n_models,)`, and whether it is known.
    """
    last = ritz.values.shape[1] - 1
    ends, left = ritz.values[:, [0, last]].abs(), ritz.residuals[:, [0, last]]
    upper = ends[:, 1] >= ends[:, 0]
    top = torch.where(upper, ends[:, 1], ends[:, 0])[:, None]
    close = left <= tolerance * top
    itself = torch.stack([~upper, upper], dim=1)
    beaten = ~itself & (ends + left <= top)
    return torch.where(upper, last, 0), (close | beaten).all(dim=1)


def check_search(tolerance: float, products: int) -> None:
    """Refuse bounds under which no eigenvalue could be found.

    Args:
        tolerance: Largest relative residual.
        products: Dimension at which to give up.

    Raises:
        SpecificationError: One of them is out of its range.
    """
    if not 0 < tolerance < 1:
        raise SpecificationError(
            f"tolerance is relative: expected a number between 0 and 1, got {tolerance}; 1e-3 is usual"
        )
    if products < FIRST:
        raise SpecificationError(
            f"products: expected at least {FIRST}, got {products}; the spectrum is not looked at before"
        )
