"""Linear CKA of two representations, and of all networks of a stack while their items stream by."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Real
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import SpecificationError, UndefinedMetricError

NOT_FINITE = "weights or logits are not finite"
_LEAST_ITEMS = 4
_NOTHING = 1e-12
"""Share of a biased self-similarity below which the debiased one is rounding."""
_ROUNDING = 64
"""Features that differ by fewer units of their last place are the same: products round item by item."""

_Number = TypeVar("_Number", float, Tensor)


def linear_cka(
    x: Real[Tensor, "items_x features_x"] | Real[np.ndarray, "items_x features_x"],
    y: Real[Tensor, "items_y features_y"] | Real[np.ndarray, "items_y features_y"],
    *,
    debiased: bool = False,
) -> float:
    """Compare two representations of the same items by linear CKA (Kornblith et al. 2019, eq. 5).

    `H(x, y) / sqrt(H(x, x) H(y, y))`, where the biased `H` is `||Y'X||_F^2` of centred features. It counts
    each item as similar to itself, and so goes to 1 with many features and few items, whatever they are. The
    debiased `H` leaves that out: HSIC_1 of Song et al. 2012 (eq. 5) with linear kernels, as in Nguyen et
    al. 2021 (eq. 3). For centred features it is, up to a factor,
    `||Y'X||_F^2 - n/(n-2) sum_i |x_i|^2 |y_i|^2 + sum_i |x_i|^2 sum_i |y_i|^2 / ((n-1)(n-2))`.

    Rotating, scaling or shifting either side changes neither. Undefined when a side is the same for all
    items, or not finite; the debiased one also of less than 4 items, or when at most one item differs from
    the others.

    Args:
        x: `(n_items, p)`.
        y: `(n_items, q)`, the same items in the same order.
        debiased: Which of both.

    Returns:
        In [0, 1], debiased in [-1, 1]; 1 where one is a rotated and scaled copy of the other.

    Raises:
        SpecificationError: The sides have different numbers of items.
        UndefinedMetricError: A side is constant or not finite, or the debiased one has too few items.

    Example:
        >>> features = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 0.0], [1.0, 1.0]])
        >>> round(linear_cka(features, -2 * features), 6)
        1.0
        >>> round(linear_cka(features, -2 * features, debiased=True), 6)
        1.0
    """
    if len(x) != len(y):
        raise SpecificationError(
            f"linear CKA compares the same items: expected equal lengths, got {len(x)} and {len(y)}; "
            "run both networks on the same inputs"
        )
    a, b = _centred(x), _centred(y)
    if not debiased:
        similarity = _cross(a, b) / np.sqrt(_cross(a, a) * _cross(b, b))
        return min(float(similarity), 1.0)  # rounding may end at 1 + 1e-16
    if len(a) < _LEAST_ITEMS:
        raise UndefinedMetricError(_too_few(len(a)))
    own = _debiased_self(a) * _debiased_self(b)
    return float(np.clip(_debiased_cross(a, b) / np.sqrt(own), -1.0, 1.0))


def _centred(features: Tensor | NDArray[np.number]) -> NDArray[np.float64]:
    plain = features.detach().cpu().numpy() if isinstance(features, Tensor) else features
    wide = plain.astype(np.float64)
    if not np.isfinite(wide).all():
        raise UndefinedMetricError(_infinite(wide.shape))
    unit = np.finfo(plain.dtype if np.issubdtype(plain.dtype, np.inexact) else np.float64).eps
    if wide.size == 0 or np.ptp(wide, axis=0).max() <= _ROUNDING * unit * np.abs(wide).max():
        raise UndefinedMetricError(_constant(wide.shape))
    centred = wide - wide.mean(axis=0)
    return np.asarray(centred / np.abs(centred).max())  # CKA is blind to scale; squares of squares are not


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Give `||B'A||_F^2`, by whichever of features and items are fewer."""
    if a.shape[1] * b.shape[1] <= len(a) ** 2:
        return float(np.square(a.T @ b).sum())
    return float(((a @ a.T) * (b @ b.T)).sum())


def _debiased_cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    sizes_a, sizes_b = np.square(a).sum(axis=1), np.square(b).sum(axis=1)
    own, alone = float(sizes_a @ sizes_b), float(sizes_a.sum() * sizes_b.sum())
    return _without_own(_cross(a, b), own, alone, items=len(a))


def _debiased_self(a: NDArray[np.float64]) -> float:
    found = _debiased_cross(a, a)
    if found <= _NOTHING * _cross(a, a):
        raise UndefinedMetricError(_one_apart(a.shape))
    return found


def _without_own(cross: _Number, own: _Number, alone: _Number, *, items: int) -> _Number:
    """Take from `||Y'X||_F^2` of centred features what each item's similarity to itself adds (HSIC_1)."""
    return cross - own * (items / (items - 2)) + alone / ((items - 1) * (items - 2))


def _infinite(shape: tuple[int, ...]) -> str:
    return f"linear CKA of {shape} features: expected finite numbers; {NOT_FINITE}"


def _constant(shape: tuple[int, ...]) -> str:
    return (
        f"linear CKA of {shape} features: expected items that differ, got the same for all; "
        "such a representation is like no other"
    )


def _too_few(items: int) -> str:
    return f"debiased CKA needs at least {_LEAST_ITEMS} items, got {items}; give more, or take the biased one"


def _one_apart(shape: tuple[int, ...]) -> str:
    return (
        f"debiased CKA of {shape} features: expected two items that differ from the others, got one at most; "
        "nothing is left once no item is compared with itself"
    )


class CKASums:
    """Linear CKA between all networks of a stack, while their features come batch by batch.

    What it gives is that of all items at once, biased and debiased, to rounding in float64: it keeps sums
    over items alone. Their number does not matter for memory: `(n_models p)^2` float64 for p features. One
    product a batch serves all pairs.

    Leading dimensions are stacks that have nothing to do with each other, such as the cells of a zoo.

    Example:
        >>> features = torch.randn(3, 100, 5, generator=torch.Generator().manual_seed(0))
        >>> sums = CKASums()
        >>> for batch in features.split(32, dim=1):
        ...     sums.update(batch)
        >>> abs(sums.matrix()[0, 1].item() - linear_cka(features[0], features[1])) < 1e-12
        True
    """

    def __init__(self) -> None:
        self.items = 0
        """Number of items seen."""

    def _begin(self, x: Tensor) -> None:
        # CKA is blind to shift and scale, sums of fourth powers are not
        self._low = self._high = x[..., 0, :]
        self._shift = x.mean(dim=-2, keepdim=True)
        spread, size = ((x - by).abs().amax(dim=(-2, -1), keepdim=True) for by in (self._shift, 0.0))
        self._scale = torch.where(spread > 0, spread, torch.where(size > 0, size, 1.0))
        *cells, models, _, features = x.shape
        together = models * features
        self._products = x.new_zeros(*cells, together, together)  # sum_i z_ia z_ib'
        self._weighted = x.new_zeros(*cells, models, together)  # sum_i |z_ia|^2 z_ib
        self._own = x.new_zeros(*cells, models, models)  # sum_i |z_ia|^2 |z_ib|^2
        self._sum = x.new_zeros(*cells, models, features)

    def update(self, features: Float[Tensor, "*cells models items features"]) -> None:
        """Add a batch.

        Args:
            features: `(..., n_models, n_items, p)`: what each network makes of the same items.

        Raises:
            SpecificationError: Other networks, or another number of features, than in the first batch.
        """
        x = features.detach().to(torch.float64)
        if not x.shape[-2]:
            return
        if not self.items:
            self._begin(x)
            self._unit = torch.finfo(features.dtype).eps
        if x.shape[:-2] + x.shape[-1:] != self._sum.shape:
            raise SpecificationError(
                f"each batch has the networks and features of the first: expected {tuple(self._sum.shape)} "
                f"beside the items, got {tuple(x.shape[:-2] + x.shape[-1:])}; begin other sums"
            )
        self.items += x.shape[-2]
        self._low = torch.minimum(self._low, x.amin(dim=-2))
        self._high = torch.maximum(self._high, x.amax(dim=-2))
        self._add((x - self._shift) / self._scale)

    def _add(self, z: Float[Tensor, "*cells models items features"]) -> None:
        flat = z.transpose(-3, -2).flatten(-2)
        sizes = z.square().sum(dim=-1)
        self._products += flat.mT @ flat
        self._weighted += sizes @ flat
        self._own += sizes @ sizes.mT
        self._sum += z.sum(dim=-2)

    def matrix(self, *, debiased: bool = False) -> Float[Tensor, "*cells models models"]:
        """Compare every network with every other.

        Args:
            debiased: Which estimator, as in `linear_cka`.

        Returns:
            `(..., n_models, n_models)` float64, symmetric; NaN where `faults` names one of both.

        Raises:
            UndefinedMetricError: It has seen no item.
        """
        similar, good = self._similar(debiased=debiased)
        own = torch.where(good, similar.diagonal(dim1=-2, dim2=-1), torch.nan).sqrt()
        return (similar / (own.unsqueeze(-1) * own.unsqueeze(-2))).clamp(-1.0, 1.0)

    def faults(self, *, debiased: bool = False) -> NDArray[np.object_]:
        """Say which networks are like no other, and why.

        Args:
            debiased: Which estimator.

        Returns:
            `(..., n_models)`: a sentence, or nothing.

        Raises:
            UndefinedMetricError: It has seen no item.
        """
        _, good = self._similar(debiased=debiased)
        shape = (self.items, self._sum.shape[-1])
        found = np.full(good.shape, None, dtype=object)
        found[~good.numpy()] = _one_apart(shape) if self.items >= _LEAST_ITEMS else _too_few(self.items)
        found[~self._differ().numpy()] = _constant(shape)
        found[~self._finite().numpy()] = _infinite(shape)
        return found

    def _finite(self) -> Bool[Tensor, "*cells models"]:
        return (self._low.isfinite() & self._high.isfinite()).all(dim=-1)

    def _differ(self) -> Bool[Tensor, "*cells models"]:
        largest = torch.maximum(self._low.abs(), self._high.abs()).amax(dim=-1)
        return (self._high - self._low).amax(dim=-1) > _ROUNDING * self._unit * largest

    def _similar(self, *, debiased: bool) -> tuple[Tensor, Tensor]:
        """Give `H` of every pair, up to a factor that cancels, and which networks it is defined for."""
        if not self.items:
            raise UndefinedMetricError("linear CKA of no items: expected at least 2, got 0; update it first")
        mean = self._sum / self.items
        flat = mean.flatten(-2)
        centred = self._products - self.items * flat.unsqueeze(-1) * flat.unsqueeze(-2)
        blocks = self._blocks(centred)
        cross = blocks.square().sum(dim=(-3, -1))
        good = self._differ() & self._finite()
        if not debiased:
            return cross, good
        if self.items < _LEAST_ITEMS:
            return cross, torch.zeros_like(good)
        alone = _traces(blocks)
        similar = _without_own(
            cross,
            self._centred_own(mean),
            alone.unsqueeze(-1) * alone.unsqueeze(-2),
            items=self.items,
        )
        left, whole = (matrix.diagonal(dim1=-2, dim2=-1) for matrix in (similar, cross))
        return similar, good & (left > _NOTHING * whole)

    def _centred_own(self, mean: Float[Tensor, "*cells models features"]) -> Tensor:
        """Give `sum_i |z_ia - m_a|^2 |z_ib - m_b|^2`, multiplied out: the means are known at the end only."""
        blocks, length = self._blocks(self._products), mean.square().sum(dim=-1)
        weighted = self._weighted.view(*self._weighted.shape[:-1], *mean.shape[-2:])
        leaning = torch.einsum("...abp,...bp->...ab", weighted, mean)
        both = torch.einsum("...ap,...apbq,...bq->...ab", mean, blocks, mean)
        moved = _traces(blocks).unsqueeze(-1) * length.unsqueeze(-2) - 2 * leaning
        last = 3 * self.items * length.unsqueeze(-1) * length.unsqueeze(-2)
        return self._own + moved + moved.mT + 4 * both - last

    def _blocks(self, products: Tensor) -> Float[Tensor, "*cells models features models features"]:
        sizes = self._sum.shape[-2:]
        return products.reshape(*products.shape[:-2], *sizes, *sizes)


def _traces(blocks: Float[Tensor, "*cells models features models features"]) -> Tensor:
    """Sum the squares of each network's own features."""
    return blocks.diagonal(dim1=-4, dim2=-2).diagonal(dim1=-3, dim2=-2).sum(dim=-1)
