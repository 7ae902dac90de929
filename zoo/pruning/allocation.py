"""Layer-wise sparsities from the tails of spectra: the lighter the tail, the more is pruned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.spectra import Fit, Windows, fit_power_law, windowed_eigenvalues
from zoo.spectra.measures import averaged

EPSILON = 0.3
"""Half the spread of the ratios, where no one says."""
MOST = 0.998
"""No layer is made sparser than this: a layer without weights lets nothing through."""


def alpha_sparsities(
    alphas: Float[Tensor, "*models layers"],
    sizes: Int[Tensor, " layers"],
    sparsity: float,
    *,
    epsilon: float = EPSILON,
) -> Float[Tensor, "*models layers"]:
    """Allot a sparsity to each layer from its exponent, AlphaPruning (Lu et al. 2024).

    `r_l = s1 + (alpha_l - min) / (max - min) (s2 - s1)` with `s1, s2 = 1 -+ epsilon`, times a factor that
    makes the mean over all weights the target. A larger exponent is a lighter tail, of a layer that learned
    less: it is pruned more. What a layer would have above `MOST` the others share in proportion to `r_l`.

    A layer without an exponent (NaN) gets the target itself, and the others meet it among themselves. Equal
    exponents give the target everywhere.

    Args:
        alphas: Exponents, of one network or of many.
        sizes: How many weights each layer has, at least 1.
        sparsity: Target: share of the weights that are zero afterwards, in [0, `MOST`].
        epsilon: Half the spread of the ratios, in [0, 1); the authors take 0.1 to 0.3, for magnitudes to 0.6.

    Returns:
        Sparsities in [0, `MOST`], float64; their mean weighted by `sizes` is the target, up to rounding.

    Raises:
        SpecificationError: A number is out of its range, or there are not as many sizes as layers.

    Example:
        >>> alphas, sizes = torch.tensor([2.0, 3.0, 4.0]), torch.tensor([100, 100, 100])
        >>> alpha_sparsities(alphas, sizes, 0.5, epsilon=0.2)
        tensor([0.4000, 0.5000, 0.6000], dtype=torch.float64)
    """
    _check(alphas, sizes, sparsity, epsilon)
    values, weights = alphas.double(), sizes.double().expand(alphas.shape)
    known = values.isfinite()
    low = torch.where(known, values, torch.inf).amin(dim=-1, keepdim=True)
    high = torch.where(known, values, -torch.inf).amax(dim=-1, keepdim=True)
    place = torch.where(known & (high > low), (values - low) / (high - low), 0.5)
    ratios = 1 - epsilon + 2 * epsilon * place
    found = _scaled(torch.where(known, ratios, 0.0), weights * known, sparsity)
    return torch.where(known, found, sparsity)


def _check(alphas: Tensor, sizes: Tensor, sparsity: float, epsilon: float) -> None:
    if not 0 <= sparsity <= MOST:
        raise SpecificationError(
            f"sparsity: expected the share of weights to prune, from 0 to {MOST}, got {sparsity}"
        )
    if not 0 <= epsilon < 1:
        raise SpecificationError(
            f"epsilon: expected half the spread of the ratios, from 0 to below 1, got {epsilon}; "
            f"{EPSILON} is usual"
        )
    if alphas.shape[-1:] != sizes.shape or not len(sizes) or not (sizes > 0).all():
        raise SpecificationError(
            f"sizes: expected the number of weights of each layer, at least 1, for exponents of shape "
            f"{tuple(alphas.shape)}, got {sizes.tolist()}"
        )


def _scaled(
    ratios: Float[Tensor, "*models layers"], weights: Float[Tensor, "*models layers"], sparsity: float
) -> Float[Tensor, "*models layers"]:
    """Multiply the ratios by the factor under which they, capped, have the target as their mean."""
    # with the k largest at the cap the factor follows from the rest, and the smallest k is right under which
    # the next one is below the cap; layers without weight come last and take no part
    order = ratios.argsort(dim=-1, descending=True, stable=True)
    sizes, ratio = weights.gather(-1, order), ratios.gather(-1, order)
    before, total = sizes.cumsum(dim=-1) - sizes, weights.sum(dim=-1, keepdim=True)
    rest = (ratio * sizes).flip(-1).cumsum(dim=-1).flip(-1)
    factors = torch.where(rest > 0, (sparsity * total - MOST * before) / rest, torch.inf)
    right = (factors * ratio <= MOST) | (before + sizes == total)  # the last one, whatever rounding says
    factor = factors.gather(-1, right.int().argmax(dim=-1, keepdim=True))
    return (factor * ratios).clamp(0, MOST)


def farms_sparsities(
    weights: Mapping[str, Tensor],
    sparsity: float,
    *,
    epsilon: float = EPSILON,
    fit: Fit = "median",
) -> dict[str, float]:
    """Allot a sparsity to each layer of a network from its FARMS exponent (Hu et al. 2025).

    See `alpha_sparsities`; exponents as `zoo.metrics.farms.alpha` has them by default. The authors average
    the exponents over the layers of a block of a language model; here each layer stands alone.

    Args:
        weights: Tensors by name. Matrices and kernels of floating numbers are pruned, others are not.
        sparsity: Target: share of the weights of these that are zero afterwards, in [0, `MOST`].
        epsilon: Half the spread of the ratios, in [0, 1).
        fit: Where the tail begins.

    Returns:
        The sparsity of each matrix `(out, in)` and kernel `(out, in, k, k)`, in their order.

    Raises:
        UndefinedMetricError: There is no matrix and no kernel.
        SpecificationError: A number is out of its range.
        UnknownNameError: There is no such fit.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> weights = {name: torch.randn(60, 60, generator=generator) for name in ("learned", "noise")}
        >>> weights["learned"] *= torch.arange(1, 61).pow(-1.0)  # a heavy tail
        >>> found = farms_sparsities(weights, 0.5)
        >>> {name: round(value, 2) for name, value in found.items()}
        {'learned': 0.35, 'noise': 0.65}
    """
    layers = {
        name: weight
        for name, weight in weights.items()
        if weight.ndim in {2, 4} and weight.numel() and weight.is_floating_point()
    }
    if not layers:
        raise UndefinedMetricError(
            f"expected matrices or kernels of floating numbers to prune, got none in {len(weights)} tensors"
        )
    spectra = (windowed_eigenvalues(weight.detach().cpu(), Windows()) for weight in layers.values())
    alphas = torch.stack([averaged(fit_power_law(values, fit)).alpha for values in spectra])
    sizes = torch.tensor([weight.numel() for weight in layers.values()])
    found = alpha_sparsities(alphas, sizes, sparsity, epsilon=epsilon)
    return dict(zip(layers, found.tolist(), strict=True))
