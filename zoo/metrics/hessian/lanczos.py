"""Krylov spaces of Hessians: what a few products tell of a spectrum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.metrics.hessian.product import Active, Landscape

_NOISE = 100
"""What is left of a vector below so many roundings of the largest number met is rounding alone."""


class Ritz(NamedTuple):
    """Eigenpairs of Hessians restricted to their Krylov spaces.

    Attributes:
        values: `(n_models, dimensions)`, from small to large; NaN where a product was not finite.
        vectors: Their coefficients in the basis, `(n_models, dimensions, dimensions)`, one a column.
        residuals: `||H u - value u||` of each, `(n_models, dimensions)`: so close is an eigenvalue.
    """

    values: Float[Tensor, "models dimensions"]
    vectors: Float[Tensor, "models dimensions dimensions"]
    residuals: Float[Tensor, "models dimensions"]


class Krylov:
    """One Krylov space a network, grown together by Lanczos' recurrence with full reorthogonalisation.

    Where a space is exhausted, because the Hessian maps it into itself, zeros follow: they carry no weight.

    Args:
        landscape: The networks.
        start: `(n_models, n_trained)`.
        avoided: Directions `(n_models, some, n_trained)`, orthonormal, to stay orthogonal to; or nothing.
        scale: Size of the Hessians as far as it is known, `(n_models,)`: what is nothing beside it is zero.

    Attributes:
        active: The networks whose spaces grow on.
        basis: `(n_active, dimensions + 1, n_trained)`; the last vector is the next one.
    """

    def __init__(
        self,
        landscape: Landscape,
        start: Float[Tensor, "models trained"],
        avoided: Float[Tensor, "models some trained"] | None = None,
        scale: Float[Tensor, " models"] | None = None,
    ) -> None:
        self.active = Active(landscape)
        self._avoided = avoided
        self._unit = torch.finfo(start.dtype).eps * _NOISE
        first = start if avoided is None else _without(start, avoided)
        length = torch.linalg.vector_norm(first, dim=1, keepdim=True)
        exhausted = length <= self._unit * torch.linalg.vector_norm(start, dim=1, keepdim=True)
        self.basis = torch.where(exhausted, 0.0, first / length)[:, None]
        self._diagonal, self._below = start.new_empty(2, len(start), 0, dtype=torch.float64)
        known = start.new_zeros(len(start)) if scale is None else scale.to(start.dtype)
        self._scale = known[:, None]

    @property
    def dimensions(self) -> int:
        """Products so far."""
        return int(self._diagonal.shape[1])

    def grow(self, steps: int) -> None:
        """Take some more products.

        Args:
            steps: How many.
        """
        count = self.basis.shape[1]
        room = self.basis.new_empty(len(self.basis), steps, self.basis.shape[2])
        self.basis = torch.cat([self.basis, room], dim=1)
        for last in range(count - 1, count - 1 + steps):
            self._step(last)

    def _step(self, last: int) -> None:
        vector = self.basis[:, last]
        image = self.active.product(vector)
        along = (image * vector).sum(dim=1, keepdim=True)
        image = torch.addcmul(image, along, vector, value=-1)
        if last:
            image.addcmul_(self._below[:, -1:].to(image.dtype), self.basis[:, last - 1], value=-1)
        image = _without(image, self.basis[:, : last + 1])
        if self._avoided is not None:
            image = _without(image, self._avoided)
        length = torch.linalg.vector_norm(image, dim=1, keepdim=True)
        self._scale = torch.maximum(self._scale, torch.maximum(along.abs(), length))
        grows = length > self._unit * self._scale  # not where it is NaN either
        torch.mul(image, torch.where(grows, 1 / length, 0.0), out=self.basis[:, last + 1])
        self._diagonal = torch.cat([self._diagonal, along.double()], dim=1)
        self._below = torch.cat([self._below, torch.where(grows, length, 0.0).double()], dim=1)

    def ritz(self) -> Ritz:
        """Diagonalise what is known of each Hessian.

        Returns:
            Ritz values, vectors and residuals.
        """
        inner = self._below[:, :-1]
        matrices = self._diagonal.diag_embed() + inner.diag_embed(1) + inner.diag_embed(-1)
        finite = matrices.isfinite().flatten(1).all(dim=1)[:, None]
        values, vectors = torch.linalg.eigh(torch.where(finite[..., None], matrices, 0.0))
        residuals = self._below[:, -1:] * vectors[:, -1].abs()
        return Ritz(torch.where(finite, values, torch.nan), vectors, residuals)

    def trace(self) -> Float[Tensor, " active"]:
        """Sum the diagonal: the trace of the Hessian restricted to the space.

        Returns:
            `(n_active,)` float64.
        """
        total: Tensor = self._diagonal.sum(dim=1)
        return total

    def keep(self, kept: Bool[Tensor, " active"]) -> None:
        """Go on with some of the networks.

        Args:
            kept: Which; at least one.
        """
        self.active.keep(kept)
        self.basis, self._scale = self.basis[kept], self._scale[kept]
        self._diagonal, self._below = self._diagonal[kept], self._below[kept]
        if self._avoided is not None:
            self._avoided = self._avoided[kept]


def _without(vectors: Tensor, basis: Tensor) -> Tensor:
    """Project out a basis `(models, some, size)` of one vector each."""
    rows = vectors.unsqueeze(1)  # as columns they would take ten times as long
    return torch.baddbmm(rows, torch.bmm(rows, basis.mT), basis, alpha=-1).squeeze(1)
